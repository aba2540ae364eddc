// A whole broker, alone in its cluster, to which anybody sends anything: datagrams, and messages on connections. It
// neither breaks nor stops, and it still serves.
#include "internal/node/node.h"

#include <string>

#include "internal/protocol/record_batch.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/machine.h"
#include "tests/sim/transcript.h"

namespace logstream::fuzz {

using env::Endpoint;
using protocol::Bytes;
using protocol::Message;
using protocol::MessageType;

namespace {

constexpr Endpoint kBroker{0x0a000001, 8001};
constexpr Endpoint kStranger{0x0a000002, 8001};
constexpr std::uint8_t kDatagram = 0x80;  // in a piece's tag; else a message. The rest is the type.
constexpr std::uint64_t kKnown = 1;       // in the input, an id that nobody can guess: the real one is put there
constexpr std::size_t kMaxPieces = 24;

class Stranger final : public env::ConnectionHandler {
public:
    void on_connected(env::ConnectionId) override { up = true; }
    void on_message(env::ConnectionId, Message message) override { answers.push_back(std::move(message)); }
    void on_closed(env::ConnectionId, const protocol::Error&) override { up = false; }

    bool up{};
    std::vector<Message> answers;
};

class Trial {
public:
    Trial() {
        LS_ASSERT(broker_.start());
        LS_ASSERT(world_.run_until([this] { return broker_.node().is_leader(); }, std::chrono::seconds(10)));
        LS_ASSERT(ask(MessageType::kMetadata, metadata()));
        proto::MetadataResponse known;
        LS_ASSERT(stranger_.answers.back().parse(known) && known.topics_size() == 1 &&
                  known.view().members_size() == 1);
        topic_ = known.topics(0).topic();
    }

    void send(const Piece& piece, const Piece* next) {
        const auto type = static_cast<MessageType>(piece.tag & ~kDatagram);
        const std::string header = with_known_ids(type, piece.bytes);
        if ((piece.tag & kDatagram) != 0) {
            const view::View& view = *broker_.node().current_view();
            const protocol::FrameHeader frame{
                type, 0, {}, view.number, protocol::NodeId{kKnown}, protocol::Sequence{1}};
            broker_.node().on_frame({env::Channel::kUnicast, kStranger, frame, Bytes::copy_of(header)});
        } else {
            const Bytes body = next == nullptr ? Bytes() : Bytes::copy_of(next->bytes);
            if (connect()) host_.send(connection_, {type, 0, protocol::Correlation{9}, header, {body}});
        }
        world_.run_for(std::chrono::milliseconds(2));
    }

    // Whatever it heard, it goes on, and what it says of itself is whole.
    void finish() {
        world_.run_for(std::chrono::seconds(2));
        LS_ASSERT(broker_.running());
        LS_ASSERT(!broker_.node().status_json().empty() && !broker_.node().metrics_text().empty());
        LS_ASSERT(ask(MessageType::kMetadata, metadata()));
    }

private:
    static sim::MachineOptions options() {
        sim::MachineOptions options;
        options.settings.address = kBroker;
        options.settings.name = "broker";
        options.settings.discovery_timeout = std::chrono::milliseconds(50);
        return options;
    }
    static proto::Metadata metadata() {
        proto::Metadata request;
        request.add_topics("topic");
        request.set_auto_create(true);
        return request;
    }

    bool connect() {
        if (stranger_.up) return true;
        connection_ = host_.connect(kBroker, std::chrono::seconds(1), stranger_);
        return world_.run_until([this] { return stranger_.up; }, std::chrono::seconds(1));
    }

    template <class Proto>
    bool ask(MessageType type, const Proto& request) {
        stranger_.answers.clear();
        return connect() &&
               host_.send(connection_, protocol::request(type, protocol::Correlation{1}, request)) !=
                   env::SendStatus::kClosed &&
               world_.run_until([this] { return !stranger_.answers.empty(); }, std::chrono::seconds(5));
    }

