#include "internal/net/frame_receiver.h"

#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "internal/net/udp_socket.h"

namespace logstream::net {

namespace {

template <class T>
T control_value(const cmsghdr& message) {
    T value{};
    if (message.cmsg_len >= CMSG_LEN(sizeof value)) std::memcpy(&value, CMSG_DATA(&message), sizeof value);
    return value;
}

}  // namespace

FrameReceiver::FrameReceiver(std::size_t slots, std::size_t slot_bytes, std::size_t datagram_bytes)
    : slot_bytes_(slot_bytes),
      datagram_bytes_(datagram_bytes),
      buffers_(slots),
      pieces_(slots),
      senders_(slots),
      controls_(slots),
      headers_(slots) {
    LS_ASSERT(slots > 0 && datagram_bytes > 0 && slot_bytes >= datagram_bytes);
    for (auto& buffer : buffers_) buffer = protocol::Bytes::allocate(slot_bytes);
}

// The kernel writes lengths into the headers, so they are filled anew before each call.
void FrameReceiver::offer_slots() {
    for (std::size_t i = 0; i < headers_.size(); ++i) {
        pieces_[i] = {buffers_[i].mutable_data(), slot_bytes_};
        msghdr& header = headers_[i].msg_hdr;
        header = {};
        header.msg_name = senders_[i].get();
        header.msg_namelen = sizeof senders_[i];
        header.msg_iov = &pieces_[i];
        header.msg_iovlen = 1;
        header.msg_control = controls_[i].data();
        header.msg_controllen = controls_[i].size();
    }
}

void FrameReceiver::deliver_slot(std::size_t slot, const std::function<void(const Arrival&)>& deliver) {
    msghdr& header = headers_[slot].msg_hdr;
    const auto packet = buffers_[slot].span().first(headers_[slot].msg_len);
    std::size_t step = packet.size();
    Arrival arrival;
    arrival.from = senders_[slot].endpoint();
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            arrival.interface_index = control_value<in_pktinfo>(*c).ipi_ifindex;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            arrival.lost_so_far = control_value<std::uint32_t>(*c);
        } else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            step = static_cast<std::size_t>(std::max(control_value<int>(*c), 1));
        }
    }
    arrival.truncated = (header.msg_flags & MSG_TRUNC) != 0 || step > datagram_bytes_;
    slot_ = slot;
    std::size_t at = 0;
    do {  // an empty datagram is one, too
        arrival.bytes = packet.subspan(at, std::min(step, packet.size() - at));
        deliver(arrival);
        at += step;
    } while (at < packet.size());
    packet_ = {};
    if (buffers_[slot].shared()) buffers_[slot] = protocol::Bytes::allocate(slot_bytes_);
}

void FrameReceiver::receive(int fd, int rounds, const std::function<void(const Arrival&)>& deliver) {
    std::size_t bytes = 0;
    for (int round = 0; round < rounds && bytes < kReceiveBytes; ++round) {
        offer_slots();
        const int got = ::recvmmsg(fd, headers_.data(), static_cast<unsigned>(headers_.size()), MSG_DONTWAIT, nullptr);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;  // nothing more, or an error that the next event will repeat
        for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
            bytes += headers_[i].msg_len;
            deliver_slot(i, deliver);
        }
        if (static_cast<std::size_t>(got) < headers_.size()) return;
    }
}

protocol::Bytes FrameReceiver::take(const Arrival& arrival) {
    if (arrival.bytes.empty()) return {};
    const protocol::Bytes& buffer = buffers_[slot_];
    const std::size_t packet_bytes = headers_[slot_].msg_len;
    if (packet_.empty())
        packet_ = packet_bytes * 2 < slot_bytes_ ? protocol::Bytes::copy_of(buffer.span().first(packet_bytes)) : buffer;
    return packet_.slice(static_cast<std::size_t>(arrival.bytes.data() - buffer.data()), arrival.bytes.size());
}

}  // namespace logstream::net
