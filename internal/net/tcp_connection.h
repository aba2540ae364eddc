// One TCP connection: messages in, messages out, back-pressure both ways, and an orderly end. Internal to net.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string_view>

#include "internal/env/env.h"
#include "internal/net/counters.h"
#include "internal/net/handle.h"
#include "internal/net/net_options.h"
#include "internal/net/send_queue.h"
#include "internal/net/timers.h"

namespace logstream::net {

// A libuv socket and the requests that libuv needs for it; they live until libuv is done with all of them.
struct TcpSocket {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;

    uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&tcp); }
};

// Lives from `connect` or the accept until its last `end_of_turn`. What its owner asks and what happens in a call of
// its owner is only noted: `end_of_turn` writes what is queued in one system call and tells the handler, so that no
// call re-enters the handler.
class TcpConnection {
public:
    // What all connections of a transport share.
    struct Context {
        Loop& loop;
        Timers& timers;
        const NetOptions& options;
        protocol::ClusterTag cluster;
        Counters& counters;
        std::function<void(env::ConnectionId)> wake;  // asks for end_of_turn
    };
    enum class Origin : std::uint8_t { kConnect, kAccept };

    // An accepted one is open from here on, and closed when it brings no message for first_message_timeout.
    TcpConnection(Context& context, env::ConnectionId id, Handle<TcpSocket> socket, env::Endpoint peer, Origin origin);
    ~TcpConnection();
    TcpConnection(const TcpConnection&) = delete;
    TcpConnection& operator=(const TcpConnection&) = delete;

    // One of these three, once. A failure to start is told by on_closed like any other.
    void start_connect(env::ConnectionHandler& handler, protocol::Duration timeout, const env::Endpoint& from);
    void start_accepted(env::ConnectionHandler& handler);
    void start_failed(env::ConnectionHandler& handler, protocol::Error reason);

    env::SendStatus send(protocol::OutMessage message);
    std::size_t queued_bytes() const;
    void pause_reading();
    void resume_reading();
    void close();

    // Flushes and delivers what was noted. False: over and told, to be forgotten.
    bool end_of_turn();

    env::Endpoint peer() const { return peer_; }
    Origin origin() const { return origin_; }
    // Accepted so long ago, and has not brought one whole message.
    bool silent_for(protocol::Duration patience) const;
    // Ends it for another one's sake; its handler is told.
    void give_way();

private:
    enum class Phase : std::uint8_t { kConnecting, kOpen, kOver };

    void connected(int status);
    void start_reading();
    void stop_reading();
    void read(ssize_t size);
    void accept_message(protocol::Message message);
    void deliver_held();
    void end_of_messages(protocol::Error error);

    void flush();
    void written(int status);
    void finish_closing();

    void note();
    void set_deadline(protocol::Duration after);
    void cancel_deadline();
    void on_deadline();
    void fail(protocol::Error reason);
    protocol::Error lost(std::string_view what, int status) const;

    Context& context_;
    const env::ConnectionId id_;
    const env::Endpoint peer_;
    const Origin origin_;
    const protocol::TimePoint made_;
    Phase phase_;
    bool noted_ = false;        // end_of_turn was asked for
    bool closing_ = false;      // our own close: nothing is told to the handler any more
    bool shutdown_ = false;     // the peer was told that nothing more comes
    Handle<TcpSocket> socket_;  // null once over
    env::ConnectionHandler* handler_ = nullptr;
    std::optional<protocol::Error> reason_;  // why it is over, to be told by on_closed
    // Connecting: the timeout; accepted: for the first message; closing: the end of patience.
    env::TimerId deadline_;
    protocol::Duration connect_timeout_{};

    protocol::MessageDecoder decoder_;
    std::function<void(protocol::Message)> on_decoded_;
    std::deque<protocol::Message> held_;         // decoded while paused; at most what one read brought
    std::optional<protocol::Error> after_held_;  // the garbage that followed the held messages
    bool paused_ = false;
    bool reading_ = false;
    bool heard_ = false;  // one whole message has come

    SendQueue queue_;
    std::size_t in_flight_bytes_ = 0;  // the queue's first bytes, lent to libuv until it has written them all
    std::size_t unflushed_bytes_ = 0;  // queued since the last flush
    bool full_ = false;                // send said kFull, on_writable is due when the queue has drained
};

}  // namespace logstream::net
