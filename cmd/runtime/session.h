// A client on the real world: loop, sockets and router in one, in the order in which they live.
#pragma once

#include <memory>

#include "cmd/runtime/client_flags.h"
#include "internal/client/router.h"
#include "internal/net/uv_env.h"

namespace logstream::runtime {

// Belongs to the thread that runs the loop.
class Session {
public:
    // Resolves the brokers and opens the sockets; does not talk to anybody yet. `deadline` bounds the search for a
    // broker.
    static protocol::Result<std::unique_ptr<Session>> open(std::string_view program, const ClientFlags& flags,
                                                           protocol::Duration deadline = std::chrono::seconds(5));

    net::Loop& loop() { return loop_; }
    net::UvEnv& env() { return *env_; }
    client::Router& router() { return *router_; }
    spdlog::logger& log() { return *log_; }

    // Runs the loop until the router knows a view; its failure otherwise.
    protocol::Result<void> connect();
    // Lets what is queued on closed connections out.
    void drain(protocol::Duration limit);

private:
    Session() = default;
    void tell_view();

    std::shared_ptr<spdlog::logger> log_;
    net::Loop loop_;
    std::unique_ptr<net::UvEnv> env_;
    std::unique_ptr<client::Router> router_;
    protocol::ViewNumber told_;  // with --verbose: the last one said
};

// A logger on stderr, in colour on a terminal, that says only what a user must hear, or with `verbose` what happens.
std::shared_ptr<spdlog::logger> make_logger(std::string_view program, bool verbose);

}  // namespace logstream::runtime
