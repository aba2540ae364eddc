#include "internal/net/polled_fd.h"

#include <sys/socket.h>
#include <unistd.h>

#include <utility>

namespace logstream::net {

Fd& Fd::operator=(Fd&& other) noexcept {
    if (this != &other) {
        if (valid()) ::close(fd_);
        fd_ = other.release();
    }
    return *this;
}

Fd::~Fd() {
    if (valid()) ::close(fd_);
}

int Fd::release() { return std::exchange(fd_, -1); }

protocol::Result<std::unique_ptr<PolledFd>> PolledFd::open(Loop& loop, Fd fd, Callback readable, Callback writable) {
    std::unique_ptr<PolledFd> self(new PolledFd(std::move(fd), std::move(readable), std::move(writable)));
    auto poll = make_handle<uv_poll_t>(self.get(),
                                       [&](uv_poll_t* h) { return uv_poll_init(loop.handle(), h, self->fd_.get()); });
    if (!poll) return std::unexpected(poll.error());
    self->poll_ = std::move(*poll);
    self->watch();
    return self;
}

// The poll handle closes before the descriptor: libuv must not watch a number that the kernel may hand out again.
PolledFd::~PolledFd() { poll_.reset(); }

void PolledFd::wait_writable(bool wanted) {
    if (wanted == wants_writable_) return;
    wants_writable_ = wanted;
    watch();
}

void PolledFd::watch() {
    const int events = UV_READABLE | (wants_writable_ ? UV_WRITABLE : 0);
    uv_poll_start(poll_.get(), events, [](uv_poll_t* h, int status, int what) {
        if (auto* self = owner_of<PolledFd>(h)) self->on_event(status, what);
    });
}

void PolledFd::on_event(int status, int events) {
    if (status < 0) {
        // An error waits at the socket and libuv has stopped watching it. Taking the error clears it; go on.
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
        watch();
        return;
    }
    if ((events & UV_WRITABLE) != 0 && writable_) writable_();
    if ((events & UV_READABLE) != 0 && readable_) readable_();
}

}  // namespace logstream::net
