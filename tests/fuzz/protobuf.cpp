// Every message that comes from a peer or a client, and what is made of those that hold views.
#include <tuple>

#include "internal/view/record.h"
#include "internal/view/view.h"
#include "logstream.pb.h"
#include "tests/fuzz/fuzz.h"

namespace logstream::fuzz {

namespace {

using Messages =
    std::tuple<proto::View, proto::NodeRecord, proto::Join, proto::JoinResponse, proto::Heartbeat, proto::Nack,
               proto::NackGone, proto::ReplicateHeader, proto::ReplicateAck, proto::Election, proto::Probe,
               proto::ProbeResponse, proto::StateExchange, proto::StateExchangeResponse, proto::ViewInstall,
               proto::ViewInstallAck, proto::ViewChosen, proto::Learn, proto::LearnResponse, proto::Summary,
               proto::SummaryResponse, proto::Handover, proto::HandoverResponse, proto::PeerReport, proto::Introduction,
               proto::ProbeMulticast, proto::Orphan, proto::Metadata, proto::MetadataResponse, proto::Produce,
               proto::ProduceResponse, proto::ReassignBroker, proto::Fetch, proto::FetchResponse, proto::ListOffsets,
               proto::ListOffsetsResponse, proto::Subscribe, proto::SubscribeResponse, proto::CommitOffsets,
               proto::CommitOffsetsResponse, proto::Groups, proto::GroupsResponse, proto::Topics, proto::TopicsResponse,
               proto::ProducerState, proto::ProducerStateResponse, proto::StatusResponse, proto::Verify,
               proto::VerifyResponse, proto::Admin, proto::AdminResponse, proto::TopicRecord, proto::GroupRecord>;

void check(const proto::View& message) {
    const auto view = view::from_proto(message);
    if (!view) return;
    LS_ASSERT(view->has(view->coordinator) && view->members.size() <= view::kMaxMembers);
    const auto again = view::from_proto(view::to_proto(*view));
    LS_ASSERT(again && *again == *view);
}

void check(const proto::NodeRecord& message) {
    const auto record = view::decode_record(message.SerializeAsString());
    if (!record) return;
    const auto again = view::decode_record(view::encode(*record));
    LS_ASSERT(again && view::encode(*again) == view::encode(*record));
}

void check(const google::protobuf::Message&) {}

template <class Proto>
void decode(std::string_view bytes) {
    Proto message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
    const std::string encoded = message.SerializeAsString();
    Proto again;
    LS_ASSERT(again.ParseFromString(encoded) && again.SerializeAsString() == encoded);
    check(message);
}

template <std::size_t... I>
void decode_nth(std::size_t n, std::string_view bytes, std::index_sequence<I...>) {
    ((n == I ? decode<std::tuple_element_t<I, Messages>>(bytes) : void()), ...);
}

}  // namespace

// The first byte says which.
void try_input(Input input) {
    if (input.empty()) return;
    constexpr std::size_t kCount = std::tuple_size_v<Messages>;
    const auto bytes = input.subspan(1);
    decode_nth(std::to_integer<std::size_t>(input[0]) % kCount,
               {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, std::make_index_sequence<kCount>());
}

}  // namespace logstream::fuzz
