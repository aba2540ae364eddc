// The network's limits: one sender and two receivers of a multicast, a TCP connection, two that answer each other.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>

#include "cmd/bench/limits.h"

namespace logstream::bench {

namespace {

constexpr std::size_t kDatagramBytes = 1472;  // what an MTU of 1500 leaves
constexpr std::size_t kMostSegments = 44;     // of a buffer: what fits in 64 KiB
constexpr std::uint16_t kPort = 9977;

class Socket {
public:
    explicit Socket(int fd) : fd_(fd) {}
    Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Socket& operator=(Socket&&) = delete;
    ~Socket() {
        if (fd_ >= 0) close(fd_);
    }
    int get() const { return fd_; }

    template <class Value>
    void set(int level, int name, const Value& value) {
        need(setsockopt(fd_, level, name, &value, sizeof value), "setsockopt");
    }
    // As much as the kernel lets us have.
    void grow_buffers() {
        constexpr int kBytes = 16 << 20;
        for (const int name : {SO_RCVBUF, SO_RCVBUFFORCE, SO_SNDBUF, SO_SNDBUFFORCE})
            setsockopt(fd_, SOL_SOCKET, name, &kBytes, sizeof kBytes);
        set(SOL_SOCKET, SO_RCVTIMEO, timeval{.tv_sec = 0, .tv_usec = 100'000});
    }
    void bind_to(sockaddr_in address) {
        need(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
    }
    void connect_to(sockaddr_in address) {
        need(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
    }

private:
    int fd_;
};

sockaddr_in address_of(in_addr ip, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr = ip;
    address.sin_port = htons(port);
    return address;
}

// A machine of a network that deploy/netns made, or this one's loopback.
class Host {
public:
    Host(const std::string& network, int number) : interface_(network.empty() ? "lo" : "eth0") {
        if (!network.empty()) namespace_ = "/run/netns/" + network + "-" + std::to_string(number);
        const Socket socket = open(SOCK_DGRAM);
        ifreq request{};
        std::strncpy(request.ifr_name, interface_, IFNAMSIZ - 1);
        need(ioctl(socket.get(), SIOCGIFADDR, &request), "address of the interface");
        std::memcpy(&address_, &request.ifr_addr, sizeof address_);
    }

    in_addr ip() const { return address_.sin_addr; }

    // Belongs to the host for good; the calling thread does not stay there.
    Socket open(int type) const {
        if (namespace_.empty()) return Socket(need(socket(AF_INET, type, 0), "socket"));
        const int home = need(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "open");
        const int there = need(::open(namespace_.c_str(), O_RDONLY | O_CLOEXEC), namespace_.c_str());
        need(setns(there, CLONE_NEWNET), "setns");
        Socket made(need(socket(AF_INET, type, 0), "socket"));
        need(setns(home, CLONE_NEWNET), "setns");
        close(home);
        close(there);
        return made;
    }

private:
    const char* interface_;
    std::string namespace_;
    sockaddr_in address_{};
};

enum class Segmentation : std::uint8_t {
    kByUs,      // sendmmsg and recvmmsg, a buffer for each datagram
    kByKernel,  // the same with UDP_SEGMENT and UDP_GRO, a buffer for many
};

// Datagrams carry their number, so that whoever knows the last one received knows how far the receiver is.
class Sender {
public:
    Sender(const Host& host, sockaddr_in group, Segmentation segmentation) : socket_(host.open(SOCK_DGRAM)) {
        socket_.grow_buffers();
        socket_.set(IPPROTO_IP, IP_MULTICAST_IF, host.ip());
        socket_.set(IPPROTO_IP, IP_MULTICAST_LOOP, 1);
        socket_.connect_to(group);
        per_buffer_ = segmentation == Segmentation::kByKernel ? kMostSegments : 1;
        if (per_buffer_ > 1) socket_.set(SOL_UDP, UDP_SEGMENT, static_cast<int>(kDatagramBytes));
        for (std::size_t i = 0; i < kBuffers; ++i) {
            buffers_[i].resize(per_buffer_ * kDatagramBytes);
            parts_[i] = {.iov_base = buffers_[i].data(), .iov_len = buffers_[i].size()};
            messages_[i].msg_hdr.msg_iov = &parts_[i];
            messages_[i].msg_hdr.msg_iovlen = 1;
        }
    }

    std::uint64_t sent() const { return sent_; }
    void send_some() {
        const std::size_t buffers = per_buffer_ > 1 ? 1 : kBuffers;
        for (std::size_t i = 0; i < buffers * per_buffer_; ++i) {
            const std::uint64_t number = sent_ + i + 1;
            std::memcpy(buffers_[i / per_buffer_].data() + i % per_buffer_ * kDatagramBytes, &number, sizeof number);
        }
        const int took = sendmmsg(socket_.get(), messages_.data(), static_cast<unsigned>(buffers), 0);
        sent_ += static_cast<std::uint64_t>(need(took, "sendmmsg")) * per_buffer_;
    }

private:
    static constexpr std::size_t kBuffers = 64;

    Socket socket_;
    std::size_t per_buffer_;
    std::array<std::string, kBuffers> buffers_;
    std::array<iovec, kBuffers> parts_{};
    std::array<mmsghdr, kBuffers> messages_{};
    std::uint64_t sent_{};
};

class Receiver {
public:
    Receiver(const Host& host, sockaddr_in group, Segmentation segmentation) : socket_(host.open(SOCK_DGRAM)) {
        socket_.grow_buffers();
        socket_.set(SOL_SOCKET, SO_REUSEADDR, 1);
        socket_.bind_to(group);
        socket_.set(IPPROTO_IP, IP_ADD_MEMBERSHIP,
                    ip_mreq{.imr_multiaddr = group.sin_addr, .imr_interface = host.ip()});
        if (segmentation == Segmentation::kByKernel) socket_.set(SOL_UDP, UDP_GRO, 1);
        thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
    }

    std::uint64_t last() const { return last_.load(std::memory_order_relaxed); }
    std::uint64_t received() const { return received_.load(std::memory_order_relaxed); }

private:
    void run(const std::stop_token& stop) {
        constexpr std::size_t kBuffers = 32;
        std::vector<std::string> buffers(kBuffers, std::string(64 << 10, '\0'));
        std::array<iovec, kBuffers> parts{};
        std::array<mmsghdr, kBuffers> messages{};
        for (std::size_t i = 0; i < kBuffers; ++i) {
            parts[i] = {.iov_base = buffers[i].data(), .iov_len = buffers[i].size()};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        while (!stop.stop_requested()) {
            const int count = recvmmsg(socket_.get(), messages.data(), kBuffers, MSG_WAITFORONE, nullptr);
            if (count <= 0) continue;  // the time-out
            std::uint64_t datagrams = 0;
            for (int i = 0; i < count; ++i) datagrams += messages[i].msg_len / kDatagramBytes;
            const mmsghdr& latest = messages[count - 1];
            std::uint64_t number = 0;
            std::memcpy(&number, buffers[count - 1].data() + latest.msg_len - kDatagramBytes, sizeof number);
            received_.fetch_add(datagrams, std::memory_order_relaxed);
            last_.store(number, std::memory_order_relaxed);
        }
    }

    Socket socket_;
    std::atomic<std::uint64_t> last_{};
    std::atomic<std::uint64_t> received_{};
    std::jthread thread_;  // last: ends before what it uses
};

// The sender stays at most a window ahead of the slower receiver, as an owner does; what is lost all the same counts as
// not received.
void measure_multicast(const std::string& network, Segmentation segmentation, const std::string& name,
                       nlohmann::json& figures) {
    using Clock = std::chrono::steady_clock;
    // In datagrams: on the way the kernel queues 1,000 packets (net.core.netdev_max_backlog), for all receivers
    // together.
    const std::uint64_t window = segmentation == Segmentation::kByKernel ? 32 * kMostSegments : 256;
    constexpr auto kPatience = std::chrono::milliseconds(10);
    const sockaddr_in group = address_of(in_addr{inet_addr("239.77.77.77")}, kPort);
    Receiver one(Host(network, 2), group, segmentation);
    Receiver two(Host(network, 3), group, segmentation);
    Sender sender(Host(network, 1), group, segmentation);
    const auto begin = Clock::now();
    auto moved = begin;
    for (auto now = begin; now - begin < kEach; now = Clock::now()) {
        if (sender.sent() - std::min(one.last(), two.last()) < window || now - moved > kPatience) {
            sender.send_some();
            moved = now;
        } else {
            std::this_thread::yield();
        }
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    const std::uint64_t received = std::min(one.received(), two.received());
    figures[name + "_mb_per_s"] = static_cast<double>(received * kDatagramBytes) / seconds / 1e6;
}

void measure_tcp(const std::string& network, nlohmann::json& figures) {
    const Host from(network, 1);
    const Host to(network, 2);
    Socket listener = to.open(SOCK_STREAM);
    listener.set(SOL_SOCKET, SO_REUSEADDR, 1);
    listener.bind_to(address_of(to.ip(), kPort));
    need(listen(listener.get(), 1), "listen");
    Socket sender = from.open(SOCK_STREAM);
    sender.connect_to(address_of(to.ip(), kPort));
    const Socket receiver(need(accept(listener.get(), nullptr, nullptr), "accept"));
    const std::jthread reader([&] {
        std::string buffer(256 << 10, '\0');
        while (recv(receiver.get(), buffer.data(), buffer.size(), 0) > 0) continue;
    });
    const std::string block(256 << 10, 't');
    figures["tcp_mb_per_s"] =
        bytes_per_second(block.size(),
                         [&] {
                             for (std::size_t sent = 0; sent < block.size();)
                                 sent += static_cast<std::size_t>(
                                     need(send(sender.get(), block.data() + sent, block.size() - sent, 0), "send"));
                         }) /
        1e6;
    shutdown(sender.get(), SHUT_WR);
}

void measure_ping_pong(const std::string& network, nlohmann::json& figures) {
    const Host here(network, 1);
    const Host there(network, 2);
    Socket ping = here.open(SOCK_DGRAM);
    Socket pong = there.open(SOCK_DGRAM);
    for (Socket* const socket : {&ping, &pong}) socket->grow_buffers();
    ping.bind_to(address_of(here.ip(), kPort));
    pong.bind_to(address_of(there.ip(), kPort + 1));
    ping.connect_to(address_of(there.ip(), kPort + 1));
    pong.connect_to(address_of(here.ip(), kPort));
    const std::jthread answerer([&](const std::stop_token& stop) {
        std::array<char, 100> datagram{};
        while (!stop.stop_requested())
            if (recv(pong.get(), datagram.data(), datagram.size(), 0) > 0)
                send(pong.get(), datagram.data(), datagram.size(), 0);
    });
    std::array<char, 100> datagram{};
    const auto exchange = [&] {
        need(send(ping.get(), datagram.data(), datagram.size(), 0), "send");
        need(recv(ping.get(), datagram.data(), datagram.size(), 0), "recv");
    };
    figures["udp_ping_pong_us"] = microseconds(time_each(exchange));
    figures["udp_ping_pong_paced_us"] = microseconds(time_each_paced(exchange));
}

}  // namespace

void measure_network(const std::string& network, nlohmann::json& figures) {
    measure_multicast(network, Segmentation::kByUs, "multicast", figures);
    measure_multicast(network, Segmentation::kByKernel, "multicast_segmented", figures);
    measure_tcp(network, figures);
    measure_ping_pong(network, figures);
}

}  // namespace logstream::bench