    template <class Proto>
    std::string known(Input bytes) {
        Proto message;
        if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::string(text(bytes));
        put_known_ids(message);
        return message.SerializeAsString();
    }
    static std::string_view text(Input bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

    void put_known_ids(google::protobuf::Message& message) {
        const auto& reflection = *message.GetReflection();
        std::vector<const google::protobuf::FieldDescriptor*> fields;
        reflection.ListFields(message, &fields);
        for (const auto* field : fields) {
            if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
                if (!field->is_repeated()) put_known_ids(*reflection.MutableMessage(&message, field));
                for (int i = 0; field->is_repeated() && i < reflection.FieldSize(message, field); ++i)
                    put_known_ids(*reflection.MutableRepeatedMessage(&message, field, i));
            } else if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT64 &&
                       !field->is_repeated() && reflection.GetUInt64(message, field) == kKnown) {
                if (const std::uint64_t id = known_id(field->name()); id != 0)
                    reflection.SetUInt64(&message, field, id);
            }
        }
    }
    std::uint64_t known_id(const std::string& field) {
        const node::Core& core = broker_.node().core();
        if (field == "cluster_id") return core.record.cluster.value;
        if (field == "topic" || field == "topic_id") return topic_;
        if (field == "coordinator" || field == "leaving" || field == "node") return core.self.id.value;
        return 0;
    }

    std::string with_known_ids(MessageType type, Input bytes);

    sim::World world_{1};
    sim::Transcript transcript_{world_, sim::Transcript::Detail::kNone, {}};
    sim::Machine broker_{world_, transcript_, kBroker, 0, 1, options()};
    sim::Host& host_ = world_.host(kStranger, transcript_.logger("stranger"));
    Stranger stranger_;
    env::ConnectionId connection_;
    std::uint64_t topic_{};
};

std::string Trial::with_known_ids(MessageType type, Input bytes) {
    switch (type) {
        case MessageType::kJoin:
            return known<proto::Join>(bytes);
        case MessageType::kJoinResponse:
            return known<proto::JoinResponse>(bytes);
        case MessageType::kHeartbeat:
            return known<proto::Heartbeat>(bytes);
        case MessageType::kNack:
            return known<proto::Nack>(bytes);
        case MessageType::kNackGone:
            return known<proto::NackGone>(bytes);
        case MessageType::kReplicateAck:
            return known<proto::ReplicateAck>(bytes);
        case MessageType::kElection:
            return known<proto::Election>(bytes);
        case MessageType::kProbe:
            return known<proto::Probe>(bytes);
        case MessageType::kStateExchange:
            return known<proto::StateExchange>(bytes);
        case MessageType::kViewInstall:
            return known<proto::ViewInstall>(bytes);
        case MessageType::kViewChosen:
            return known<proto::ViewChosen>(bytes);
        case MessageType::kLearn:
            return known<proto::Learn>(bytes);
        case MessageType::kSummary:
            return known<proto::Summary>(bytes);
        case MessageType::kHandover:
            return known<proto::Handover>(bytes);
        case MessageType::kIntroduction:
            return known<proto::Introduction>(bytes);
        case MessageType::kOrphan:
            return known<proto::Orphan>(bytes);
        case MessageType::kPeerReport:
            return known<proto::PeerReport>(bytes);
        case MessageType::kProduce:
            return known<proto::Produce>(bytes);
        case MessageType::kFetch:
            return known<proto::Fetch>(bytes);
        case MessageType::kListOffsets:
            return known<proto::ListOffsets>(bytes);
        case MessageType::kVerify:
            return known<proto::Verify>(bytes);
        case MessageType::kProducerState:
            return known<proto::ProducerState>(bytes);
        case MessageType::kSubscribe:
            return known<proto::Subscribe>(bytes);
        case MessageType::kCommitOffsets:
            return known<proto::CommitOffsets>(bytes);
        case MessageType::kGroups:
            return known<proto::Groups>(bytes);
        case MessageType::kAdmin:
            return known<proto::Admin>(bytes);
        default:
            return std::string(text(bytes));
    }
}

}  // namespace

// Each piece is a message, with the piece behind it as its body.
void try_input(Input input) {
    auto pieces = cut(input);
    if (pieces.size() > kMaxPieces) pieces.resize(kMaxPieces);
    Trial trial;
    for (std::size_t i = 0; i < pieces.size(); ++i)
        trial.send(pieces[i], i + 1 < pieces.size() ? &pieces[i + 1] : nullptr);
    trial.finish();
}

}  // namespace logstream::fuzz
