// A cluster of real brokers (node and storage, not models of them) in a virtual world, on virtual time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "internal/node/node.h"
#include "internal/storage/fake_disk.h"
#include "tests/sim/world.h"

namespace logstream::sim {

// One machine: a disk that outlives the processes that run on it, and at most one process.
class Machine {
public:
    Machine(World& world, Endpoint address, std::uint64_t seed, node::Settings settings);
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    void start();
    // kill -9, or the power goes.
    void crash(storage::FakeDisk::Crash kind);
    // SIGTERM; the process is gone some virtual time later.
    void leave();
    bool running() const { return process_ != nullptr; }
    node::Node& node() { return process_->node; }
    Endpoint address() const { return address_; }
    // Why the process ended itself; empty while it did not.
    const std::string& fatal() const { return fatal_; }
    storage::FakeDisk& disk() { return disk_; }

private:
    struct Process {
        Host& host;
        std::unique_ptr<storage::Store> store;
        node::Node node;
        Process(Host& h, std::unique_ptr<storage::Store> s, node::Settings settings, node::FatalHandler fatal)
            : host(h), store(std::move(s)), node(h, *store, std::move(settings), std::move(fatal)) {}
    };

    World& world_;
    Endpoint address_;
    storage::FakeDisk disk_;
    node::Settings settings_;
    std::unique_ptr<Process> process_;
    // Ended processes: what they left in the world's queue still names them.
    std::vector<std::unique_ptr<Process>> graveyard_;
    std::uint64_t run_{};
    std::string fatal_;
};

class Cluster {
public:
    Cluster(std::uint64_t seed, std::size_t machines);

    World& world() { return world_; }
    Machine& operator[](std::size_t i) { return *machines_[i]; }
    std::size_t size() const { return machines_.size(); }
    void start_all();

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
    Machine* owner(protocol::StreamId stream);
    // Appends one record at the owner, waits for its acknowledgement by quorum (or a refusal), and remembers what was
    // acknowledged.
    protocol::Result<protocol::Offset> append(protocol::StreamId stream, const std::string& value,
                                              Duration limit = std::chrono::seconds(5));
    // Tries again while the view is changing; true once it is acknowledged.
    bool append_soon(protocol::StreamId stream, const std::string& value);
    // Committed values of the stream at one machine, by offset.
    std::map<std::int64_t, std::string> read(std::size_t machine, protocol::StreamId stream);
    // value by offset, as acknowledged.
    const std::map<std::int64_t, std::string>& acknowledged() const { return acknowledged_; }

private:
    World world_;
    std::vector<std::unique_ptr<Machine>> machines_;
    std::map<std::int64_t, std::string> acknowledged_;
};

}  // namespace logstream::sim
