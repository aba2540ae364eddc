// Receives datagrams many at a time (recvmmsg). Internal to net.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "internal/env/endpoint.h"
#include "internal/net/socket_address.h"
#include "internal/protocol/bytes.h"

namespace logstream::net {

// A fixed set of slots that the kernel fills, each with one datagram; or, if the socket has UDP_GRO, with several that
// came as one packet. What fills at least half its slot leaves with the slot's buffer (no copy, and it pins at most
// twice its size); less is copied out, which is cheap.
class FrameReceiver {
public:
    struct Arrival {
        std::span<const std::byte> bytes;  // one datagram; valid until the callback returns; `take` keeps them
        env::Endpoint from;
        int interface_index{};        // 0 where the socket does not ask for it
        std::uint32_t lost_so_far{};  // packets that found the socket's buffer full since it was opened; 0: not said
        bool truncated{};             // was larger than it may be
    };

    // No datagram is larger than `datagram_bytes`; `slot_bytes`: what one call receives at most.
    FrameReceiver(std::size_t slots, std::size_t slot_bytes, std::size_t datagram_bytes);

    // Takes what has arrived at `fd`, at most `rounds` times the slots and not much more than kReceiveBytes, so that a
    // flood leaves time for timers and connections; the rest waits for the next turn of the loop.
    void receive(int fd, int rounds, const std::function<void(const Arrival&)>& deliver);
    // The datagram's bytes, to keep. From within `deliver`.
    protocol::Bytes take(const Arrival& arrival);

private:
    static constexpr std::size_t kReceiveBytes = 2u << 20;
    // Room for IP_PKTINFO, SO_RXQ_OVFL and UDP_GRO.
    using Control = std::array<std::byte, 96>;
    void offer_slots();
    void deliver_slot(std::size_t slot, const std::function<void(const Arrival&)>& deliver);

    std::size_t slot_bytes_;
    std::size_t datagram_bytes_;
    std::vector<protocol::Bytes> buffers_;
    std::vector<iovec> pieces_;
    std::vector<SocketAddress> senders_;
    std::vector<Control> controls_;
    std::vector<mmsghdr> headers_;
    protocol::Bytes packet_;  // the one that is delivered, once something of it is taken
    std::size_t slot_{};      // its slot
};

}  // namespace logstream::net
