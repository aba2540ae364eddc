#include "cmd/consumer/format.h"

#include <fmt/format.h>

#include <iterator>

#include "internal/config/value.h"

namespace logstream::consumer {

namespace {

constexpr std::string_view kFields = "tpoTdkvh";

char escaped(char c) {
    if (c == 'n') return '\n';
    if (c == 't') return '\t';
    return c;
}

void append_headers(std::string& out, const std::vector<protocol::Header>& headers) {
    for (std::size_t i = 0; i < headers.size(); ++i) {
        if (i > 0) out += ',';
        out.append(headers[i].key).append("=").append(headers[i].value.value_or(""));
    }
}

}  // namespace

std::optional<std::string> Formatter::check(std::string_view format) {
    for (std::size_t i = 0; i < format.size(); ++i) {
        if (format[i] == '\\') {
            ++i;
        } else if (format[i] == '%') {
            ++i;
            if (i == format.size() || (format[i] != '%' && kFields.find(format[i]) == std::string_view::npos))
                return fmt::format("--format: '%{}' is none of %t %p %o %T %d %k %v %h %%", format.substr(i, 1));
        }
    }
    return std::nullopt;
}

Formatter::Formatter(std::string_view topic, std::string_view format) : topic_(topic), value_only_(format == "%v") {
    std::string literal;
    for (std::size_t i = 0; i < format.size(); ++i) {
        const bool last = i + 1 == format.size();
        if (format[i] == '\\' && !last) {
            literal += escaped(format[++i]);
        } else if (format[i] == '%' && !last && format[i + 1] != '%') {
            pieces_.push_back({0, std::exchange(literal, {})});
            pieces_.push_back({format[++i], {}});
        } else {
            literal += format[i];
            if (format[i] == '%') ++i;
        }
    }
    pieces_.push_back({0, literal + '\n'});
}

void Formatter::append(std::string& out, const client::ConsumedRecord& consumed) const {
    const protocol::Record& record = consumed.record;
    if (value_only_) {
        out.append(record.value.value_or("")).push_back('\n');
        return;
    }
    for (const Piece& piece : pieces_) {
        switch (piece.field) {
            case 't':
                out += topic_;
                break;
            case 'p':
                fmt::format_to(std::back_inserter(out), "{}", consumed.partition);
                break;
            case 'o':
                fmt::format_to(std::back_inserter(out), "{}", consumed.offset.value);
                break;
            case 'T':
                fmt::format_to(std::back_inserter(out), "{}", record.timestamp_ms);
                break;
            case 'd':
                out += config::format_time(record.timestamp_ms);
                break;
            case 'k':
                out.append(record.key.value_or(""));
                break;
            case 'v':
                out.append(record.value.value_or(""));
                break;
            case 'h':
                append_headers(out, record.headers);
                break;
            default:
                out += piece.literal;
        }
    }
}

}  // namespace logstream::consumer
