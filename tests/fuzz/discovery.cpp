// Answers to a client that looks for brokers: it finds none that nobody can connect to, and not too many.
#include "internal/client/discovery.h"

#include <algorithm>

#include "logstream.pb.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/host.h"
#include "tests/sim/transcript.h"

namespace logstream::fuzz {

using env::Endpoint;
using protocol::Bytes;

namespace {

constexpr Endpoint kClient{0x0a000001, 8001};
constexpr Endpoint kBroker{0x0a000002, 8001};
constexpr std::size_t kMaxBrokers = 256;
constexpr std::size_t kMaxOthers = 8;  // clusters of other names

// As it is, and as the answer to what the client asked, of whatever cluster and of its own.
std::vector<Bytes> answers(Input payload, std::uint64_t nonce) {
    std::vector<Bytes> out{Bytes::copy_of(payload)};
    proto::JoinResponse response;
    if (!response.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return out;
    response.set_nonce(nonce);
    out.push_back(Bytes::copy_of(response.SerializeAsString()));
    response.set_cluster("logstream");
    out.push_back(Bytes::copy_of(response.SerializeAsString()));
    return out;
}

}  // namespace

// Each piece is a datagram's payload.
void try_input(Input input) {
    sim::World world(1);
    sim::Transcript transcript(world, sim::Transcript::Detail::kNone, {});
    std::uint64_t nonce{};
    world.host(kBroker, transcript.logger("broker")).frame = [&nonce](const env::ReceivedFrame& frame) {
        proto::Join join;
        LS_ASSERT(join.ParseFromString(std::string(frame.payload.view())));
        nonce = join.nonce();
    };
    sim::Host& host = world.host(kClient, transcript.logger("client"));
    unsigned found = 0;
    const auto can_be_asked = [](Endpoint at) { return !at.ip.is_unspecified() && at.port != 0; };
    client::Discovery discovery(
        host, "logstream",
        [&](const protocol::Result<std::set<Endpoint>>& brokers) {
            ++found;
            if (!brokers) return;
            LS_ASSERT(!brokers->empty() && brokers->size() <= kMaxBrokers);
            LS_ASSERT(std::ranges::all_of(*brokers, can_be_asked));
        },
        [&](Endpoint broker) { LS_ASSERT(can_be_asked(broker)); });
    discovery.start();
    world.run_for(std::chrono::milliseconds(10));
    for (const Piece& piece : cut(input)) {
        protocol::FrameHeader header;
        header.type = static_cast<protocol::MessageType>(piece.tag);
        for (const Bytes& payload : answers(piece.bytes, nonce))
            discovery.on_frame({env::Channel::kUnicast, kBroker, header, payload});
    }
    world.run_for(std::chrono::seconds(1));
    LS_ASSERT(found <= 1);
    LS_ASSERT(discovery.others().size() <= kMaxOthers);
    for (const auto& [cluster, broker] : discovery.others()) LS_ASSERT(can_be_asked(broker));
}

}  // namespace logstream::fuzz
