// Reads every log from every broker and holds them, the reports and the deliveries against the simulator's checkers.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/chaos/record.h"
#include "tests/sim/checkers/committed.h"
#include "tests/sim/checkers/final_logs.h"

namespace logstream::chaos {

class Judge {
public:
    // `brokers`: all that must be members in the end. The session's router asks for the topics 0 to `topics` - 1.
    // `limit`: how long the cluster and the readers may take.
    Judge(runtime::Session& session, std::vector<env::Endpoint> brokers, std::uint32_t topics, Duration limit)
        : session_(session), brokers_(std::move(brokers)), topics_(topics), limit_(limit) {}

    // The producers are idle, the readers go on meanwhile.
    void judge(const Record& record);

    sim::Violations& violations() { return violations_; }
    std::uint64_t standing() const { return logs_.standing().size(); }
    std::uint64_t orphans() const { return logs_.orphans(); }
    std::size_t streams() const { return ends_.size(); }

private:
    using Ends = std::map<StreamId, Offset>;

    bool wait_until_settled();
    // The end of each stream, if all brokers are one view and tell the same; else why not.
    protocol::Result<Ends> ask_ends();
    protocol::Result<std::string> ask_view(env::Endpoint broker);
    void read_logs();
    std::optional<sim::ReplicaLogs::Log> read_log(env::Endpoint broker, StreamId stream, Offset end);
    protocol::Result<Offset> read_some(env::Endpoint broker, StreamId stream, Offset from, Offset end,
                                       sim::ReplicaLogs::Log& log);
    void wait_for_readers(const Record& record);
    void judge_deliveries(const Record& record);
    // Lets the loop run, and with it the clients.
    void pass(Duration time);

    runtime::Session& session_;
    std::vector<env::Endpoint> brokers_;
    std::uint32_t topics_;
    Duration limit_;
    TimePoint now_{};
    sim::Violations violations_{now_};
    sim::CommittedChecker committed_{violations_};
    sim::ReplicaLogs logs_{violations_, committed_.truth()};
    sim::ClusterId cluster_;
    std::map<protocol::TopicId, std::uint32_t> numbers_;  // of the topics
    Ends ends_;
};

}  // namespace logstream::chaos
