#include "cmd/producer/record_maker.h"

#include "internal/client/partitioner.h"

namespace logstream::producer {

using client::Producer;

RecordMaker::RecordMaker(const Options& options) : options_(options) {
    for (const std::string_view header : options_.headers) {
        const std::size_t equals = header.find('=');
        given_headers_.push_back({header.substr(0, equals), header.substr(equals + 1)});
    }
}

protocol::Result<Producer::Record> RecordMaker::make(std::string_view line, std::uint64_t number,
                                                     std::uint32_t partitions) {
    protocol::Result<Producer::Record> record = options_.json ? from_json(line) : from_text(line);
    if (!record) return record;
    if (options_.null_value && record->value && record->value->empty()) record->value.reset();
    if (options_.partitioner_given) record->partition.reset();
    if (options_.partition) record->partition = options_.partition;
    if (!record->partition) record->partition = partition_of(*record, number, partitions);
    return record;
}

Producer::Record RecordMaker::from_text(std::string_view line) const {
    Producer::Record record{.key = {}, .value = line, .headers = given_headers_};
    if (options_.key) record.key = *options_.key;
    if (options_.key_separator) {
        if (const std::size_t at = line.find(*options_.key_separator); at != std::string_view::npos) {
            record.key = line.substr(0, at);
            record.value = line.substr(at + 1);
        }
    }
    return record;
}

protocol::Result<Producer::Record> RecordMaker::from_json(std::string_view line) {
    auto parsed = runtime::parse_json_record(line);
    if (!parsed) return protocol::fail(protocol::ErrorCode::kInvalid, "{}", parsed.error());
    owned_ = *std::move(parsed);
    if (!owned_.key && options_.key) owned_.key = options_.key;
    headers_ = given_headers_;
    for (const auto& [key, value] : owned_.headers) headers_.push_back({key, value});
    return Producer::Record{.key = owned_.key,
                            .value = owned_.value,
                            .partition = owned_.partition,
                            .timestamp_ms = owned_.timestamp_ms,
                            .headers = headers_};
}

std::optional<std::uint32_t> RecordMaker::partition_of(const Producer::Record& record, std::uint64_t number,
                                                       std::uint32_t partitions) {
    const auto in_turn = static_cast<std::uint32_t>((number - 1) % partitions);
    switch (options_.partitioner) {
        case Partitioner::kRandom:
            return static_cast<std::uint32_t>(random_() % partitions);
        case Partitioner::kTurn:
            return in_turn;
        case Partitioner::kKey:
            // A later run of a name must put every line to the same place.
            if (options_.producer.name.empty()) return std::nullopt;
            return record.key ? client::partition_of_key(*record.key, partitions) : in_turn;
    }
    return std::nullopt;
}

std::string RecordMaker::line_of(std::uint32_t partition, protocol::Record record) const {
    std::string line;
    if (options_.json) {
        // They are given again when the line is.
        record.headers.erase(record.headers.begin(),
                             record.headers.begin() + static_cast<std::ptrdiff_t>(given_headers_.size()));
        runtime::append_json(line, {.topic = {}, .partition = partition, .offset = {}}, record);
        return line;
    }
    if (record.key && options_.key_separator) line.append(*record.key).push_back(*options_.key_separator);
    line.append(record.value.value_or("")).push_back('\n');
    return line;
}

std::size_t RecordMaker::max_line_bytes(std::size_t record_bytes) const {
    // One byte of a line may separate key and value. In JSON a byte takes up to six characters (\u0000).
    constexpr std::size_t kJsonAround = 4096;
    return options_.json ? 6 * record_bytes + kJsonAround : record_bytes + 1;
}

}  // namespace logstream::producer
