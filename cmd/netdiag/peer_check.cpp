// The way to another machine: name, TCP, a broker's own words, and UDP.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <future>
#include <memory>
#include <thread>

#include "cmd/netdiag/checks.h"
#include "cmd/netdiag/socket.h"
#include "cmd/runtime/session.h"
#include "internal/net/socket_address.h"

namespace logstream::netdiag {

using protocol::ErrorCode;

namespace {

constexpr protocol::Duration kResolveLimit = std::chrono::milliseconds(800);
constexpr protocol::Duration kConnectLimit = std::chrono::milliseconds(900);
constexpr protocol::Duration kAnswerLimit = std::chrono::milliseconds(600);
constexpr protocol::Duration kJoinLimit = std::chrono::milliseconds(300);
static_assert(kResolveLimit + kConnectLimit + kAnswerLimit + kJoinLimit < kCheckLimit);

// The name service blocks for as long as it likes: the thread that asks it is left behind when it takes too long, and
// ends with the process.
protocol::Result<std::vector<env::Endpoint>> resolve_in_time(const std::string& peer) {
    auto promise = std::make_shared<std::promise<protocol::Result<std::vector<env::Endpoint>>>>();
    auto answer = promise->get_future();
    std::thread([promise, peer] { promise->set_value(runtime::resolve_all(peer)); }).detach();
    if (answer.wait_for(kResolveLimit) != std::future_status::ready)
        return protocol::fail(ErrorCode::kTimeout,
                              "the name service does not answer for '{}': give its address, or "
                              "check /etc/resolv.conf",
                              peer);
    return answer.get();
}

struct Connected {
    env::Endpoint to;
    int error{};  // 0, or the errno
};

int begin_connecting(const Socket& socket, env::Endpoint to) {
    const net::SocketAddress address(to);
    return ::connect(socket.get(), address.get(), address.size()) == 0 || errno == EINPROGRESS ? 0 : errno;
}

int outcome_of(const Socket& socket) {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
}

// To all at once; the first that is reached, else how the last one failed.
Connected connect_in_time(const std::vector<env::Endpoint>& all) {
    std::vector<Socket> sockets;
    std::vector<pollfd> waiting;
    std::vector<env::Endpoint> at;
    Connected last{all.front(), ETIMEDOUT};
    for (const env::Endpoint to : all) {
        Socket socket = open_socket(SOCK_STREAM, to.ip);
        if (const int error = begin_connecting(socket, to); error != 0) {
            last = {to, error};
            continue;
        }
        waiting.push_back({socket.get(), POLLOUT, 0});
        at.push_back(to);
        sockets.push_back(std::move(socket));
    }
    const auto silent = [&waiting] {
        return std::ranges::find_if(waiting, [](const pollfd& each) { return each.fd >= 0; }) - waiting.begin();
    };
    const auto deadline = std::chrono::steady_clock::now() + kConnectLimit;
    for (std::size_t open = waiting.size(); open > 0;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0 || ::poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) <= 0)
            return {at[static_cast<std::size_t>(silent())], ETIMEDOUT};
        for (std::size_t i = 0; i < waiting.size(); ++i) {
            if (waiting[i].fd < 0 || waiting[i].revents == 0) continue;
            last = {at[i], outcome_of(sockets[i])};
            if (last.error == 0) return last;
            waiting[i].fd = -1;  // poll passes it over
            --open;
        }
    }
    return last;
}

std::string advice(int error, env::Endpoint to) {
    switch (error) {
        case ECONNREFUSED:
            return fmt::format(
                "the machine answers, but nothing listens there: start the broker, check its --address "
                "(it must not be 127.0.0.1), or allow TCP port {} in its firewall",
                to.port);
        case ETIMEDOUT:
            return fmt::format("no answer: the machine is off, the address is wrong, or a firewall drops TCP port {}",
                               to.port);
        case ENETUNREACH:
        case EHOSTUNREACH:
            return "there is no route to that network: check ip route, and whether the cable is plugged in";
        default:
            return "check the network in between";
    }
}

