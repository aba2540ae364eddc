// The one door between LogStream's logic and the world: clock, chance, timers, connections and datagrams.
//
// `node` and `client` read no clock and no socket but through an Env. `net` implements it with libuv; the simulator
// implements it with a seeded virtual world. One thread calls an Env and runs its callbacks (the event loop); no call
// re-enters the caller: every callback runs from the loop, after the call that caused it has returned.
#pragma once

#include <spdlog/logger.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "internal/env/endpoint.h"
#include "internal/protocol/bytes.h"
#include "internal/protocol/error.h"
#include "internal/protocol/message.h"
#include "internal/protocol/time.h"

namespace logstream::env {

using protocol::Bytes;
using protocol::Duration;
using protocol::OutFrame;
using protocol::TimePoint;

// Never reused within a process. 0 means "none".
using TimerId = protocol::Id<struct TimerIdTag, std::uint64_t>;
using ConnectionId = protocol::Id<struct ConnectionIdTag, std::uint64_t>;

// What happens on a connection. The handler outlives its connections or closes them first.
class ConnectionHandler {
public:
    virtual ~ConnectionHandler() = default;
    // A connection that `connect` asked for is up.
    virtual void on_connected(ConnectionId connection) = 0;
    // A whole, checksummed message of our cluster arrived.
    virtual void on_message(ConnectionId connection, protocol::Message message) = 0;
    // The connection is gone (refused, reset, ended, garbage received, or the connect timed out). Comes exactly once,
    // and not at all after our own `close`.
    virtual void on_closed(ConnectionId connection, const protocol::Error& reason) = 0;
    // The send queue, which `send` reported over its mark, has drained below half of it.
    virtual void on_writable(ConnectionId /*connection*/) {}
};

// Accepted connections get their handler here; nullptr refuses.
using AcceptHandler = std::function<ConnectionHandler*(ConnectionId connection, Endpoint from)>;

// Which socket a datagram came in by.
enum class Channel : std::uint8_t {
    kBroadcast,  // the well-known broadcast port
    kMulticast,  // the group
    kUnicast,    // this node's own datagram socket, from which it also sends
};

// A datagram that begins with a valid frame header of our cluster; the header is decoded and stripped.
struct ReceivedFrame {
    Channel channel{};
    Endpoint from;
    protocol::FrameHeader header;
    Bytes payload;
};
using FrameHandler = std::function<void(ReceivedFrame frame)>;

// Sizes the receiver of multicast may rely on; read back from the kernel.
struct DatagramLimits {
    std::size_t receive_buffer_bytes{};  // what the kernel really gave the multicast socket
    std::size_t max_datagram_bytes{};    // interface MTU less IP and UDP headers
};

enum class SendStatus : std::uint8_t {
    kOk,
    kFull,    // taken, but the queue is over its mark: wait for on_writable before sending bulk
    kClosed,  // not taken: there is no such connection any more
};

struct Counter {
    std::string_view name;  // as in "datagrams_received"
    std::uint64_t value{};
};

class Env {
public:
    virtual ~Env() = default;

    // Monotonic; never goes back; does not jump with the wall clock.
    virtual TimePoint now() = 0;
    // Unix milliseconds, perhaps as read earlier in the same turn of the loop. Informs people and retention only; no
    // question of order or safety rests on it.
    virtual std::int64_t wall_clock_ms() = 0;
    virtual std::uint64_t random() = 0;
    virtual spdlog::logger& log() = 0;

    // Runs `task` once, `after` from now (at once when <= 0, still from the loop). Cancelling an id that has run or is
    // unknown does nothing.
    virtual TimerId set_timer(Duration after, std::move_only_function<void()> task) = 0;
    virtual void cancel_timer(TimerId timer) = 0;

    // Starts a TCP connection; on_connected or on_closed follows (within `timeout`).
    virtual ConnectionId connect(Endpoint to, Duration timeout, ConnectionHandler& handler) = 0;
    // Queues a message. Bytes are held by reference until the kernel took them. Messages of one connection arrive in
    // order.
    virtual SendStatus send(ConnectionId connection, protocol::OutMessage message) = 0;
    // Bytes that wait in the send queue of a connection.
    virtual std::size_t queued_bytes(ConnectionId connection) = 0;
    // Back-pressure on the receiving side: while paused no message is delivered and the kernel's window fills.
    virtual void pause_reading(ConnectionId connection) = 0;
    virtual void resume_reading(ConnectionId connection) = 0;
    // Sends what is queued, then closes. Unknown ids are fine.
    virtual void close(ConnectionId connection) = 0;
    virtual Endpoint peer_of(ConnectionId connection) = 0;

    // Datagrams. Lost ones are lost: no error is reported to the sender.
    virtual void broadcast(OutFrame frame) = 0;                    // to the broadcast port, on every broadcast address
    virtual void multicast(std::span<const OutFrame> frames) = 0;  // to the group, in order
    virtual void send_datagram(Endpoint to, OutFrame frame) = 0;   // from the node's own datagram socket
    virtual DatagramLimits datagram_limits() = 0;

    // What it has counted since its start, for status and metrics.
    virtual std::vector<Counter> counted() { return {}; }
};

}  // namespace logstream::env
