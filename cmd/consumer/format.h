// How `consumer` writes a record.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "internal/client/partition_reader.h"

namespace logstream::consumer {

// A format compiled once: literal text and fields in turn.
class Formatter {
public:
    // `format` passed `check`.
    Formatter(std::string_view topic, std::string_view format);
    // What is wrong with a format, or nullopt.
    static std::optional<std::string> check(std::string_view format);

    // Appends the record and a newline.
    void append(std::string& out, const client::ConsumedRecord& record) const;

private:
    struct Piece {
        char field{};  // 0: literal
        std::string literal;
    };
    std::string topic_;
    std::vector<Piece> pieces_;
    bool value_only_{};
};

}  // namespace logstream::consumer
