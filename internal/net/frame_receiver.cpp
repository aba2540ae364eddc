#include "internal/net/frame_receiver.h"

#include <cerrno>
#include <cstring>

#include "internal/net/udp_socket.h"

namespace logstream::net {

FrameReceiver::FrameReceiver(std::size_t slots, std::size_t slot_bytes)
    : slot_bytes_(slot_bytes), buffers_(slots), pieces_(slots), senders_(slots), controls_(slots), headers_(slots) {
    LS_ASSERT(slots > 0 && slot_bytes > 0);
    for (auto& buffer : buffers_) buffer = protocol::Bytes::allocate(slot_bytes);
}

// The kernel writes lengths into the headers, so they are filled anew before each call.
void FrameReceiver::offer_slots() {
    for (std::size_t i = 0; i < headers_.size(); ++i) {
        pieces_[i] = {buffers_[i].mutable_data(), slot_bytes_};
        msghdr& header = headers_[i].msg_hdr;
        header = {};
        header.msg_name = &senders_[i];
        header.msg_namelen = sizeof senders_[i];
        header.msg_iov = &pieces_[i];
        header.msg_iovlen = 1;
        header.msg_control = controls_[i].data();
        header.msg_controllen = controls_[i].size();
    }
}

FrameReceiver::Arrival FrameReceiver::arrival(std::size_t slot) {
    msghdr& header = headers_[slot].msg_hdr;
    Arrival a;
    a.slot = slot;
    a.bytes = buffers_[slot].span().first(headers_[slot].msg_len);
    a.from = to_endpoint(senders_[slot]);
    a.truncated = (header.msg_flags & MSG_TRUNC) != 0;
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            in_pktinfo info{};
            std::memcpy(&info, CMSG_DATA(c), sizeof info);
            a.interface_index = info.ipi_ifindex;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            std::memcpy(&a.lost_so_far, CMSG_DATA(c), sizeof a.lost_so_far);
        }
    }
    return a;
}

void FrameReceiver::receive(int fd, int rounds, const std::function<void(const Arrival&)>& deliver) {
    for (int round = 0; round < rounds; ++round) {
        offer_slots();
        const int got = ::recvmmsg(fd, headers_.data(), static_cast<unsigned>(headers_.size()), MSG_DONTWAIT, nullptr);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;  // nothing more, or an error that the next event will repeat
        for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) deliver(arrival(i));
        if (static_cast<std::size_t>(got) < headers_.size()) return;
    }
}

protocol::Bytes FrameReceiver::take(const Arrival& arrival) {
    if (arrival.bytes.size() * 2 < slot_bytes_) return protocol::Bytes::copy_of(arrival.bytes);
    protocol::Bytes whole = std::move(buffers_[arrival.slot]);
    buffers_[arrival.slot] = protocol::Bytes::allocate(slot_bytes_);
    return whole.slice(0, arrival.bytes.size());
}

}  // namespace logstream::net
