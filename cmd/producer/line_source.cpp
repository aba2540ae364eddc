#include "cmd/producer/line_source.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace logstream::producer {

InputLines::InputLines(net::Loop& loop, int fd, std::size_t max_line_bytes, std::function<void()> on_more)
    : max_line_bytes_(max_line_bytes),
      on_more_(std::move(on_more)),
      reader_(loop, fd, [this](std::string chunk, int errno_value) { on_chunk(std::move(chunk), errno_value); }) {}

void InputLines::on_chunk(std::string chunk, int errno_value) {
    if (ended_) return;
    if (errno_value == ECANCELED) {
        interrupted_ = true;
    } else if (errno_value != 0) {
        failure_ = std::strerror(errno_value);
    }
    if (chunk.empty()) {
        ended_ = true;
    } else {
        chunks_.push_back(std::move(chunk));
    }
    on_more_();
}

void InputLines::drop_front_chunk() {
    chunks_.pop_front();
    at_ = 0;
    reader_.release();
}

LineSource::Next InputLines::end_line(std::string_view line) {
    const bool was_in_pieces = std::exchange(in_pieces_, false);
    return {was_in_pieces || line.size() > max_line_bytes_ ? State::kLastPiece : State::kLine, line};
}

LineSource::Next InputLines::next() {
    if (std::exchange(partial_given_, false)) partial_.clear();
    // The chunk of the line given last is dropped only now.
    while (!chunks_.empty()) {
        const std::string& chunk = chunks_.front();
        const std::string_view rest = std::string_view(chunk).substr(at_);
        if (rest.empty()) {
            drop_front_chunk();
            continue;
        }
        const std::size_t newline = rest.find('\n');
        if (newline == std::string_view::npos) {
            partial_.append(rest);
            drop_front_chunk();
            if (partial_.size() <= max_line_bytes_) continue;
            in_pieces_ = true;
            partial_given_ = true;
            return {State::kPiece, partial_};
        }
        at_ += newline + 1;
        if (partial_.empty()) return end_line(rest.substr(0, newline));
        partial_.append(rest.substr(0, newline));
        partial_given_ = true;
        return end_line(partial_);
    }
    return ended_ ? end_of_input() : Next{State::kWait, {}};
}

bool InputLines::ended() const {
    const bool used_up = chunks_.empty() || (chunks_.size() == 1 && at_ == chunks_.front().size());
    return ended_ && used_up && (partial_.empty() || partial_given_) && !in_pieces_;
}

LineSource::Next InputLines::end_of_input() {
    // Half a line that an interrupt cut off is not one.
    if (interrupted_) cut_off_bytes_ += std::exchange(partial_, {}).size();
    if (partial_.empty() && !in_pieces_) return {State::kEnd, {}};
    partial_given_ = true;
    return end_line(partial_);
}

void InputLines::stop() { reader_.stop(); }

}  // namespace logstream::producer
