// Which records `consumer` shows.
#pragma once

#include <re2/re2.h>

#include <memory>
#include <optional>
#include <string>

#include "internal/config/value.h"
#include "internal/protocol/record_batch.h"

namespace logstream::consumer {

// All of them, until told otherwise.
class Filter {
public:
    // Only records whose value matches somewhere, as RE2 reads it; a null value never does. Error: what is wrong with
    // the pattern.
    config::Parsed<void> keep_matching(const std::string& pattern);
    // Only records with this key.
    void keep_key(std::string key) { key_ = std::move(key); }

    bool passes(const protocol::Record& record) const;

private:
    std::shared_ptr<const re2::RE2> pattern_;
    std::optional<std::string> key_;
};

}  // namespace logstream::consumer
