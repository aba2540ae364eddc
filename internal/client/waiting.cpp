#include "internal/client/waiting.h"

namespace logstream::client {

void Waiting::look(const std::string& why) {
    if (why.empty()) {
        since_.reset();
        said_.clear();
        return;
    }
    const protocol::TimePoint now = env_.now();
    if (!since_) since_ = now;
    if (now - *since_ < kSayAfter || said_.size() >= kMaxSaid || !said_.insert(why).second) return;
    since_ = now;
    env_.log().warn("waiting: {}", why);
}

}  // namespace logstream::client
