#include "cmd/runtime/output_writer.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace logstream::runtime {

namespace {

// 0, or the errno of what went wrong.
int write_fully(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t size = write(fd, text.data(), text.size());
        if (size >= 0) {
            text.remove_prefix(static_cast<std::size_t>(size));
        } else if (errno == EAGAIN) {  // someone made our stdout non-blocking
            pollfd ready{fd, POLLOUT, 0};
            poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

}  // namespace

OutputWriter::OutputWriter(net::Loop& loop, int fd, FailureHandler on_failure)
    : loop_(loop), fd_(fd), on_failure_(std::move(on_failure)), thread_([this] { write_all(); }) {}

OutputWriter::~OutputWriter() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    wake_.notify_all();
    thread_.join();
    *alive_ = false;
}

void OutputWriter::write(std::string text, std::move_only_function<void()> written) {
    {
        const std::lock_guard lock(mutex_);
        waiting_bytes_ += text.size();
        pieces_.push_back({std::move(text), std::move(written)});
    }
    wake_.notify_all();
}

bool OutputWriter::has_room() const {
    const std::lock_guard lock(mutex_);
    return waiting_bytes_ < kMaxBytes;
}

void OutputWriter::write_all() {
    while (true) {
        Piece piece;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return ending_ || !pieces_.empty(); });
            if (pieces_.empty()) return;
            piece = std::move(pieces_.front());
            pieces_.pop_front();
        }
        if (const int failed = write_fully(fd_, piece.text); failed != 0) {
            loop_.post([this, alive = alive_, failed] {
                if (*alive) on_failure_(failed);
            });
            return;
        }
        {
            const std::lock_guard lock(mutex_);
            waiting_bytes_ -= piece.text.size();
        }
        if (!piece.written) continue;
        loop_.post([alive = alive_, written = std::move(piece.written)]() mutable {
            if (*alive) written();
        });
    }
}

}  // namespace logstream::runtime
