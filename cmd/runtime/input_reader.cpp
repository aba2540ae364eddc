#include "cmd/runtime/input_reader.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "internal/protocol/error.h"

namespace logstream::runtime {

InputReader::InputReader(net::Loop& loop, int fd, ChunkHandler on_chunk)
    : loop_(loop), fd_(fd), wake_fd_(eventfd(0, EFD_CLOEXEC)), on_chunk_(std::move(on_chunk)) {
    LS_ASSERT(wake_fd_ >= 0);
    thread_ = std::thread([this] { read_all(); });
}

InputReader::~InputReader() {
    *alive_ = false;
    end_thread();
    close(wake_fd_);
}

void InputReader::stop() {
    end_thread();
    deliver({}, ECANCELED);
}

// What is delivered may come after our end.
void InputReader::deliver(std::string chunk, int errno_value) {
    loop_.post([this, alive = alive_, chunk = std::move(chunk), errno_value]() mutable {
        if (*alive) on_chunk_(std::move(chunk), errno_value);
    });
}

void InputReader::end_thread() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    released_.notify_all();
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof one);
    if (thread_.joinable()) thread_.join();
}

void InputReader::release() {
    {
        const std::lock_guard lock(mutex_);
        --chunks_;
    }
    released_.notify_all();
}

// False when it is time to stop. Regular files are always readable.
bool InputReader::wait_readable() const {
    std::array<pollfd, 2> fds{{{fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}}};
    while (poll(fds.data(), fds.size(), -1) < 0) {
        if (errno != EINTR) return true;  // let read() say what is wrong
    }
    return fds[1].revents == 0;
}

void InputReader::read_all() {
    while (true) {
        {
            std::unique_lock lock(mutex_);
            released_.wait(lock, [this] { return stopping_ || chunks_ < kMaxChunks; });
            if (stopping_) return;
            ++chunks_;
        }
        if (!wait_readable()) return;
        std::string chunk(kChunkBytes, '\0');
        ssize_t size = 0;
        do {
            size = read(fd_, chunk.data(), chunk.size());
        } while (size < 0 && errno == EINTR);
        const int failed = size < 0 ? errno : 0;
        chunk.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
        const bool last = chunk.empty();
        deliver(std::move(chunk), failed);
        if (last) return;
    }
}

}  // namespace logstream::runtime
