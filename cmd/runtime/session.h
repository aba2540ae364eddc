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
    // Opens the sockets; does not talk to anybody yet. `deadline` bounds the search for a broker, and for what the
    // names of brokers stand for: one that stands for something is enough.
    static protocol::Result<std::unique_ptr<Session>> open(std::string_view program, const ClientFlags& given,
                                                           protocol::Duration deadline = std::chrono::seconds(5));

    // As they were completed for this session.
    const ClientFlags& flags() const { return flags_; }
    net::Loop& loop() { return loop_; }
    net::UvEnv& env() { return *env_; }
    client::Router& router() { return *router_; }
    spdlog::logger& log() { return *log_; }

    // Runs the loop until the router knows a view, that of a quorum if there is one in reach; its failure otherwise.
    // Says so when there is none: then what brokers tell may be history.
    protocol::Result<void> connect();
    // Runs the loop until `done`, and says what it waits for when that takes long.
    void wait(const std::function<bool()>& done);
    // A line for the user on stderr that is no warning.
    void say(const std::string& line);
    // Lets what is queued on closed connections out.
    void drain(protocol::Duration limit);

private:
    Session() = default;
    void tell_view();
    void tell_names(const net::Resolved& brokers);

    ClientFlags flags_;
    std::shared_ptr<spdlog::logger> log_;
    net::Loop loop_;
    std::unique_ptr<net::UvEnv> env_;
    std::unique_ptr<client::Router> router_;
    std::unique_ptr<net::Resolver> resolver_;
    protocol::ViewNumber told_;  // with --verbose: the last one said
    std::string told_names_;     // the last trouble with names
};

// A logger on stderr, in colour on a terminal, that says only what a user must hear, or with `verbose` what happens.
std::shared_ptr<spdlog::logger> make_logger(std::string_view program, bool verbose);

}  // namespace logstream::runtime
