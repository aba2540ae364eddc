// P1, P2, P8 while the run goes on: what any broker takes for committed, any client was told, or any reader got, is the
// one truth; and high watermarks never fall.
#pragma once

#include <map>
#include <set>

#include "tests/sim/checkers/truth.h"
#include "tests/sim/checkers/violations.h"
#include "tests/sim/clients.h"
#include "tests/sim/machine.h"

namespace logstream::sim {

class CommittedChecker {
public:
    explicit CommittedChecker(Violations& violations) : violations_(violations) {}

    // A process has started: its high watermarks are followed from now on.
    void attach(Machine& machine);
    // What came from a log that is not in memory becomes known a little later; what is not known in the end is broken.
    void on_delivery(const std::string& reader, const ConsumerClient::Delivery& delivery, bool group);
    void on_report(const Sent& sent);
    // The logs have been read, and the truth is complete.
    void at_end();
    // So is what a reader, or the members of a group together, got of a stream: by offset.
    void check_complete(const std::string& audience, const LogKey& log, const std::vector<bool>& got);
    // Old records are removed: a reader that is slow leaves them out.
    void expect_retention(bool on) { retention_ = on; }

    Truth& truth() { return truth_; }
    std::uint64_t records_read() const { return records_read_; }

private:
    void advanced(Machine& machine, node::Stream& stream);
    void compare(Machine& machine, StreamId stream, const storage::Batches& batches, Offset from, Offset to);
    void compare_delivery(const std::string& reader, const ConsumerClient::Delivery& delivery);
    void read_from_disk(Machine& machine, StreamId stream, Offset from, Offset to);
    bool is_unread(const LogKey& log, Offset offset) const;

    Violations& violations_;
    Truth truth_;
    std::map<std::pair<std::size_t, StreamId>, Offset> high_watermarks_;  // of the running processes
    std::uint64_t records_read_{};
    bool retention_{};
    // Committed, and not read since the disk failed or the process ended; retention may have removed them.
    std::map<LogKey, std::vector<std::pair<Offset, Offset>>> unread_;
    std::vector<std::pair<std::string, ConsumerClient::Delivery>> open_deliveries_;
    std::vector<Sent> open_reports_;
};

}  // namespace logstream::sim
