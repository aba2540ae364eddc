#include "internal/net/frame_sender.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "internal/net/polled_fd.h"
#include "internal/net/udp_socket.h"

namespace logstream::net {

namespace {

std::size_t size_of(const env::OutFrame& frame) { return frame.head.size() + frame.tail.size(); }

iovec piece(const protocol::Bytes& bytes) { return {const_cast<std::byte*>(bytes.data()), bytes.size()}; }

// The control message that names the interface; needs no privilege, unlike SO_BINDTODEVICE on older kernels.
struct ByInterface {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(in_pktinfo))> bytes{};

    explicit ByInterface(const Destination& to) {
        in_pktinfo info{};
        info.ipi_ifindex = to.interface_index;
        info.ipi_spec_dst.s_addr = htonl(to.source_ip);
        cmsghdr header{};
        header.cmsg_level = IPPROTO_IP;
        header.cmsg_type = IP_PKTINFO;
        header.cmsg_len = CMSG_LEN(sizeof info);
        std::memcpy(bytes.data(), &header, sizeof header);
        std::memcpy(bytes.data() + CMSG_LEN(0), &info, sizeof info);
    }
};

}  // namespace

FrameSender::FrameSender(Loop& loop, PolledFd& socket, std::size_t queue_frames, Counters& counters,
                         spdlog::logger& log, SystemCall sendmmsg)
    : loop_(loop), socket_(socket), queue_frames_(queue_frames), sendmmsg_(sendmmsg), counters_(counters), log_(log) {}

void FrameSender::send(const Destination& to, std::span<const env::OutFrame> frames) {
    const std::size_t done = waiting_.empty() ? transmit(to, frames) : 0;
    if (done < frames.size()) wait(to, frames.subspan(done));
}

// The one place that makes the system call; segmentation offload (UDP_SEGMENT) would go in here, since all frames of a
// call have one destination.
std::size_t FrameSender::transmit(const Destination& to, std::span<const env::OutFrame> frames) {
    sockaddr_in address = to_sockaddr(to.to);
    ByInterface by_interface(to);
    std::size_t done = 0;
    while (done < frames.size()) {
        const std::size_t batch = std::min(frames.size() - done, kBatch);
        for (std::size_t i = 0; i < batch; ++i) {
            const env::OutFrame& frame = frames[done + i];
            pieces_[i] = {piece(frame.head), piece(frame.tail)};
            msghdr& header = headers_[i].msg_hdr;
            header = {};
            header.msg_name = &address;
            header.msg_namelen = sizeof address;
            header.msg_iov = pieces_[i].data();
            header.msg_iovlen = frame.tail.empty() ? 1 : 2;
            if (to.interface_index != 0) {
                header.msg_control = by_interface.bytes.data();
                header.msg_controllen = by_interface.bytes.size();
            }
        }
        const int sent = sendmmsg_(socket_.fd(), headers_.data(), static_cast<unsigned>(batch), MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) return done;
            refused(to, frames[done], errno);  // concerns the first one; the others are tried on
            ++done;
            continue;
        }
        for (std::size_t i = 0; i < static_cast<std::size_t>(sent); ++i)
            counters_.datagram_bytes_sent += size_of(frames[done + i]);
        counters_.datagrams_sent += static_cast<std::uint64_t>(sent);
        done += static_cast<std::size_t>(sent);
    }
    return done;
}

void FrameSender::refused(const Destination& to, const env::OutFrame& frame, int os_error) {
    ++counters_.datagrams_send_failed;
    if (const auto times = refused_said_.count(loop_.now()))
        log_.warn("NET datagram of {} bytes to {} not sent: {} ({} since the last such line)", size_of(frame),
                  env::to_string(to.to), std::generic_category().message(os_error), *times);
}

void FrameSender::wait(const Destination& to, std::span<const env::OutFrame> frames) {
    const std::size_t room = queue_frames_ - std::min(queue_frames_, waiting_.size());
    const std::size_t kept = std::min(room, frames.size());
    for (const env::OutFrame& frame : frames.first(kept)) waiting_.push_back({to, frame});
    const std::size_t dropped = frames.size() - kept;
    if (dropped > 0) {
        counters_.datagrams_queue_full += dropped;
        if (const auto times = full_said_.count(loop_.now()))
            log_.warn(
                "NET datagrams dropped: {} wait and the kernel takes no more ({} in all dropped so, {} times since "
                "the last such line)",
                waiting_.size(), counters_.datagrams_queue_full, *times);
    }
    socket_.wait_writable(!waiting_.empty());
}

void FrameSender::writable() {
    while (!waiting_.empty()) {
        const Destination to = waiting_.front().to;
        next_.clear();
        for (const Waiting& w : waiting_) {
            if (next_.size() == kBatch || w.to != to) break;
            next_.push_back(w.frame);
        }
        const std::size_t done = transmit(to, next_);
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(done));
        if (done < next_.size()) break;
    }
    next_.clear();
    socket_.wait_writable(!waiting_.empty());
}

}  // namespace logstream::net
