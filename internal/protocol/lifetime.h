// Callbacks that may come when the object that asked for them is gone, or has gone on to something else.
#pragma once

#include <memory>
#include <utility>

namespace logstream::protocol {

// A member of the object that callbacks belong to. Of one thread.
class Lifetime {
public:
    // Calls `f` unless the object is gone, or has called `renew` or `end`, by then.
    template <class F>
    auto guard(F f) const {
        return [token = std::weak_ptr(token_), f = std::move(f)](auto&&... args) mutable {
            if (!token.expired()) f(std::forward<decltype(args)>(args)...);
        };
    }
    // Expires when the object is gone, or has called `renew` or `end`.
    std::weak_ptr<const void> observe() const { return token_; }

    // From now on nothing comes that was guarded before.
    void renew() { token_ = std::make_shared<char>(); }
    // Nothing comes any more.
    void end() { token_.reset(); }

private:
    std::shared_ptr<const void> token_ = std::make_shared<char>();
};

}  // namespace logstream::protocol
