// Where the records come from: lines of a file or of standard input, or one text again and again.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cmd/runtime/input_reader.h"

namespace logstream::producer {

class LineSource {
public:
    enum class State : std::uint8_t {
        kLine,
        kPiece,      // of a line that is longer than the limit; more of it follows
        kLastPiece,  // of such a line
        kWait,       // for more input: the handler given at construction will be called
        kEnd,
    };
    struct Next {
        State state{};
        std::string_view line;  // or a piece of it; valid until the next call
    };
    virtual ~LineSource() = default;
    virtual Next next() = 0;
    // Known to be at its end: next() gives no line any more.
    virtual bool ended() const = 0;
    // Nothing more is read. Whole lines that have been read still come (a pipe would not give them to anybody again).
    virtual void stop() = 0;
    // Why reading failed, if it did.
    virtual std::optional<std::string> failure() const { return std::nullopt; }
    // Bytes that were read and are no whole line, because `stop` cut the line off.
    virtual std::size_t cut_off_bytes() const { return 0; }
};

// A newline ends a line and is not part of it; a last line without one is a line, too. A line of more than
// `max_line_bytes` comes in pieces: memory does not grow with it.
class InputLines final : public LineSource {
public:
    InputLines(net::Loop& loop, int fd, std::size_t max_line_bytes, std::function<void()> on_more);
    Next next() override;
    bool ended() const override;
    void stop() override;
    std::optional<std::string> failure() const override { return failure_; }
    std::size_t cut_off_bytes() const override { return cut_off_bytes_; }

private:
    void on_chunk(std::string chunk, int errno_value);
    void drop_front_chunk();
    Next end_line(std::string_view line);
    Next end_of_input();

    std::size_t max_line_bytes_;
    std::function<void()> on_more_;
    std::deque<std::string> chunks_;
    std::size_t at_{};     // within the first chunk
    std::string partial_;  // a line that began in an earlier chunk
    bool partial_given_{};
    bool in_pieces_{};  // the line that partial_ is of
    std::size_t cut_off_bytes_{};
    bool ended_{};
    bool interrupted_{};
    std::optional<std::string> failure_;
    runtime::InputReader reader_;
};

class RepeatedMessage final : public LineSource {
public:
    explicit RepeatedMessage(std::string text) : text_(std::move(text)) {}
    Next next() override { return {stopped_ ? State::kEnd : State::kLine, text_}; }
    bool ended() const override { return stopped_; }
    void stop() override { stopped_ = true; }

private:
    std::string text_;
    bool stopped_{};
};

}  // namespace logstream::producer
