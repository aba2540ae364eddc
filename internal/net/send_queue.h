// The bytes that wait to go out on one connection, by reference. Internal to net.
#pragma once

#include <uv.h>

#include <cstddef>
#include <deque>
#include <span>
#include <vector>

#include "internal/protocol/bytes.h"

namespace logstream::net {

class SendQueue {
public:
    void push(protocol::Bytes piece);
    bool empty() const { return pieces_.empty(); }
    std::size_t bytes() const { return bytes_; }
    // What the queue costs in memory, roughly: a queue of tiny messages must reach its limit, too.
    std::size_t cost_bytes() const;

    // The first bytes as buffers for one system call; valid until the queue changes. Empty only if the queue is.
    std::span<const uv_buf_t> gather();
    // The first `bytes` are sent.
    void consume(std::size_t bytes);
    void clear();

private:
    std::deque<protocol::Bytes> pieces_;  // none is empty; what is sent of the first is cut off
    std::size_t bytes_ = 0;
    std::vector<uv_buf_t> buffers_;
};

std::size_t total_bytes(std::span<const uv_buf_t> buffers);

}  // namespace logstream::net
