// Says why nothing goes on: what waits without a word is taken for broken.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "internal/env/env.h"

namespace logstream::client {

// Told again and again how things stand, it warns once a wait has lasted `kSayAfter`, and again whenever the reason is
// another one, though not more often than that.
class Waiting {
public:
    static constexpr protocol::Duration kSayAfter = std::chrono::seconds(3);
    static constexpr protocol::Duration kLookEvery = std::chrono::milliseconds(500);  // how often to tell it

    explicit Waiting(env::Env& env) : env_(env) {}

    // Why it does not go on; empty: it does.
    void look(const std::string& why);

private:
    static constexpr std::size_t kMaxSaid = 16;  // reasons of one wait

    env::Env& env_;
    std::optional<protocol::TimePoint> since_;  // of the wait, or of what was said last
    std::set<std::string> said_;
};

}  // namespace logstream::client
