// Writes to stdout in a thread of its own, so that a slow reader of ours never stops the loop.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "internal/net/loop.h"

namespace logstream::runtime {

// Text is written in the order of the calls. The caller stops giving while `has_room` is false.
class OutputWriter {
public:
    // `errno_value` is EPIPE when nobody reads any more. Nothing is written after it.
    using FailureHandler = std::function<void(int errno_value)>;

    // The handler runs on the loop. `fd` stays the caller's.
    OutputWriter(net::Loop& loop, int fd, FailureHandler on_failure);
    // Writes what is left, unless writing has failed.
    ~OutputWriter();
    OutputWriter(const OutputWriter&) = delete;
    OutputWriter& operator=(const OutputWriter&) = delete;

    // `written` runs on the loop when the kernel has taken all of `text`; not at all after a failure.
    void write(std::string text, std::move_only_function<void()> written);
    bool has_room() const;

    static constexpr std::size_t kMaxBytes = 8u << 20;

private:
    struct Piece {
        std::string text;
        std::move_only_function<void()> written;
    };
    void write_all();

    net::Loop& loop_;
    int fd_;
    FailureHandler on_failure_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Piece> pieces_;
    std::size_t waiting_bytes_{};
    bool ending_{};
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // loop thread only
    std::thread thread_;
};

}  // namespace logstream::runtime
