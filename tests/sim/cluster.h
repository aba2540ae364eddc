// A cluster of real brokers (node and storage, not models of them) in a virtual world, on virtual time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/machine.h"

namespace logstream::sim {

class Cluster {
public:
    Cluster(std::uint64_t seed, std::size_t machines, Transcript::Detail detail = Transcript::Detail::kNone,
            Transcript::Sink sink = nullptr);

    World& world() { return world_; }
    Transcript& transcript() { return transcript_; }
    Machine& operator[](std::size_t i) { return *machines_[i]; }
    std::size_t size() const { return machines_.size(); }
    void start_all();
    // From now on all questions are about these machines only, as if there were no others. At first: all.
    void look_at(std::set<std::size_t> machines) { looked_at_ = std::move(machines); }
    // Those that run, of the machines that are looked at.
    std::vector<Machine*> running();

    // The running brokers serve one and the same view, which is made of exactly them.
    bool one_view();
    bool wait_for_one_view(Duration limit = std::chrono::seconds(20)) {
        return world_.run_until([this] { return one_view(); }, limit);
    }
    Machine* leader();
    // Both ways.
    void cut(std::size_t a, std::size_t b);
    // Cuts one machine from all others.
    void isolate(std::size_t i);

    // Makes a topic and waits until every broker of the view knows it.
    protocol::StreamId make_topic(const std::string& name);
    // Deletes it and waits until every broker of the view has forgotten it.
    void delete_topic(const std::string& name);
    Machine* owner(protocol::StreamId stream);
    // Appends one record at the owner, waits for its acknowledgement by quorum (or a refusal), and remembers what was
    // acknowledged.
    protocol::Result<protocol::Offset> append(protocol::StreamId stream, const std::string& value,
                                              Duration limit = std::chrono::seconds(5));
    // Tries again while the view is changing.
    protocol::Result<protocol::Offset> append_soon(protocol::StreamId stream, const std::string& value);
    // Committed values of the stream at one machine, by offset.
    std::map<std::int64_t, std::string> read(std::size_t machine, protocol::StreamId stream);
    // value by offset, as acknowledged.
    const std::map<std::int64_t, std::string>& acknowledged() const { return acknowledged_; }

private:
    void ask_leader_until(const std::function<bool()>& done, const std::function<void(node::Node&)>& ask);
    // To the transcript, as it is sent: the messages that make a view, and those that bring orphans back.
    void say_message(Host& from, Endpoint to, const protocol::OutMessage& message);

    World world_;
    Transcript transcript_;
    std::vector<std::unique_ptr<Machine>> machines_;
    std::set<std::size_t> looked_at_;
    std::map<std::int64_t, std::string> acknowledged_;
};

}  // namespace logstream::sim