Finding check_udp(const Place& place, env::Endpoint peer, const std::string& cluster) {
    auto sender = protocol::Result<Socket>(open_socket(SOCK_DGRAM, peer.ip));
    if (place.interface.ip.is_v4() == peer.ip.is_v4()) sender = open_sender(place.interface);
    const std::uint64_t nonce = random_nonce();
    bool answered = false;
    const int error = sender ? send_to(*sender, peer, join_datagram(cluster, nonce)) : EINVAL;
    if (error == 0) {
        receive({&*sender}, kJoinLimit, [&](std::size_t, env::Endpoint, std::string_view datagram) {
            answered = read_join_answer(datagram, nonce).has_value();
            return !answered;
        });
    }
    const std::string at = env::to_string(peer);
    if (answered) return ok("udp", fmt::format("{} answered JOIN by UDP", at));
    return warn(
        "udp", fmt::format("{} did not answer JOIN by UDP from {}{}: allow UDP port {} in both directions; without it, "
                           "brokers need --seeds, and replication uses TCP",
                           at, place.interface.name, error == 0 ? "" : " (" + os_message(error) + ")", peer.port));
}

}  // namespace

std::optional<BrokerWords> ask_broker(env::Endpoint at, protocol::Duration limit) {
    runtime::ClientFlags flags;
    flags.brokers = {env::to_string(at)};
    auto session = runtime::Session::open("netdiag", flags);
    if (!session) return std::nullopt;
    std::optional<protocol::Result<proto::MetadataResponse>> answer;
    (*session)->router().requests().send(at, protocol::MessageType::kMetadata, proto::Metadata{}.SerializeAsString(),
                                         {}, limit, [&answer](const protocol::Result<protocol::Message>& message) {
                                             answer = client::read_response<proto::MetadataResponse>(message);
                                         });
    (*session)->loop().run_until([&answer] { return answer.has_value(); }, limit);
    if (!answer) return std::nullopt;
    if (!*answer) {
        const ErrorCode code = answer->error().code;
        if (code == ErrorCode::kNetwork || code == ErrorCode::kTimeout || code == ErrorCode::kCorrupt)
            return std::nullopt;
        return BrokerWords{.text = "it says: " + answer->error().message,
                           .cluster = "",
                           .quorum = false,
                           .data = {{"error", answer->error().message}}};
    }
    const proto::MetadataResponse& broker = **answer;
    const client::ClusterView view(broker, at);
    const client::Broker* leader = view.find(view.leader);
    BrokerWords out{
        .text = fmt::format("cluster '{}', view {} with {} member{}, leader {}, {}", broker.cluster(), view.number,
                            view.members.size(), view.members.size() == 1 ? "" : "s",
                            leader == nullptr ? "unknown" : leader->name, broker.quorum() ? "has quorum" : "NO QUORUM"),
        .cluster = broker.cluster(),
        .quorum = broker.quorum(),
        .data = {{"cluster", broker.cluster()},
                 {"view", view.number.value},
                 {"members", view.members.size()},
                 {"quorum", broker.quorum()}}};
    return out;
}

Findings check_peer(const Options& options, const Place& place) {
    const auto addresses = resolve_in_time(options.peer);
    if (!addresses) return {failed("tcp", addresses.error().message)};
    const auto before = std::chrono::steady_clock::now();
    const auto [peer, error] = connect_in_time(*addresses);
    const std::string at = env::to_string(peer);
    if (error != 0)
        return {failed("tcp", fmt::format("can't connect to {}: {}; {}", at, os_message(error), advice(error, peer)),
                       {{"peer", at}})};
    const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - before).count();
    Findings out{ok("tcp", fmt::format("connected to {} in {:.1f} ms", at, ms), {{"peer", at}, {"connect_ms", ms}})};

    const auto broker = ask_broker(peer, kAnswerLimit);
    if (!broker) {
        out.push_back(warn(
            "broker", fmt::format("what listens on {} did not answer METADATA in {} ms: another "
                                  "program, another version, or a broker that hangs",
                                  at, std::chrono::duration_cast<std::chrono::milliseconds>(kAnswerLimit).count())));
        return out;
    }
    out.push_back(
        {broker->quorum ? Level::kOk : Level::kWarn, "broker", fmt::format("{}: {}", at, broker->text), broker->data});
    if (!broker->cluster.empty()) out.push_back(check_udp(place, peer, broker->cluster));
    return out;
}

}  // namespace logstream::netdiag
