// Scenarios that a person reads: a text file says what is done to a cluster and what must be seen, step by step.
//
//   machines N                    brokers n0 … n(N-1), none of them started
//   start all | start WHO         WHO is n0, n1, …, leader, follower (the first that is not the leader), owner (of the
//                                 topic made last), other (the first that was in no `kill`, `power` or `isolate`)
//   kill WHO | power WHO          the process; the machine, with what was not flushed
//   leave WHO                     in order
//   isolate WHO | cut WHO WHO | one-way WHO WHO | heal
//   when "TEXT" kill|power|isolate    does it to whoever says so first, at that moment
//   topic NAME | append NAME COUNT    each record acknowledged by quorum
//   unacknowledged NAME COUNT         at the owner, none of them acknowledged
//   run 500ms
//   expect view N                 within 20 s all that run serve one view of exactly N
//   expect refusal WHO            within 20 s it takes no writes
//   expect records NAME N         within 20 s each broker that runs has N committed, the same everywhere
//   expect said "TEXT"            since the last such step, or within 20 s, somebody says so
//   expect never "TEXT"           nobody has said so
//
// Empty lines and what follows # mean nothing.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"

namespace logstream::sim {

class Scenario {
public:
    explicit Scenario(std::uint64_t seed) : seed_(seed) {}
    ~Scenario();

    // Runs the whole text. Empty when all was as expected; else what was not, with its line.
    std::string run(const std::string& text);
    // What the brokers said.
    const std::vector<std::string>& transcript() const { return lines_; }

private:
    struct Trap {
        std::string text;
        std::string what;
    };
    // An error's text, or empty.
    std::string step(const std::vector<std::string>& words);
    std::string expect(const std::vector<std::string>& words);
    std::string act(const std::string& what, std::size_t machine);
    std::string network(const std::vector<std::string>& words);
    std::string append(const std::string& topic, std::size_t count);
    void append_unacknowledged(const std::string& topic, std::size_t count);
    bool records_everywhere(const std::string& topic, std::size_t count);
    std::optional<std::size_t> who(const std::string& name);
    void heard(const std::string& line);

    std::uint64_t seed_;
    std::unique_ptr<Cluster> cluster_;
    std::map<std::string, protocol::StreamId> topics_;
    std::string last_topic_;
    std::set<std::size_t> struck_;
    std::vector<Trap> traps_;
    std::vector<std::string> lines_;
    std::size_t read_{};  // lines before it were expected
    std::size_t values_{};
};

}  // namespace logstream::sim
