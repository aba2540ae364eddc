#include "internal/net/frame_sender.h"

#include <arpa/inet.h>
#include <netinet/udp.h>

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

// Writes control messages one behind the other.
class ControlWriter {
public:
    explicit ControlWriter(std::span<std::byte> room) : room_(room) {}

    template <class T>
    void add(int level, int type, const T& value) {
        cmsghdr header{};
        header.cmsg_level = level;
        header.cmsg_type = type;
        header.cmsg_len = CMSG_LEN(sizeof value);
        LS_ASSERT(size_ + CMSG_SPACE(sizeof value) <= room_.size());
        std::memcpy(room_.data() + size_, &header, sizeof header);
        std::memcpy(room_.data() + size_ + CMSG_LEN(0), &value, sizeof value);
        size_ += CMSG_SPACE(sizeof value);
    }
    std::size_t size() const { return size_; }

private:
    std::span<std::byte> room_;
    std::size_t size_{};
};

// Needs no privilege, unlike SO_BINDTODEVICE on older kernels.
void add_interface(ControlWriter& control, const Destination& to) {
    if (to.to.ip.is_v4()) {
        in_pktinfo info{};
        info.ipi_ifindex = to.interface_index;
        info.ipi_spec_dst.s_addr = htonl(to.source_ip.v4());
        return control.add(IPPROTO_IP, IP_PKTINFO, info);
    }
    in6_pktinfo info{};
    info.ipi6_ifindex = static_cast<unsigned>(to.interface_index);
    if (!to.source_ip.is_unspecified()) info.ipi6_addr = to_in6(to.source_ip);
    control.add(IPPROTO_IPV6, IPV6_PKTINFO, info);
}

// Errors of a kernel, a device or a firewall that takes datagrams one by one only.
bool refuses_segments(int os_error) {
    return os_error == EIO || os_error == EINVAL || os_error == EMSGSIZE || os_error == EOPNOTSUPP;
}

}  // namespace

FrameSender::FrameSender(Loop& loop, PolledFd& socket, std::size_t queue_frames, Counters& counters,
                         spdlog::logger& log, SystemCall sendmmsg)
    : loop_(loop),
      socket_(socket),
      family_(family_of_socket(socket.fd())),
      queue_frames_(queue_frames),
      sendmmsg_(sendmmsg),
      counters_(counters),
      log_(log) {}

void FrameSender::send(const Destination& to, std::span<const env::OutFrame> frames) {
    const std::size_t done = waiting_.empty() ? transmit(to, frames) : 0;
    if (done < frames.size()) wait(to, frames.subspan(done));
}

std::size_t FrameSender::run_of(std::span<const env::OutFrame> frames) const {
    const std::size_t size = size_of(frames.front());
    if (!segments_ || size == 0) return 1;
    const std::size_t most = std::min({frames.size(), kSegments, std::max<std::size_t>(kSegmentedBytes / size, 1)});
    std::size_t run = 1;
    while (run < most && size_of(frames[run]) == size) ++run;
    if (run < most && size_of(frames[run]) < size) ++run;  // the last datagram of a packet may be shorter
    return run;
}

// Describes the first frames, in as many packets as one system call takes.
std::span<mmsghdr> FrameSender::packets_of(const Destination& to, std::span<const env::OutFrame> frames) {
    address_ = SocketAddress(to.to, family_);
    pieces_.clear();
    std::size_t count = 0;
    for (std::size_t at = 0; at < frames.size() && count < kBatch; at += runs_[count++]) {
        const std::size_t run = runs_[count] = run_of(frames.subspan(at));
        const std::size_t pieces_before = pieces_.size();
        for (const env::OutFrame& frame : frames.subspan(at, run)) {
            pieces_.push_back(piece(frame.head));
            if (!frame.tail.empty()) pieces_.push_back(piece(frame.tail));
        }
        ControlWriter control(controls_[count].bytes);
        if (to.interface_index != 0) add_interface(control, to);
        if (run > 1) control.add(SOL_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(size_of(frames[at])));
        msghdr& header = headers_[count].msg_hdr;
        header = {};
        header.msg_name = address_.get();
        header.msg_namelen = address_.size();
        header.msg_iovlen = pieces_.size() - pieces_before;
        header.msg_control = control.size() > 0 ? controls_[count].bytes.data() : nullptr;
        header.msg_controllen = control.size();
    }
    const auto packets = std::span(headers_).first(count);
    iovec* next = pieces_.data();  // which stays where it is only now
    for (mmsghdr& packet : packets) next = (packet.msg_hdr.msg_iov = next) + packet.msg_hdr.msg_iovlen;
    return packets;
}

std::size_t FrameSender::transmit(const Destination& to, std::span<const env::OutFrame> frames) {
    std::size_t done = 0;
    while (done < frames.size()) {
        const std::span<mmsghdr> packets = packets_of(to, frames.subspan(done));
        const int sent = sendmmsg_(socket_.fd(), packets.data(), static_cast<unsigned>(packets.size()), MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) return done;
            if (runs_[0] > 1 && refuses_segments(errno)) {
                log_.info("NET datagrams go to the kernel one by one: {}", std::generic_category().message(errno));
                segments_ = false;
                continue;
            }
            refused(to, frames.subspan(done, runs_[0]), errno);  // concerns the first packet; the others are tried on
            done += runs_[0];
            continue;
        }
        for (const std::size_t run : std::span(runs_).first(static_cast<std::size_t>(sent))) {
            for (const env::OutFrame& frame : frames.subspan(done, run))
                counters_.datagram_bytes_sent += size_of(frame);
            counters_.datagrams_sent += run;
            done += run;
        }
    }
    return done;
}

void FrameSender::refused(const Destination& to, std::span<const env::OutFrame> frames, int os_error) {
    counters_.datagrams_send_failed += frames.size();
    if (const auto times = refused_said_.count(loop_.now()))
        log_.warn("NET datagram of {} bytes to {} not sent: {} ({} since the last such line)", size_of(frames.front()),
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
                "NET datagrams dropped: {} are queued and the kernel accepts no more ({} dropped in total, {} times "
                "since "
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
