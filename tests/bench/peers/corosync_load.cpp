// Load on a closed process group. A flood packs records into messages of 64 KiB and has as many under way as Totem's
// flow control lets it; a message is acknowledged when it comes back to its sender in the total order.
//
// `listen` in place of the load: only tells how long messages took to arrive here.
#include <corosync/cpg.h>
#include <poll.h>

#include <cstring>
#include <deque>
#include <thread>

#include "load.h"

namespace {

constexpr std::size_t kMessageBytes = 64 << 10;

class Group {
public:
    Group(const Load& load, bool listening)
        : load_(load), listening_(listening), acknowledged_(load), delivered_(load) {
        cpg_callbacks_t callbacks{};
        callbacks.cpg_deliver_fn = on_message;
        check(cpg_initialize(&handle_, &callbacks), "cpg_initialize");
        check(cpg_context_set(handle_, this), "cpg_context_set");
        cpg_name name{};
        name.length = static_cast<std::uint32_t>(load.servers.copy(name.value, sizeof name.value));
        check(cpg_join(handle_, &name), "cpg_join");
        check(cpg_fd_get(handle_, &fd_), "cpg_fd_get");
    }
    ~Group() { cpg_finalize(handle_); }
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;

    void listen() {
        while (!load_.over()) dispatch(std::chrono::milliseconds(10));
    }
    void send() {
        const std::size_t batch = load_.flood ? std::max<std::size_t>(1, kMessageBytes / load_.record_bytes) : 1;
        std::string message(batch * load_.record_bytes, 'c');
        for (std::uint64_t sent = 0; !load_.over();) {
            const bool due = load_.rate == 0 || Clock::now() >= load_.due(sent);
            const bool may = load_.flood || load_.rate > 0 || under_way_.empty();
            if (due && may && try_send(message)) {
                sent += batch;
                dispatch(std::chrono::milliseconds(0));
            } else {
                dispatch(load_.rate > 0 ? std::chrono::microseconds(100) : std::chrono::milliseconds(1));
            }
        }
    }
    Counted& acknowledged() { return acknowledged_; }
    Counted& delivered() { return delivered_; }

private:
    static void check(cs_error_t error, const char* what) {
        if (error == CS_OK) return;
        std::fprintf(stderr, "corosync: %s: %s\n", what, cs_strerror(error));
        std::exit(1);
    }
    static void on_message(cpg_handle_t handle, const cpg_name*, std::uint32_t, std::uint32_t, void* message,
                           std::size_t bytes) {
        void* self = nullptr;
        cpg_context_get(handle, &self);
        static_cast<Group*>(self)->arrived(message, bytes);
    }
    void arrived(const void* message, std::size_t bytes) {
        const std::size_t records = bytes / load_.record_bytes;
        if (listening_) {
            std::int64_t stamp = 0;
            std::memcpy(&stamp, message, sizeof stamp);
            delivered_.add(Clock::time_point(Clock::duration(stamp)), records);
        } else if (!under_way_.empty()) {
            acknowledged_.add(under_way_.front(), records);
            under_way_.pop_front();
        }
    }
    // False when flow control asks to come again.
    bool try_send(std::string& message) {
        const auto now = Clock::now();
        const std::int64_t stamp = nanoseconds(now);
        std::memcpy(message.data(), &stamp, sizeof stamp);
        const iovec part{.iov_base = message.data(), .iov_len = message.size()};
        const cs_error_t error = cpg_mcast_joined(handle_, CPG_TYPE_AGREED, &part, 1);
        if (error == CS_ERR_TRY_AGAIN) return false;
        check(error, "cpg_mcast_joined");
        under_way_.push_back(now);
        return true;
    }
    void dispatch(std::chrono::microseconds patience) {
        pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
        const timespec time{.tv_sec = 0, .tv_nsec = patience.count() * 1000};
        if (ppoll(&waiting, 1, &time, nullptr) > 0) check(cpg_dispatch(handle_, CS_DISPATCH_ALL), "cpg_dispatch");
    }

    const Load& load_;
    bool listening_;
    cpg_handle_t handle_{};
    int fd_{};
    std::deque<Clock::time_point> under_way_;
    Counted acknowledged_;
    Counted delivered_;
};

}  // namespace

int main(int argc, char** argv) {
    const Load load(argc, argv);
    const bool listening = std::string_view(argv[2]) == "listen";
    Group group(load, listening);
    if (listening) {
        group.listen();
    } else {
        group.send();
    }
    print_result(load, group.acknowledged(), group.delivered());
}
