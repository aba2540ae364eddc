// How a line becomes a record, and a record that failed a line again.
#pragma once

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/producer/options.h"
#include "cmd/runtime/record_json.h"
#include "internal/client/producer.h"

namespace logstream::producer {

class RecordMaker {
public:
    // `options` outlives this.
    explicit RecordMaker(const Options& options);
    RecordMaker(const RecordMaker&) = delete;
    RecordMaker& operator=(const RecordMaker&) = delete;

    // What the line with this number, from 1, stands for. It points into the line and into this, until the next call.
    // kInvalid: no record, with --json.
    protocol::Result<client::Producer::Record> make(std::string_view line, std::uint64_t number,
                                                    std::uint32_t partitions);
    // The line, with its newline, that makes such a record in this partition.
    std::string line_of(std::uint32_t partition, protocol::Record record) const;
    // A line that stands for nothing: JSON may have space between its objects.
    bool is_blank(std::string_view line) const {
        return options_.json && line.find_first_not_of(" \t\r") == std::string_view::npos;
    }
    // So long may a line be that makes a record of `record_bytes`.
    std::size_t max_line_bytes(std::size_t record_bytes) const;

private:
    protocol::Result<client::Producer::Record> from_json(std::string_view line);
    client::Producer::Record from_text(std::string_view line) const;
    std::optional<std::uint32_t> partition_of(const client::Producer::Record& record, std::uint64_t number,
                                              std::uint32_t partitions);

    const Options& options_;
    std::vector<protocol::Header> given_headers_;  // of every record; what they show is in options_
    runtime::OwnedRecord owned_;
    std::vector<protocol::Header> headers_;  // of the record made last
    std::mt19937 random_{std::random_device{}()};
};

}  // namespace logstream::producer
