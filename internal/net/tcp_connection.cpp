#include "internal/net/tcp_connection.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <utility>

#include "internal/net/udp_socket.h"

namespace logstream::net {

using protocol::Error;
using protocol::ErrorCode;

namespace {

// So much is flushed at once; less waits for the end of the turn, to go out in one system call.
constexpr std::size_t kFlushAtBytes = 256u << 10;
constexpr unsigned kKeepAliveSeconds = 30;

// Where bytes go that nobody wants any more: a closing connection reads on, since closing with unread bytes would make
// the kernel send a reset, which may destroy at the peer what we sent last.
std::array<char, 64u << 10> discarded;

std::int64_t milliseconds(protocol::Duration d) { return std::chrono::round<std::chrono::milliseconds>(d).count(); }

// The source address of a connection, the port being chosen by the kernel when it knows the destination.
int bind_source(TcpSocket& socket, const env::Endpoint& from) {
    uv_os_fd_t fd = -1;
    if (const int status = uv_fileno(reinterpret_cast<const uv_handle_t*>(&socket.tcp), &fd); status < 0) return status;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return uv_tcp_bind(&socket.tcp, SocketAddress(from).get(), 0);
}

}  // namespace

TcpConnection::TcpConnection(Context& context, env::ConnectionId id, Handle<TcpSocket> socket, env::Endpoint peer,
                             Origin origin)
    : context_(context),
      id_(id),
      peer_(peer),
      origin_(origin),
      made_(context.loop.now()),
      phase_(origin == Origin::kAccept ? Phase::kOpen : Phase::kConnecting),
      socket_(std::move(socket)),
      decoder_(context.cluster, context.options.message_limits),
      on_decoded_([this](protocol::Message message) { accept_message(std::move(message)); }) {
    if (socket_) socket_->tcp.data = this;
    if (origin == Origin::kAccept) set_deadline(context_.options.first_message_timeout);
}

TcpConnection::~TcpConnection() { cancel_deadline(); }

void TcpConnection::start_connect(env::ConnectionHandler& handler, protocol::Duration timeout,
                                  const env::Endpoint& from) {
    handler_ = &handler;
    connect_timeout_ = timeout;
    if (!from.ip.is_unspecified()) {
        if (const int status = bind_source(*socket_, from); status < 0) return fail(lost("cannot reach", status));
    }
    const int status = uv_tcp_connect(&socket_->connect, &socket_->tcp, SocketAddress(peer_).get(),
                                      [](uv_connect_t* request, int result) {
                                          auto* self = owner_of<TcpConnection>(request->handle);
                                          if (self != nullptr) self->connected(result);
                                      });
    if (status < 0) return fail(lost("cannot reach", status));
    set_deadline(timeout);
}

void TcpConnection::start_accepted(env::ConnectionHandler& handler) {
    handler_ = &handler;
    if (phase_ != Phase::kOpen) return;
    uv_tcp_nodelay(&socket_->tcp, 1);
    uv_tcp_keepalive(&socket_->tcp, 1, kKeepAliveSeconds);
    start_reading();
}

void TcpConnection::start_failed(env::ConnectionHandler& handler, Error reason) {
    handler_ = &handler;
    fail(std::move(reason));
}

void TcpConnection::connected(int status) {
    if (phase_ != Phase::kConnecting) return;
    if (status == UV_ECONNREFUSED)
        return fail({ErrorCode::kNetwork,
                     fmt::format("nothing is listening on {}; is the broker running?", env::to_string(peer_))});
    if (status < 0) return fail(lost("cannot reach", status));
    phase_ = Phase::kOpen;
    uv_tcp_nodelay(&socket_->tcp, 1);
    uv_tcp_keepalive(&socket_->tcp, 1, kKeepAliveSeconds);
    if (!closing_) {
        cancel_deadline();
        handler_->on_connected(id_);
    }
    if (phase_ != Phase::kOpen) return;
    start_reading();
    note();
}

void TcpConnection::start_reading() {
    const bool wanted = closing_ || (!paused_ && held_.empty());
    if (reading_ || phase_ != Phase::kOpen || !wanted) return;
    reading_ = true;
    const int status = uv_read_start(
        socket_->stream(),
        [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
            auto* self = owner_of<TcpConnection>(handle);
            if (self == nullptr || self->closing_) {
                *buffer = uv_buf_init(discarded.data(), discarded.size());
                return;
            }
            const std::span<std::byte> room = self->decoder_.writable();
            *buffer = uv_buf_init(reinterpret_cast<char*>(room.data()), static_cast<unsigned>(room.size()));
        },
        [](uv_stream_t* stream, ssize_t size, const uv_buf_t*) {
            if (auto* self = owner_of<TcpConnection>(stream)) self->read(size);
        });
    if (status < 0) fail(lost("lost the connection to", status));
}

void TcpConnection::stop_reading() {
    if (!reading_ || phase_ != Phase::kOpen) return;
    reading_ = false;
    uv_read_stop(socket_->stream());
}

void TcpConnection::read(ssize_t size) {
    if (size == UV_EOF)
        return fail({ErrorCode::kNetwork, fmt::format("{} closed the connection", env::to_string(peer_))});
    if (size < 0) return fail(lost("lost the connection to", static_cast<int>(size)));
    if (closing_) return;
    context_.counters.message_bytes_received += static_cast<std::uint64_t>(size);
    auto result = decoder_.received(static_cast<std::size_t>(size), on_decoded_);
    if (!result && phase_ == Phase::kOpen && !closing_) end_of_messages(std::move(result.error()));
}

// Called by the decoder, several times in one read perhaps: the handler may pause or close in between.
void TcpConnection::accept_message(protocol::Message message) {
    if (phase_ != Phase::kOpen || closing_) return;
    ++context_.counters.messages_received;
    if (!heard_) {
        heard_ = true;
        if (origin_ == Origin::kAccept) cancel_deadline();
    }
    if (paused_ || !held_.empty()) {
        held_.push_back(std::move(message));
    } else {
        handler_->on_message(id_, std::move(message));
    }
}

void TcpConnection::deliver_held() {
    while (!held_.empty() && !paused_ && phase_ == Phase::kOpen && !closing_) {
        protocol::Message message = std::move(held_.front());
        held_.pop_front();
        handler_->on_message(id_, std::move(message));
    }
    if (held_.empty() && !paused_ && after_held_) fail(std::move(*after_held_));
}

void TcpConnection::end_of_messages(Error error) {
    Counters& counters = context_.counters;
    switch (error.code) {
        case ErrorCode::kWrongCluster:
            ++counters.messages_other_cluster;
            break;
        case ErrorCode::kCorrupt:
            ++counters.messages_bad_checksum;
            break;
        case ErrorCode::kTooLarge:
            ++counters.messages_too_large;
            break;
        default:
            ++counters.messages_garbage;
            break;
    }
    error.message = fmt::format("{}: {}", env::to_string(peer_), error.message);
    if (held_.empty()) return fail(std::move(error));
    stop_reading();
    after_held_ = std::move(error);
}

void TcpConnection::pause_reading() {
    if (closing_) return;
    paused_ = true;
    stop_reading();
}

void TcpConnection::resume_reading() {
    if (!paused_ || closing_) return;
    paused_ = false;
    note();
}

env::SendStatus TcpConnection::send(protocol::OutMessage message) {
    if (phase_ == Phase::kOver || closing_) return env::SendStatus::kClosed;
    if (queue_.cost_bytes() >= context_.options.send_queue_limit_bytes) {
        ++context_.counters.send_queue_overflows;
        fail({ErrorCode::kBusy,
              fmt::format("{} does not read: {} bytes are queued for it", env::to_string(peer_), queued_bytes())});
        return env::SendStatus::kClosed;
    }
    ++context_.counters.messages_sent;
    const std::size_t before = queue_.bytes();
    queue_.push(protocol::encode_message_head(message, context_.cluster));
    for (protocol::Bytes& piece : message.body) queue_.push(std::move(piece));
    unflushed_bytes_ += queue_.bytes() - before;
    if (unflushed_bytes_ >= kFlushAtBytes) flush();
    if (phase_ == Phase::kOver) return env::SendStatus::kClosed;
    note();
    if (queue_.cost_bytes() > context_.options.send_queue_mark_bytes) full_ = true;
    return full_ ? env::SendStatus::kFull : env::SendStatus::kOk;
}

std::size_t TcpConnection::queued_bytes() const {
    if (in_flight_bytes_ == 0) return queue_.bytes();
    const std::size_t left_in_flight = uv_stream_get_write_queue_size(socket_->stream());
    return queue_.bytes() - (in_flight_bytes_ - left_in_flight);
}

// Writes as much as the kernel takes, and lends the next part to libuv, which waits until it takes more.
void TcpConnection::flush() {
    unflushed_bytes_ = 0;
    while (phase_ == Phase::kOpen && in_flight_bytes_ == 0 && !queue_.empty()) {
        auto buffers = queue_.gather();
        const std::size_t wanted = total_bytes(buffers);
        int taken = uv_try_write(socket_->stream(), buffers.data(), static_cast<unsigned>(buffers.size()));
        if (taken == UV_EAGAIN) taken = 0;
        if (taken < 0) return fail(lost("lost the connection to", taken));
        context_.counters.message_bytes_sent += static_cast<std::uint64_t>(taken);
        queue_.consume(static_cast<std::size_t>(taken));
        if (static_cast<std::size_t>(taken) == wanted) continue;
        buffers = queue_.gather();
        in_flight_bytes_ = total_bytes(buffers);
        const int status = uv_write(&socket_->write, socket_->stream(), buffers.data(),
                                    static_cast<unsigned>(buffers.size()), [](uv_write_t* request, int result) {
                                        if (auto* self = owner_of<TcpConnection>(request->handle))
                                            self->written(result);
                                    });
        if (status < 0) return fail(lost("lost the connection to", status));
    }
}

void TcpConnection::written(int status) {
    if (phase_ != Phase::kOpen) return;
    if (status < 0) return fail(lost("lost the connection to", status));
    context_.counters.message_bytes_sent += in_flight_bytes_;
    queue_.consume(std::exchange(in_flight_bytes_, 0));
    flush();
    note();
}

void TcpConnection::close() {
    if (closing_) return;
    closing_ = true;
    held_.clear();
    if (phase_ == Phase::kOpen || (phase_ == Phase::kConnecting && !queue_.empty()))
        set_deadline(context_.options.close_timeout);
    else if (phase_ == Phase::kConnecting)
        fail({ErrorCode::kNetwork, "closed"});
    start_reading();  // to discard
    note();
}

// All is sent: tells the peer, and waits for its end of the stream, so that nothing under way is destroyed by a reset.
void TcpConnection::finish_closing() {
    if (phase_ != Phase::kOpen || shutdown_ || !queue_.empty()) return;
    shutdown_ = true;
    const int status = uv_shutdown(&socket_->shutdown, socket_->stream(), [](uv_shutdown_t*, int) {});
    if (status < 0) fail(lost("lost the connection to", status));
}

// Something is left for end_of_turn to do.
void TcpConnection::note() {
    if (!std::exchange(noted_, true)) context_.wake(id_);
}

bool TcpConnection::end_of_turn() {
    noted_ = false;
    flush();
    if (closing_) {
        finish_closing();
        return phase_ != Phase::kOver;
    }
    deliver_held();
    start_reading();
    if (full_ && phase_ == Phase::kOpen && !closing_ &&
        queue_.cost_bytes() < context_.options.send_queue_mark_bytes / 2) {
        full_ = false;
        handler_->on_writable(id_);
    }
    if (phase_ != Phase::kOver) return true;
    if (!closing_) {
        closing_ = true;  // on_closed comes once
        handler_->on_closed(id_, *reason_);
    }
    return false;
}

bool TcpConnection::silent_for(protocol::Duration patience) const {
    return origin_ == Origin::kAccept && phase_ == Phase::kOpen && !heard_ && !paused_ && !closing_ &&
           context_.loop.now() - made_ >= patience;
}

void TcpConnection::give_way() {
    fail(
        {ErrorCode::kBusy, fmt::format("{} sent nothing, and others need its connection slot", env::to_string(peer_))});
}

void TcpConnection::set_deadline(protocol::Duration after) {
    cancel_deadline();
    deadline_ = context_.timers.set(after, [this] {
        deadline_ = {};
        on_deadline();
    });
}

void TcpConnection::cancel_deadline() { context_.timers.cancel(std::exchange(deadline_, {})); }

void TcpConnection::on_deadline() {
    if (closing_) return fail({ErrorCode::kTimeout, "closed"});
    if (phase_ == Phase::kConnecting)
        return fail({ErrorCode::kTimeout, fmt::format("no answer from {} within {} ms", env::to_string(peer_),
                                                      milliseconds(connect_timeout_))});
    if (paused_) return set_deadline(context_.options.first_message_timeout);  // it may have spoken: we do not listen
    fail({ErrorCode::kTimeout, fmt::format("{} sent no message within {} ms", env::to_string(peer_),
                                           milliseconds(context_.options.first_message_timeout))});
}

void TcpConnection::fail(Error reason) {
    if (phase_ == Phase::kOver) return;
    phase_ = Phase::kOver;
    reason_ = std::move(reason);
    cancel_deadline();
    socket_.reset();
    queue_.clear();
    in_flight_bytes_ = 0;
    held_.clear();
    after_held_.reset();
    if (!closing_) ++context_.counters.connections_failed;
    note();
}

Error TcpConnection::lost(std::string_view what, int status) const {
    return {ErrorCode::kNetwork, fmt::format("{} {}: {}", what, env::to_string(peer_), uv_strerror(status))};
}

}  // namespace logstream::net
