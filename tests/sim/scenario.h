// Scenarios that a person reads: a text file says what is done to a cluster and what must be seen, step by step.
//
//   machines N                    brokers n0 … n(N-1), none of them started
//   start all | start WHO…        WHO is n0, n1, …; leader; owner (of the topic made last); next-owner (who owns it
//                                 without that one); a name given by `call`; and of those that run, have no name and
//                                 were in no `kill`, `isolate`, …: other (the first), follower (the first that is not
//                                 the leader), heir (the same, with the greatest id: whom all elect without the leader)
//   call WHO NAME                 from now on NAME is this machine, whatever becomes of it
//   kill WHO… | power WHO…        the processes; the machines, with what was not flushed
//   restart WHO…                  killed, and started at once
//   leave WHO…                    in order
//   suspend WHO MS                it stands still, and wakes believing that no time has passed
//   pause WHO MS                  it stands still, and its clock goes on
//   new-disk WHO                  an empty one; not while it runs
//   copy-disk WHO OF-WHOM         the first, which does not run, gets a copy of the other one's data
//   keep-disk WHO | restore-disk WHO   a backup of its data is made; is put back, not while it runs
//   same-machine WHO OF-WHOM      … and takes itself for the other one's machine
//   moved WHO | new-identity WHO | at-home WHO    how it is started from now on: with that flag; with none
//   slow-disk WHO MS              everything that the disk does takes so much longer
//   slow-groups WHO MS            what brings records to the disk takes so much longer
//   isolate WHO…                  cuts these from all others, not from each other
//   cut WHO WHO | one-way WHO WHO | heal     one WHO may be `others` (all but the other one) or `clients`
//   when "TEXT" STEP              does the step (one of those above, of which WHO… may be left out) at the moment when
//   when 3rd "TEXT" STEP          TEXT is said for the first or third time; WHO may be `it`, who says so, or `peer`, to
//                                 whom it sends a message then
//   among n0 n1 … | among all     what follows is about these machines, as if there were no others
//   topic NAME | topic NAME of WHO     the latter owns it
//   delete NAME                   the topic, by the leader
//   append NAME COUNT             at the owner, each record acknowledged by quorum
//   append NAME COUNT within MS   all of them in that time
//   unacknowledged NAME COUNT     at the owner, none of them acknowledged
//   send NAME COUNT               by a client, which goes on trying until they are acknowledged
//   read NAME                     by a client of its own, which follows the topic from its beginning
//   stranger                      somebody who is no broker tells each but the leader, as if it were the leader, that
//                                 the view went on without it
//   run MS
//   expect view N [within MS]     within 20 s, or so many ms, all that run serve one view of exactly N
//   expect refusal WHO            within 20 s it takes no writes
//   expect steady MS              no broker begins to serve another view in that time
//   expect no-acceptance WHO NAME at this very moment it takes no record, not even one that nobody else has to have
//   expect records NAME N         within 20 s each broker that runs has N committed, the same everywhere, with all
//                                 that were acknowledged to `append`, and nothing else where some were before
//   expect gone NAME              within 20 s no broker that runs knows the topic or holds anything of it
//   expect sent NAME N            within 20 s N records of the clients are acknowledged, and no more are
//   expect read NAME N [within MS]    within 20 s, or that time, the client that reads has N records
//   expect said "TEXT"            since the last such step, or within 20 s, somebody says so
//   expect never|once "TEXT"      nobody has said so; just one has, and once
//
// Brokers say what they log, and each STATE_EXCHANGE, VIEW_INSTALL, VIEW_CHOSEN and ORPHAN that they send:
// "VIEW_INSTALL request to=n1", "… answer …", "… refusal …". A * in TEXT stands for anything. A `when` that never
// happened is an error. Empty lines and what follows # mean nothing.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"
#include "tests/sim/scenario_client.h"
#include "tests/sim/stranger.h"

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
    using Words = std::vector<std::string>;
    struct Trap {
        std::string text;
        std::size_t left;  // how often it is to be said yet
        Words step;
    };
    struct Topic {
        std::string name{};  // as the brokers know it
        protocol::StreamId stream{};
        std::map<std::int64_t, std::string> acknowledged{};  // value by offset
        std::map<std::int64_t, std::string> committed{};     // as `expect records` saw it last
        Endpoint client_address{};
        std::unique_ptr<ScenarioClient> client{};
        Endpoint reader_address{};
        std::unique_ptr<ScenarioReader> reader{};
    };
    // Each returns an error's text, or empty.
    std::string step(const Words& words);
    std::string set_trap(const Words& words);
    bool takes_a_record(Machine& machine, protocol::StreamId stream);
    std::string speak_for_the_leader();
    std::string expect(const Words& words);
    std::string deed(const Words& words);
    std::string copy(const Words& words);
    std::string act(const std::string& what, Machine& machine);
    std::string network(const Words& words);
    std::string make_topic(const Words& words);
    std::string append(const Words& words);
    std::string send(const std::string& name, std::size_t count);

    void isolate(const std::vector<std::size_t>& side);
    bool view_of(std::size_t members);
    bool records_everywhere(Topic& topic, std::size_t count);
    Topic& topic(const std::string& name) { return topics_.at(name); }
    std::optional<std::size_t> who(const std::string& name);
    std::optional<std::size_t> next_owner();
    // The addresses of who is called so, seen from an `other`.
    std::vector<Endpoint> ends(const std::string& name, const std::string& other);
    void heard(const std::string& line);

    std::uint64_t seed_;
    std::unique_ptr<Cluster> cluster_;
    std::unique_ptr<Stranger> stranger_;
    std::map<std::string, Topic> topics_;
    std::string last_topic_;
    std::map<std::string, std::size_t> names_;
    std::set<std::size_t> struck_;
    std::map<std::size_t, storage::FakeDisk::Image> images_;  // backups, by machine
    std::vector<Trap> traps_;
    std::string trouble_;  // of a trap's step
    std::vector<std::string> lines_;
    std::size_t read_{};  // lines before it were expected
    std::size_t values_{};
};

}  // namespace logstream::sim
