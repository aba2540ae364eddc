// Before a run goes on with a file: is it the file that earlier runs of this name sent?
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/producer/options.h"
#include "internal/client/producer.h"

namespace logstream::producer {

// Sums up the lines of a file that the cluster says it has, and compares.
class Resumption {
public:
    Resumption(const Options& options, const client::Producer& producer);

    // The next line; its partition is set.
    void add(const client::Producer::Record& record);
    // All lines that the cluster has have been added.
    bool complete() const { return partitions_missing_ == 0; }
    // Why the file is not what was sent, if it is not: judges what was added, up to the file's end unless it is
    // complete.
    protocol::Result<void> verdict() const;
    // What it compared with is still what the cluster has.
    bool holds() const;

private:
    struct Seen {
        std::int64_t lines{};
        std::uint64_t content{};
    };
    std::string place(std::uint32_t partition) const;

    const Options& options_;
    const client::Producer& producer_;
    std::vector<client::SentBefore> sent_;  // by partition
    std::vector<Seen> seen_;
    std::size_t partitions_missing_{};
};

}  // namespace logstream::producer
