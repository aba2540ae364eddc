// A file descriptor that the loop watches: sockets and clocks whose system calls we make ourselves. Internal to net.
#pragma once

#include <functional>
#include <memory>

#include "internal/net/handle.h"
#include "internal/net/loop.h"

namespace logstream::net {

// An open file descriptor, closed with its owner. -1 is none.
class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(other.release()) {}
    Fd& operator=(Fd&& other) noexcept;
    ~Fd();

    int get() const { return fd_; }
    bool valid() const { return fd_ >= 0; }
    int release();

private:
    int fd_ = -1;
};

// Owns the descriptor and calls back while it is readable, and while it is writable and somebody waits for that.
class PolledFd {
public:
    using Callback = std::function<void()>;
    static protocol::Result<std::unique_ptr<PolledFd>> open(Loop& loop, Fd fd, Callback readable, Callback writable);
    ~PolledFd();
    PolledFd(const PolledFd&) = delete;
    PolledFd& operator=(const PolledFd&) = delete;

    int fd() const { return fd_.get(); }
    // From now on `writable` is called whenever the kernel would take more; false ends that.
    void wait_writable(bool wanted);

private:
    PolledFd(Fd fd, Callback readable, Callback writable)
        : fd_(std::move(fd)), readable_(std::move(readable)), writable_(std::move(writable)) {}
    void on_event(int status, int events);
    void watch();

    Fd fd_;
    Callback readable_;
    Callback writable_;
    Handle<uv_poll_t> poll_;
    bool wants_writable_ = false;
};

}  // namespace logstream::net
