#include "cmd/producer/run.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "cmd/runtime/status_line.h"
#include "internal/client/topic_name.h"
#include "internal/process/standard_streams.h"

namespace logstream::producer {

namespace {
// Lines taken in one turn of the loop, so that sockets and timers get theirs.
constexpr int kLinesPerTurn = 2000;
constexpr protocol::Duration kSettleLimit = std::chrono::seconds(5);
}  // namespace

Run::Run(Options options, runtime::Session& session)
    : options_(std::move(options)),
      maker_(options_),
      session_(session),
      producer_(session.router(), options_.producer, [this](const client::BatchReport& report) { on_report(report); }) {
    producer_.on_progress([this] { phase_ == Phase::kFeeding ? feed() : check_done(); });
    for (const int signal : {SIGINT, SIGTERM})
        session_.loop().on_signal(signal, [this](int number) { on_signal(number); });
    // A terminal that closes may send it twice, by itself and by its shell: it never counts as the second Ctrl-C.
    if (!process::ignores(SIGHUP))
        session_.loop().on_signal(SIGHUP, [this](int number) {
            if (signals_ == 0) on_signal(number);
        });
}

Run::~Run() {
    session_.env().cancel_timer(feed_timer_);
    session_.env().cancel_timer(progress_timer_);
    if (source_) source_.reset();
    if (input_fd_ > STDIN_FILENO) close(input_fd_);
}

int Run::execute() {
    if (!open_source()) return runtime::complain("producer", *fatal_);
    session_.router().start();
    const auto on_start = [this](const protocol::Result<void>& ready) { on_ready(ready); };
    options_.producer.resumes ? producer_.look(on_start) : producer_.start(on_start);
    if (phase_ != Phase::kDone) session_.loop().run();
    if (lines_ > 0 || !fatal_) finish_failed_file();
    if (fatal_) {
        runtime::complain("producer", *fatal_);
        if (lines_ == 0) return runtime::kFailed;
    }
    print_summary();
    return failed_ > 0 || fatal_ ? runtime::kFailed : runtime::kDone;
}

bool Run::open_source() {
    input_fd_ = STDIN_FILENO;
    if (!options_.file.empty()) {
        input_fd_ = open(options_.file.c_str(), O_RDONLY | O_CLOEXEC);
        if (input_fd_ < 0)
            fatal_ = {protocol::ErrorCode::kConfig,
                      fmt::format("can't read {}: {}", options_.file, std::strerror(errno))};
        struct stat what{};
        const bool regular = !fatal_ && fstat(input_fd_, &what) == 0 && S_ISREG(what.st_mode);
        if (regular) file_bytes_ = static_cast<std::uint64_t>(what.st_size);
        if (!fatal_ && options_.producer.resumes && !regular)
            fatal_ = {
                protocol::ErrorCode::kConfig,
                fmt::format(
                    "--resume reads the file twice, and {} is not a regular file: copy it to a regular file first",
                    options_.file)};
    }
    if (!fatal_ && !options_.failed.empty()) {
        auto file = FailedFile::open(options_.failed);
        if (file)
            failed_file_ = *std::move(file);
        else
            fatal_ = file.error();
    }
    return !fatal_;
}

void Run::finish_failed_file() {
    if (!failed_file_) return;
    if (auto finished = failed_file_->finish(); !finished && !fatal_) fatal_ = finished.error();
}

void Run::end_with(protocol::Error error) {
    fatal_ = std::move(error);
    phase_ = Phase::kDone;
    session_.loop().stop();
}

void Run::on_ready(const protocol::Result<void>& ready) {
    if (!ready) return end_with(ready.error());
    if (options_.partition)
        if (auto valid = check_partition(*options_.partition); !valid) return end_with(valid.error());
    if (session_.router().view().was_created(options_.producer.topic) && !std::exchange(told_created_, true))
        session_.say(fmt::format("created topic '{}'", options_.producer.topic));
    if (signals_ > 0) return end_of_input();
    options_.producer.resumes ? begin_comparing() : begin_feeding();
}

void Run::open_lines(std::function<void()> on_more) {
    source_.reset();
    if (options_.producer.resumes) lseek(input_fd_, 0, SEEK_SET);  // a regular file
    source_ = std::make_unique<InputLines>(session_.loop(), input_fd_,
                                           maker_.max_line_bytes(producer_.max_record_bytes()), std::move(on_more));
}

// Nothing is taken over, and nothing sent, before all that the cluster has was compared with the file.
void Run::begin_comparing() {
    phase_ = Phase::kComparing;
    resumption_.emplace(options_, producer_);
    lines_ = 0;
    open_lines([this] { compare(); });
    compare();
}

void Run::compare() {
    if (phase_ != Phase::kComparing) return;
    for (int turn = 0; !resumption_->complete(); ++turn) {
        if (turn == kLinesPerTurn) {
            feed_timer_ = session_.env().set_timer({}, [this] { compare(); });
            return;
        }
        const LineSource::Next next = source_->next();
        if (next.state == LineSource::State::kWait) return;
        // A line over the limit was never sent, nor anything behind it.
        if (next.state != LineSource::State::kLine) break;
        ++lines_;
        // What makes no record was not sent.
        if (maker_.is_blank(next.line)) continue;
        if (const auto record = record_of(next.line)) resumption_->add(*record);
    }
    // Not from within the source's own call: it is opened again.
    feed_timer_ = session_.env().set_timer({}, [this] { end_comparing(); });
}

void Run::end_comparing() {
    if (phase_ != Phase::kComparing) return;
    if (const auto failure = source_->failure())
        return end_with({protocol::ErrorCode::kConfig, fmt::format("reading stopped: {}", *failure)});
    lines_ = 0;
    if (const auto verdict = resumption_->verdict(); !verdict) return end_with(verdict.error());
    if (taken_over_) return begin_feeding();
    phase_ = Phase::kStarting;
    producer_.take_over([this](const protocol::Result<void>& taken) {
        if (!taken) return end_with(taken.error());
        taken_over_ = true;
        // An older instance that still sent has added to what is there.
        resumption_->holds() ? begin_feeding() : begin_comparing();
    });
}

void Run::begin_feeding() {
    lines_of_partition_.resize(producer_.partitions());
    phase_ = Phase::kFeeding;
    first_send_ = last_ack_ = pace_start_ = session_.loop().now();
    if (options_.message) {
        source_ = std::make_unique<RepeatedMessage>(*options_.message);
    } else {
        open_lines([this] { feed(); });
    }
    const bool typed = source_ && !options_.message && isatty(input_fd_) == 1;
    if (typed)
        session_.say("reading lines from the terminal; end with Ctrl-D");
    else if (runtime::has_status_line())
        show_progress();
    feed();
}

void Run::show_progress() {
    progress_timer_ = session_.env().set_timer(runtime::kStatusEvery, [this] {
        if (phase_ == Phase::kDone) return;
        const double seconds = std::chrono::duration<double>(session_.loop().now() - first_send_).count();
        const auto bytes = static_cast<double>(sent_bytes_);
        std::string text =
            fmt::format("{} acknowledged; {} sent, {}/s", runtime::count_of(acknowledged_, "record", "records"),
                        runtime::bytes_text(bytes), runtime::bytes_text(seconds > 0 ? bytes / seconds : 0));
        if (file_bytes_ > 0 && read_bytes_ > 0) {
            const double done = std::min(1.0, static_cast<double>(read_bytes_) / static_cast<double>(file_bytes_));
            text += fmt::format("; {:.0f} %, {} left", done * 100,
                                runtime::time_text(std::chrono::seconds(
                                    static_cast<std::int64_t>(std::min(1e6, seconds * (1 - done) / done)))));
        }
        runtime::show_status(text);
        show_progress();
    });
}

void Run::schedule_feed(protocol::Duration after) {
    session_.env().cancel_timer(feed_timer_);
    feed_timer_ = session_.env().set_timer(after, [this] { feed(); });
}

void Run::feed() {
    if (phase_ != Phase::kFeeding) return;
    std::uint64_t allowed = allowance();
    const auto has_all = [this] { return options_.count && lines_ >= *options_.count; };
    for (int turn = 0; allowed > 0 && producer_.has_room() && !has_all(); ++turn) {
        if (turn == kLinesPerTurn) return schedule_feed({});
        const LineSource::Next next = source_->next();
        if (next.state == LineSource::State::kWait) return;
        if (next.state == LineSource::State::kEnd) break;
        read_bytes_ += next.line.size() + 1;
        if (next.state != LineSource::State::kLine) {
            fail_piece(next);
            if (phase_ != Phase::kFeeding) return;
            continue;
        }
        ++lines_;
        if (maker_.is_blank(next.line) || !send_line(next.line)) continue;
        if (phase_ != Phase::kFeeding) return;
        ++paced_;
        --allowed;
    }
    // Whatever the pace: behind the last line there is nothing to wait for.
    if (source_->ended()) check_all_skipped();
    if (source_->ended() || has_all()) return end_of_input();
    // Without room the producer's progress goes on; with a pace its timer does, which is set here.
    if (producer_.has_room() && allowance() > 0) schedule_feed({});
}

std::uint64_t Run::allowance() {
    if (!options_.rate) return std::numeric_limits<std::uint64_t>::max();
    const protocol::TimePoint now = session_.loop().now();
    const double rate = *options_.rate;
    double due = std::chrono::duration<double>(now - pace_start_).count() * rate + 1;
    // After a time without progress the pace begins anew: what was missed is not made up for in one burst.
    if (due - static_cast<double>(paced_) > rate + 1) {
        pace_start_ = now;
        paced_ = 0;
        due = 1;
    }
    if (due >= static_cast<double>(paced_) + 1) return static_cast<std::uint64_t>(due) - paced_;
    const double wait_s = std::max(0.0005, (static_cast<double>(paced_) + 1 - due) / rate);
    schedule_feed(std::chrono::nanoseconds(static_cast<std::int64_t>(wait_s * 1e9)));
    return 0;
}

protocol::Result<void> Run::check_partition(std::uint32_t partition) const {
    return client::check_partition(options_.producer.topic, producer_.partitions(), partition);
}

protocol::Result<client::Producer::Record> Run::record_of(std::string_view line) {
    auto record = maker_.make(line, lines_, producer_.partitions());
    if (record && record->partition)
        if (auto valid = check_partition(*record->partition); !valid) return std::unexpected(valid.error());
    return record;
}

// False when the line was skipped.
bool Run::send_line(std::string_view line) {
    const auto record = record_of(line);
    if (!record) {
        refuse_line(line, record.error());
        return true;
    }
    if (options_.producer.resumes && skip(*record->partition)) return false;
    if (auto sent = producer_.send(*record); !sent) {
        refuse_line(line, sent.error());
        return true;
    }
    sent_bytes_ += record->value.value_or("").size() + record->key.value_or("").size();
    ++sent_;
    return true;
}

void Run::refuse_line(std::string_view line, const protocol::Error& error) {
    fail_line(fmt::format("{}\n", line), about_line(error));
    ++failed_;
    if (stops_at_failure()) end_of_input();
}

bool Run::skip(std::uint32_t partition) {
    const bool known = producer_.sent_before(partition).has(lines_of_partition_[partition]++);
    skipped_ += known ? 1 : 0;
    return known;
}

void Run::check_all_skipped() {
    for (std::uint32_t partition = 0; options_.producer.resumes && partition < producer_.partitions(); ++partition)
        if (lines_of_partition_[partition] < producer_.sent_before(partition).count())
            fatal_ = {protocol::ErrorCode::kConfig,
                      fmt::format("{} was truncated or replaced while it was being read: run again", options_.file)};
}

void Run::end_of_input() {
    session_.env().cancel_timer(feed_timer_);
    if (source_)
        if (const auto failure = source_->failure())
            fatal_ = {protocol::ErrorCode::kConfig, fmt::format("reading stopped: {}", *failure)};
    phase_ = Phase::kDraining;
    producer_.flush();
    check_done();
}

void Run::check_done() {
    if (phase_ != Phase::kDraining || !producer_.idle()) return;
    const auto done = [this] {
        phase_ = Phase::kDone;
        session_.loop().stop();
    };
    if (options_.producer.acks != proto::NONE || acknowledged_ == 0) return done();
    phase_ = Phase::kSettling;
    producer_.settle(kSettleLimit, done);
}

void Run::on_report(const client::BatchReport& report) {
    last_ack_ = session_.loop().now();
    if (report.outcome) {
        acknowledged_ += report.records;
        const auto us = std::chrono::duration_cast<std::chrono::microseconds>(report.latency).count();
        latency_us_.record(static_cast<std::uint64_t>(us), report.records);
        return;
    }
    failed_ += report.records;
    failed_sent_ += report.records;
    // A newer instance took over: nothing that this one reads can be appended any more.
    if (report.outcome.error().code == protocol::ErrorCode::kFenced && phase_ == Phase::kFeeding)
        session_.env().set_timer(protocol::Duration{0}, [this] {
            if (phase_ == Phase::kFeeding) end_of_input();
        });
    if (auto batch = protocol::BatchView::parse(report.batch)) {
        const auto decoded = batch->for_each(protocol::kMaxStoredRecordsBytes, [&](const protocol::Record& record) {
            failed_bytes_ += record.value.value_or("").size() + record.key.value_or("").size();
            fail_line(maker_.line_of(report.partition, record), report.outcome.error());
            return true;
        });
        LS_ASSERT(decoded.has_value());  // our own batch
    }
}

protocol::Error Run::about_line(const protocol::Error& error) const {
    return {error.code, fmt::format("line {}: {}{}", lines_, error.message,
                                    stops_at_failure() ? "; the lines after it were not sent" : "")};
}

void Run::note_error(const protocol::Error& error) {
    if (first_error_) return;
    first_error_ = error;
    session_.log().error("{}", error.message);
}

void Run::fail_line(std::string_view line, const protocol::Error& error) {
    note_error(error);
    if (failed_file_) failed_file_->write(line);
}

// A line that no record can hold is not held in memory either: it fails piece by piece.
void Run::fail_piece(const LineSource::Next& piece) {
    if (!std::exchange(in_pieces_, true)) {
        ++lines_;
        ++failed_;
        note_error(about_line(
            {protocol::ErrorCode::kTooLarge,
             fmt::format("it exceeds the cluster's limit of {} bytes: split it, or raise limits.record_bytes on the "
                         "brokers",
                         producer_.max_record_bytes())}));
    }
    if (failed_file_) failed_file_->write(piece.line);
    if (piece.state == LineSource::State::kPiece) return;
    in_pieces_ = false;
    if (failed_file_) failed_file_->write("\n");
    if (stops_at_failure()) end_of_input();
}

// The first one ends the input and waits for what is under way; the second one does not wait.
void Run::on_signal(int signal) {
    ++signals_;
    const bool starting = phase_ == Phase::kStarting || phase_ == Phase::kComparing;
    if (starting || signals_ > 1) {
        const protocol::Error interrupted{protocol::ErrorCode::kUnknown, "interrupted before it was acknowledged"};
        if (starting) fatal_ = interrupted;
        producer_.fail_all(interrupted);
        phase_ = Phase::kDone;
        session_.loop().stop();
        return;
    }
    if (const std::uint64_t open = sent_ - acknowledged_ - failed_sent_; open > 0)
        session_.say(fmt::format("{} not acknowledged yet: waiting; {} again to give up",
                                 runtime::count_of(open, "record is", "records are"),
                                 signal == SIGINT ? "press Ctrl-C" : "send the signal"));
    if (phase_ != Phase::kFeeding) return;
    if (options_.rate || options_.message) return end_of_input();
    source_->stop();
}

void Run::print_summary() const {
    const double seconds = std::max(1e-6, std::chrono::duration<double>(last_ack_ - first_send_).count());
    const auto bytes = static_cast<double>(sent_bytes_ - failed_bytes_);
    const auto ms = [this](double fraction) { return static_cast<double>(latency_us_.quantile(fraction)) / 1000; };
    std::string text = fmt::format(
        "producer: {} records, {} bytes in {:.3f} s: {:.1f} records/s, {:.3f} MB/s; "
        "latency p50 {:.3f} ms, p99 {:.3f} ms, max {:.3f} ms",
        acknowledged_, sent_bytes_ - failed_bytes_, seconds, static_cast<double>(acknowledged_) / seconds,
        bytes / seconds / 1e6, ms(0.5), ms(0.99), static_cast<double>(latency_us_.max()) / 1000);
    if (const client::SendTrouble trouble = producer_.trouble_so_far(); trouble.batches_sent_again > 0)
        text += fmt::format("; {} sent again, {}", runtime::count_of(trouble.batches_sent_again, "batch", "batches"),
                            runtime::count_of(trouble.owner_changes, "owner change", "owner changes"));
    if (skipped_ > 0) text += fmt::format("; {} lines were already there", skipped_);
    if (source_ && source_->cut_off_bytes() > 0)
        text += fmt::format("; {} bytes of an incomplete line were not sent", source_->cut_off_bytes());
    if (failed_ > 0) text += fmt::format("; {} NOT ACKNOWLEDGED ({})", failed_, first_error_->message);
    runtime::clear_status();
    std::fprintf(stderr, "%s\n", text.c_str());
}

}  // namespace logstream::producer
