#include "internal/net/uv_env.h"

#include <sys/random.h>

#include <array>
#include <utility>

#include "internal/net/datagrams.h"
#include "internal/net/tcp_transport.h"
#include "internal/net/timers.h"
#include "internal/net/udp_socket.h"

namespace logstream::net {

namespace {

// A free TCP port may be taken for UDP; then another is tried.
constexpr int kPortTries = 16;

struct Bound {
    env::Endpoint at;
    Fd udp;
};

// TCP and UDP at one ip:port.
protocol::Result<Bound> bind_node(TcpTransport& tcp, const env::Endpoint& at) {
    for (int attempt = 1;; ++attempt) {
        const auto listening = tcp.listen(at);
        if (!listening) return std::unexpected(listening.error());
        auto udp = open_own_socket(*listening);
        if (udp) return Bound{*listening, std::move(*udp)};
        tcp.stop_listening();
        if (at.port != 0 || attempt == kPortTries) return std::unexpected(udp.error());
    }
}

// Of a client: any free port, everywhere.
protocol::Result<Bound> bind_client() {
    auto udp = open_client_socket();
    if (!udp) return std::unexpected(udp.error());
    const env::Endpoint at = bound_address(udp->get());
    return Bound{at, std::move(*udp)};
}

}  // namespace

// The kernel's random numbers, a page of them at a time: ids of nodes and clusters must never meet again.
class KernelRandom {
public:
    std::uint64_t next() {
        if (at_ == numbers_.size()) {
            LS_ASSERT(::getentropy(numbers_.data(), sizeof numbers_) == 0);
            at_ = 0;
        }
        return numbers_[at_++];
    }

private:
    std::array<std::uint64_t, 32> numbers_{};  // getentropy gives at most 256 bytes
    std::size_t at_ = numbers_.size();
};

struct UvEnv::State {
    Loop& loop;
    const NetOptions options;
    const std::shared_ptr<spdlog::logger> logger;
    Counters counters;
    KernelRandom random;
    std::optional<Interface> interface;
    env::Endpoint local;
    std::uint32_t scope{};  // of link-local addresses that come without one
    std::unique_ptr<Timers> timers;
    std::unique_ptr<TcpTransport> tcp;
    std::unique_ptr<Datagrams> datagrams;

