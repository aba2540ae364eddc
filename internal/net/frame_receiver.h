// Receives datagrams many at a time (recvmmsg). Internal to net.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "internal/env/endpoint.h"
#include "internal/protocol/bytes.h"

namespace logstream::net {

// A fixed set of slots that the kernel fills. A datagram that fills at least half its slot leaves with the slot's
// buffer (no copy, and it pins at most twice its size); a smaller one is copied out, which is cheap, and its slot is
// used again.
class FrameReceiver {
public:
    struct Arrival {
        std::size_t slot{};
        std::span<const std::byte> bytes;  // valid until the callback returns; `take` keeps them
        env::Endpoint from;
        int interface_index{};        // 0 where the socket does not ask for it
        std::uint32_t lost_so_far{};  // datagrams that found the socket's buffer full since it was opened; 0: not said
        bool truncated{};             // was larger than a slot
    };

    FrameReceiver(std::size_t slots, std::size_t slot_bytes);

    // Takes what has arrived at `fd`, at most `rounds` times the slots, so that a flood leaves time for timers and
    // connections; the rest waits for the next turn of the loop.
    void receive(int fd, int rounds, const std::function<void(const Arrival&)>& deliver);
    // The datagram's bytes, to keep. Once for an arrival, from within `deliver`.
    protocol::Bytes take(const Arrival& arrival);

private:
    // Room for IP_PKTINFO and SO_RXQ_OVFL.
    using Control = std::array<std::byte, 64>;
    void offer_slots();
    Arrival arrival(std::size_t slot);

    std::size_t slot_bytes_;
    std::vector<protocol::Bytes> buffers_;
    std::vector<iovec> pieces_;
    std::vector<sockaddr_in> senders_;
    std::vector<Control> controls_;
    std::vector<mmsghdr> headers_;
};

}  // namespace logstream::net
