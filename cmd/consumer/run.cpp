#include "cmd/consumer/run.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "cmd/runtime/record_json.h"
#include "cmd/runtime/status_line.h"
#include "cmd/runtime/topic_hint.h"
#include "internal/process/standard_streams.h"

namespace logstream::consumer {

namespace {
constexpr std::size_t kFlushBytes = 256u << 10;
}

Run::Run(Options options, runtime::Session& session)
    : options_(std::move(options)),
      session_(session),
      analytics_(options_.window),
      writer_(session.loop(), STDOUT_FILENO, [this](int errno_value) { on_output_failure(errno_value); }),
      sources_(
          session, options_.topics, options_.consumer, options_.format,
          [this](Source& source, const client::ConsumedRecord& record) { return on_record(source, record); },
          [this](protocol::Result<void> result) { on_finish(std::move(result)); }) {
    for (const int signal : {SIGINT, SIGTERM}) {
        session_.loop().on_signal(signal, [this](int) {
            if (ending_) _exit(runtime::kFailed);  // the second one: a reader of ours may have stopped for good
            begin_end();
        });
    }
    // A terminal that closes may send it twice: it never counts as the second signal.
    if (!process::ignores(SIGHUP)) session_.loop().on_signal(SIGHUP, [this](int) { begin_end(); });
}

Run::~Run() {
    session_.env().cancel_timer(flush_timer_);
    session_.env().cancel_timer(analytics_timer_);
    session_.env().cancel_timer(progress_timer_);
}

int Run::execute() {
    if (options_.count == 0) return runtime::kDone;
    session_.router().start();
    sources_.start();
    if (options_.analytics) print_analytics();
    // What goes to the same terminal shows itself.
    if (runtime::has_status_line() && isatty(STDOUT_FILENO) != 1) show_progress();
    session_.loop().run();
    runtime::clear_status();
    if (error_) return runtime::complain("consumer", with_hint(*error_));
    return runtime::kDone;
}

protocol::Error Run::with_hint(const protocol::Error& error) const {
    for (const std::string& topic : options_.topics)
        if (!is_pattern(topic) && session_.router().view().find_topic(topic) == nullptr)
            return runtime::with_topic_hint(error, session_, topic);
    return error;
}

bool Run::on_record(Source& source, const client::ConsumedRecord& record) {
    if (ending_) return false;
    if (!options_.filter.passes(record.record)) {
        pass_over(source, record);
        return writer_.has_room();
    }
    ++records_;
    if (options_.analytics) {
        analytics_.add(session_.loop().now(), sources_.several() ? source.topic : std::string_view(), record);
    } else if (options_.json) {
        runtime::append_json(buffer_, runtime::RecordPlace{source.topic, record.partition, record.offset},
                             record.record);
    } else {
        source.formatter.append(buffer_, record);
    }
    pass_over(source, record);
    if (options_.count && records_ >= *options_.count) {
        begin_end();
        return false;
    }
    return writer_.has_room();
}

// What stands before it is written with the next flush.
void Run::pass_over(Source& source, const client::ConsumedRecord& record) {
    buffered_[{&source, record.partition}] = record.offset + 1;
    if (buffer_.size() >= kFlushBytes) {
        flush();
    } else if (!flush_scheduled_) {
        flush_scheduled_ = true;
        flush_timer_ = session_.env().set_timer({}, [this] { flush(); });
    }
}

void Run::flush() {
    flush_scheduled_ = false;
    session_.env().cancel_timer(flush_timer_);
    if (buffered_.empty() && buffer_.empty()) return;
    ++pieces_out_;
    bytes_ += buffer_.size();
    writer_.write(std::exchange(buffer_, {}),
                  [this, progress = std::exchange(buffered_, {})] { on_written(progress); });
}

void Run::on_written(const Progress& progress) {
    --pieces_out_;
    sources_.excuse();
    for (const auto& [place, next] : progress) place.first->consumer->written(place.second, next);
    check_end();
    if (!ending_ && writer_.has_room()) sources_.resume();
}

// Nobody reads any more (`consumer … | head`): that is no failure of ours.
void Run::on_output_failure(int errno_value) {
    output_closed_ = true;
    if (errno_value != EPIPE && !error_)
        error_ = {protocol::ErrorCode::kDisk,
                  fmt::format("can't write to standard output: {}", std::strerror(errno_value))};
    begin_end();
}

void Run::on_finish(protocol::Result<void> result) {
    if (!result) error_ = result.error();
    begin_end();
}

void Run::show_progress() {
    progress_timer_ = session_.env().set_timer(runtime::kStatusEvery, [this] {
        if (ending_) return;
        runtime::show_status(fmt::format("{}, {} read", runtime::count_of(records_, "record", "records"),
                                         runtime::bytes_text(static_cast<double>(bytes_))));
        show_progress();
    });
}

void Run::print_analytics() {
    analytics_timer_ = session_.env().set_timer(options_.interval, [this] {
        buffer_ += analytics_.line(session_.loop().now());
        ++pieces_out_;
        writer_.write(std::exchange(buffer_, {}), [this] {
            --pieces_out_;
            check_end();
        });
        if (!ending_) print_analytics();
    });
}

// What was read, and what is left: on a terminal, or with --verbose.
void Run::tell_end() {
    const std::string text =
        fmt::format("{} read, lag {}", runtime::count_of(records_, "record", "records"), sources_.lag());
    if (runtime::has_status_line() && isatty(STDOUT_FILENO) != 1)
        session_.say(text);
    else
        session_.log().info("{}", text);
}

void Run::begin_end() {
    if (!std::exchange(ending_, true)) {
        if (options_.analytics) buffer_ += analytics_.line(session_.loop().now());
        tell_end();
    }
    flush();
    check_end();
}

void Run::check_end() {
    if (!ending_ || stopping_ || (pieces_out_ > 0 && !output_closed_)) return;
    stopping_ = true;
    sources_.stop([this] { session_.loop().stop(); });
}

}  // namespace logstream::consumer