    // Messages carry no scope: what is said of others is meant for the link that this node is on.
    env::Endpoint outward(env::Endpoint at) const {
        if (at.scope == 0 && at.ip.is_link_local()) at.scope = scope;
        return at;
    }
    env::Endpoint inward(env::Endpoint at) const {
        if (at.scope == scope) at.scope = 0;
        return at;
    }
};

protocol::Result<std::unique_ptr<UvEnv>> UvEnv::open(Loop& loop, NetOptions options,
                                                     std::shared_ptr<spdlog::logger> logger) {
    auto state =
        std::unique_ptr<State>(new State{loop, std::move(options), std::move(logger), {}, {}, {}, {}, {}, {}, {}, {}});
    State& s = *state;
    auto interface = choose_interface(s.options, interfaces());
    if (!interface) return std::unexpected(interface.error());
    s.interface = std::move(*interface);
    if (s.options.listen && s.options.listen->scope != 0)
        s.scope = s.options.listen->scope;
    else if (s.interface)
        s.scope = static_cast<std::uint32_t>(s.interface->index);
    auto timers = Timers::open(loop);
    if (!timers) return std::unexpected(timers.error());
    s.timers = std::move(*timers);
    s.tcp = std::make_unique<TcpTransport>(loop, *s.timers, s.options, s.counters, *s.logger);
    auto bound = s.options.listen ? bind_node(*s.tcp, *s.options.listen) : bind_client();
    if (!bound) return std::unexpected(bound.error());
    s.local = s.inward(bound->at);
    auto datagrams = Datagrams::open(loop, s.options, s.interface, std::move(bound->udp), s.counters, *s.logger);
    if (!datagrams) return std::unexpected(datagrams.error());
    s.datagrams = std::move(*datagrams);
    return std::unique_ptr<UvEnv>(new UvEnv(std::move(state)));
}

UvEnv::UvEnv(std::unique_ptr<State> state) : state_(std::move(state)) {}
UvEnv::~UvEnv() = default;

void UvEnv::on_accept(env::AcceptHandler handler) {
    state_->tcp->on_accept([s = state_.get(), handler = std::move(handler)](env::ConnectionId id, env::Endpoint from) {
        return handler ? handler(id, s->inward(from)) : nullptr;
    });
}
void UvEnv::on_frame(env::FrameHandler handler) { state_->datagrams->on_frame(std::move(handler)); }
void UvEnv::set_self(protocol::NodeId self) { state_->datagrams->set_self(self); }

env::Endpoint UvEnv::local_address() const { return state_->local; }
const std::optional<Interface>& UvEnv::interface() const { return state_->interface; }
bool UvEnv::multicast_ready() const { return state_->datagrams->multicast_ready(); }
std::size_t UvEnv::open_connections() const { return state_->tcp->size(); }
const Counters& UvEnv::counters() const { return state_->counters; }

protocol::TimePoint UvEnv::now() { return state_->loop.now(); }
std::int64_t UvEnv::wall_clock_ms() { return state_->loop.wall_clock_ms(); }
std::uint64_t UvEnv::random() { return state_->random.next(); }
spdlog::logger& UvEnv::log() { return *state_->logger; }

env::TimerId UvEnv::set_timer(protocol::Duration after, std::move_only_function<void()> task) {
    return state_->timers->set(after, std::move(task));
}
void UvEnv::cancel_timer(env::TimerId timer) { state_->timers->cancel(timer); }

env::ConnectionId UvEnv::connect(env::Endpoint to, protocol::Duration timeout, env::ConnectionHandler& handler) {
    return state_->tcp->connect(state_->outward(to), timeout, handler);
}
env::SendStatus UvEnv::send(env::ConnectionId connection, protocol::OutMessage message) {
    return state_->tcp->send(connection, std::move(message));
}
std::size_t UvEnv::queued_bytes(env::ConnectionId connection) { return state_->tcp->queued_bytes(connection); }
void UvEnv::pause_reading(env::ConnectionId connection) { state_->tcp->pause_reading(connection); }
void UvEnv::resume_reading(env::ConnectionId connection) { state_->tcp->resume_reading(connection); }
void UvEnv::close(env::ConnectionId connection) { state_->tcp->close(connection); }
env::Endpoint UvEnv::peer_of(env::ConnectionId connection) { return state_->inward(state_->tcp->peer_of(connection)); }

void UvEnv::broadcast(env::OutFrame frame) { state_->datagrams->broadcast(frame); }
void UvEnv::multicast(std::span<const env::OutFrame> frames) { state_->datagrams->multicast(frames); }
void UvEnv::send_datagram(env::Endpoint to, env::OutFrame frame) {
    state_->datagrams->send(state_->outward(to), frame);
}
env::DatagramLimits UvEnv::datagram_limits() { return state_->datagrams->limits(); }

std::vector<env::Counter> UvEnv::counted() {
    const Counters& c = state_->counters;
    return {
        {"datagrams_received", c.datagrams_received},
        {"datagram_bytes_received", c.datagram_bytes_received},
        {"datagrams_sent", c.datagrams_sent},
        {"datagram_bytes_sent", c.datagram_bytes_sent},
        {"datagrams_own", c.datagrams_own},
        {"datagrams_other_cluster", c.datagrams_other_cluster},
        {"datagrams_bad_checksum", c.datagrams_bad_checksum},
        {"datagrams_garbage", c.datagrams_garbage},
        {"datagrams_other_interface", c.datagrams_other_interface},
        {"datagrams_lost_by_kernel", c.datagrams_lost_by_kernel},
        {"datagrams_queue_full", c.datagrams_queue_full},
        {"datagrams_send_failed", c.datagrams_send_failed},
        {"connections_accepted", c.connections_accepted},
        {"connections_refused", c.connections_refused},
        {"connections_failed", c.connections_failed},
        {"messages_received", c.messages_received},
        {"messages_sent", c.messages_sent},
        {"message_bytes_received", c.message_bytes_received},
        {"message_bytes_sent", c.message_bytes_sent},
        {"messages_other_cluster", c.messages_other_cluster},
        {"messages_bad_checksum", c.messages_bad_checksum},
        {"messages_garbage", c.messages_garbage},
        {"messages_too_large", c.messages_too_large},
        {"send_queue_overflows", c.send_queue_overflows},
    };
}

}  // namespace logstream::net
