// What would stand in the log again and again: said at once when it is news, and the same only after a while.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "internal/protocol/time.h"

namespace logstream::node {

class Said {
public:
    explicit Said(protocol::Duration every = std::chrono::seconds(10)) : every_(every) {}

    // Whether to say `text` now; then it counts as said.
    bool is_due(std::string_view text, protocol::TimePoint now) {
        if (text == text_ && now - at_ <= every_) return false;
        text_ = text;
        at_ = now;
        return true;
    }
    void forget() { text_.reset(); }

private:
    protocol::Duration every_;
    std::optional<std::string> text_;
    protocol::TimePoint at_;
};

}  // namespace logstream::node
