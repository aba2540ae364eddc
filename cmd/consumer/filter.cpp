#include "cmd/consumer/filter.h"

#include <utility>

namespace logstream::consumer {

config::Parsed<void> Filter::keep_matching(const std::string& pattern) {
    re2::RE2::Options options(re2::RE2::Latin1);  // bytes: values may be anything
    options.set_log_errors(false);
    auto compiled = std::make_shared<const re2::RE2>(pattern, options);
    if (!compiled->ok()) return std::unexpected(compiled->error());
    pattern_ = std::move(compiled);
    return {};
}

bool Filter::passes(const protocol::Record& record) const {
    if (key_ && record.key != *key_) return false;
    if (!pattern_) return true;
    return record.value &&
           re2::RE2::PartialMatch(re2::StringPiece(record.value->data(), record.value->size()), *pattern_);
}

}  // namespace logstream::consumer
