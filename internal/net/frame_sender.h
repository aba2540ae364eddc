// Sends datagrams many at a time (sendmmsg, and UDP_SEGMENT where the kernel has it). Internal to net.
#pragma once

#include <netinet/in.h>
#include <spdlog/logger.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "internal/env/env.h"
#include "internal/net/counters.h"
#include "internal/net/log_throttle.h"
#include "internal/net/loop.h"
#include "internal/net/socket_address.h"

namespace logstream::net {

class PolledFd;

// Where a datagram goes, and by which interface when the routing table is not to choose.
struct Destination {
    env::Endpoint to;
    int interface_index{};            // 0: the kernel chooses
    protocol::IpAddress source_ip{};  // with an interface: the sender's address on it; none: the kernel chooses
    friend bool operator==(const Destination&, const Destination&) = default;
};

// Order is kept. Frames of one size that follow each other go through the kernel as one packet, which is cut into
// datagrams as late as possible: by the network card, or for a receiver on the same machine never (see udp(7),
// UDP_SEGMENT). Where that is refused they go one by one. When the kernel's buffer is full, frames wait in a bounded
// queue for the socket to become writable; over the bound they are dropped and counted, as is what the kernel refuses.
// Both are said in the log at most once a second.
class FrameSender {
public:
    using SystemCall = int (*)(int fd, mmsghdr* messages, unsigned count, int flags);
    FrameSender(Loop& loop, PolledFd& socket, std::size_t queue_frames, Counters& counters, spdlog::logger& log,
                SystemCall sendmmsg = ::sendmmsg);

    void send(const Destination& to, std::span<const env::OutFrame> frames);
    // The socket takes more.
    void writable();
    std::size_t waiting() const { return waiting_.size(); }

private:
    static constexpr std::size_t kBatch = 64;  // packets of a system call
    // Of a packet; what every kernel since 4.18 takes.
    static constexpr std::size_t kSegments = 64;
    static constexpr std::size_t kSegmentedBytes = 65507;
    // Room for IPV6_PKTINFO, the larger one of its kind, and UDP_SEGMENT.
    struct alignas(cmsghdr) Control {
        std::array<std::byte, CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(std::uint16_t))> bytes;
    };
    struct Waiting {
        Destination to;
        env::OutFrame frame;
    };

    // Hands frames to the kernel, until it would block. Returns how many are done with: sent, or refused for good.
    std::size_t transmit(const Destination& to, std::span<const env::OutFrame> frames);
    // How many of the first frames fit in one packet.
    std::size_t run_of(std::span<const env::OutFrame> frames) const;
    std::span<mmsghdr> packets_of(const Destination& to, std::span<const env::OutFrame> frames);
    void refused(const Destination& to, std::span<const env::OutFrame> frames, int os_error);
    void wait(const Destination& to, std::span<const env::OutFrame> frames);

    Loop& loop_;
    PolledFd& socket_;
    int family_;  // of the socket
    std::size_t queue_frames_;
    SystemCall sendmmsg_;
    Counters& counters_;
    spdlog::logger& log_;
    LogThrottle full_said_;
    LogThrottle refused_said_;
    std::deque<Waiting> waiting_;
    std::vector<env::OutFrame> next_;  // frames of waiting_ that go out in one call
    bool segments_ = true;             // until the kernel refuses

    // Of the system call that is made.
    SocketAddress address_;
    std::array<mmsghdr, kBatch> headers_{};
    std::array<Control, kBatch> controls_{};
    std::array<std::size_t, kBatch> runs_{};  // frames of each packet
    std::vector<iovec> pieces_;               // of all packets
};

}  // namespace logstream::net
