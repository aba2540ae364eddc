// Reads a file, a pipe or a terminal in a thread of its own and hands what it read to the loop.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "internal/net/loop.h"

namespace logstream::runtime {

// Reading a file or a terminal blocks, so it does not happen on the loop. At most `kMaxChunks` chunks wait to be used.
class InputReader {
public:
    static constexpr std::size_t kChunkBytes = 256u << 10;
    static constexpr int kMaxChunks = 8;

    // `errno_value` is 0 unless reading failed. An empty chunk is the end; nothing follows it. ECANCELED: `stop` was
    // called.
    using ChunkHandler = std::function<void(std::string chunk, int errno_value)>;

    // Handlers run on the loop. `fd` stays the caller's.
    InputReader(net::Loop& loop, int fd, ChunkHandler on_chunk);
    ~InputReader();
    InputReader(const InputReader&) = delete;
    InputReader& operator=(const InputReader&) = delete;

    // A chunk has been used up: another one may be read.
    void release();
    // Ends the thread even when it waits for a terminal. The end is still reported.
    void stop();

private:
    void read_all();
    void deliver(std::string chunk, int errno_value);
    void end_thread();
    bool wait_readable() const;

    net::Loop& loop_;
    int fd_;
    int wake_fd_;
    ChunkHandler on_chunk_;
    std::mutex mutex_;
    std::condition_variable released_;
    int chunks_{};
    bool stopping_{};
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // loop thread only
    std::thread thread_;
};

}  // namespace logstream::runtime
