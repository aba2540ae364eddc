#include "cmd/runtime/start_at.h"

#include <chrono>
#include <limits>

namespace logstream::runtime {

config::Parsed<client::StartAt> parse_start(std::string_view text, std::int64_t now_ms) {
    using Kind = client::StartAt::Kind;
    if (text.starts_with('@')) {
        const auto time = config::parse_time(text.substr(1), now_ms);
        if (!time) return std::unexpected("after @ " + time.error());
        return client::StartAt{Kind::kTime, *time};
    }
    if (text == "earliest") return client::StartAt{Kind::kEarliest};
    if (text == "latest") return client::StartAt{Kind::kLatest};
    const bool tail = text.starts_with('-');
    if (tail) text.remove_prefix(1);
    const auto number = config::parse_count_between<std::uint64_t>(text, 0, std::numeric_limits<std::int64_t>::max());
    if (!number) return std::unexpected("earliest, latest, an offset, -N, or @TIME");
    return client::StartAt{tail ? Kind::kTail : Kind::kOffset, static_cast<std::int64_t>(*number)};
}

std::int64_t wall_clock_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

}  // namespace logstream::runtime
