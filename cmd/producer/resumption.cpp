#include "cmd/producer/resumption.h"

namespace logstream::producer {

using protocol::ErrorCode;

Resumption::Resumption(const Options& options, const client::Producer& producer)
    : options_(options), producer_(producer), seen_(producer.partitions()) {
    for (std::uint32_t partition = 0; partition < producer.partitions(); ++partition) {
        sent_.push_back(producer.sent_before(partition));
        partitions_missing_ += sent_.back().count() > 0 ? 1 : 0;
    }
}

void Resumption::add(const client::Producer::Record& record) {
    const client::SentBefore& sent = sent_[*record.partition];
    Seen& seen = seen_[*record.partition];
    const std::int64_t number = seen.lines++;
    if (sent.has(number))
        seen.content += protocol::content_of(protocol::wire_sequence(sent.first + number), record.key, record.value);
    if (seen.lines == sent.count()) --partitions_missing_;
}

std::string Resumption::place(std::uint32_t partition) const {
    return producer_.partitions() == 1 ? "" : fmt::format(" for partition {}", partition);
}

protocol::Result<void> Resumption::verdict() const {
    constexpr std::string_view kIfNew =
        "If the file is new (rotated), send it under another --name, or once without --resume: that sends all of it, "
        "and later runs continue from there";
    const std::string& name = options_.producer.name;
    for (std::uint32_t partition = 0; partition < sent_.size(); ++partition) {
        const client::SentBefore& sent = sent_[partition];
        const Seen& seen = seen_[partition];
        if (seen.lines < sent.count())
            return protocol::fail(
                ErrorCode::kInvalid,
                "nothing was sent: {} has {} lines{}, and the cluster has {} from '{}': it is not the "
                "file sent under that name. {}",
                options_.file, seen.lines, place(partition), sent.count(), name, kIfNew);
        if (sent.count() == 0 || options_.same_file) continue;
        if (!sent.content)
            return protocol::fail(ErrorCode::kInvalid,
                                  "nothing was sent: it is not known whether {} is the file that '{}' sent{}: an older "
                                  "version stored it, or compaction removed some of it. If it is, use --same-file. {}",
                                  options_.file, name, place(partition), kIfNew);
        if (sent.content != seen.content)
            return protocol::fail(
                ErrorCode::kInvalid,
                "nothing was sent: the first {} lines of {}{} are not those that the cluster has from "
                "'{}'. {}. If it is the same file with changes, --same-file skips that many lines",
                sent.count(), options_.file, place(partition), name, kIfNew);
    }
    return {};
}

bool Resumption::holds() const {
    for (std::uint32_t partition = 0; partition < sent_.size(); ++partition)
        if (sent_[partition] != producer_.sent_before(partition)) return false;
    return true;
}

}  // namespace logstream::producer
