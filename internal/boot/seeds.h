// What the names of seeds stand for, at the start and as it changes.
#pragma once

#include <functional>
#include <vector>

#include "internal/boot/own_address.h"
#include "internal/net/resolver.h"
#include "internal/net/uv_env.h"

namespace logstream::boot {

// One name that stands for something is enough. Addresses of another family than this broker's are of no use to it.
class Seeds {
public:
    Seeds(net::Loop& loop, net::UvEnv& env, const config::Config& config, const OwnAddress& own);
    ~Seeds();
    Seeds(const Seeds&) = delete;
    Seeds& operator=(const Seeds&) = delete;

    // Runs the loop for a moment, in which names are looked up as a rule. None known then: see `pending`.
    std::vector<env::Endpoint> first();
    // Seeds are named, and none stands for an address yet.
    bool pending() const { return some_ && found_.endpoints.empty(); }
    // From now on: what they stand for whenever that has changed.
    void follow(std::function<void(std::vector<env::Endpoint>)> changed);

private:
    void look_again();
    void on_answer(net::Resolved found);
    void say_trouble();

    net::UvEnv& env_;
    net::Loop& loop_;
    const bool some_;
    const std::uint32_t own_scope_;
    net::Resolved found_;
    bool following_ = false;
    std::string said_;
    std::function<void(std::vector<env::Endpoint>)> changed_;
    env::TimerId timer_;
    net::Resolver resolver_;
};

}  // namespace logstream::boot
