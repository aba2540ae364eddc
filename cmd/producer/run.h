// One run of `producer`: takes lines at the pace asked for, sends them, counts what becomes of them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cmd/producer/failed_file.h"
#include "cmd/producer/line_source.h"
#include "cmd/producer/options.h"
#include "cmd/producer/record_maker.h"
#include "cmd/producer/resumption.h"
#include "cmd/runtime/session.h"
#include "internal/client/histogram.h"
#include "internal/client/producer.h"

namespace logstream::producer {

class Run {
public:
    Run(Options options, runtime::Session& session);
    ~Run();
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;

    // Runs the loop to the end. The exit code.
    int execute();

private:
    enum class Phase : std::uint8_t { kStarting, kComparing, kFeeding, kDraining, kSettling, kDone };

    void on_ready(const protocol::Result<void>& ready);
    void end_with(protocol::Error error);
    bool open_source();
    // Reads the file from its begin.
    void open_lines(std::function<void()> on_more);
    void begin_feeding();
    void begin_comparing();
    void compare();
    void end_comparing();
    void feed();
    // Of the line taken last.
    protocol::Result<void> check_partition(std::uint32_t partition) const;
    protocol::Result<client::Producer::Record> record_of(std::string_view line);
    bool send_line(std::string_view line);
    void refuse_line(std::string_view line, const protocol::Error& error);
    bool skip(std::uint32_t partition);
    // A file that resumes and has ended: it was not cut since it was compared.
    void check_all_skipped();
    // Records that may be sent now; when none, sets the timer for the next one.
    std::uint64_t allowance();
    void end_of_input();
    void check_done();
    void on_report(const client::BatchReport& report);
    void fail_line(std::string_view line, const protocol::Error& error);
    void fail_piece(const LineSource::Next& piece);
    void note_error(const protocol::Error& error);
    // What is known of the failure of the line taken last.
    protocol::Error about_line(const protocol::Error& error) const;
    // --resume takes the cluster's count of records for one of lines: none may be missing in between.
    bool stops_at_failure() const { return !options_.producer.name.empty() && !options_.file.empty(); }
    void on_signal(int signal);
    void finish_failed_file();
    void schedule_feed(protocol::Duration after);
    void show_progress();
    void print_summary() const;

    Options options_;
    RecordMaker maker_;
    runtime::Session& session_;
    std::optional<protocol::Error> fatal_;
    Phase phase_{Phase::kStarting};
    int input_fd_{-1};
    std::unique_ptr<FailedFile> failed_file_;
    bool in_pieces_{};  // a line that no record can hold is being read
    std::unique_ptr<LineSource> source_;
    client::Producer producer_;
    std::optional<Resumption> resumption_;
    bool taken_over_{};
    env::TimerId feed_timer_;
    env::TimerId progress_timer_;
    std::uint64_t file_bytes_{};  // 0: not known
    std::uint64_t read_bytes_{};

    std::uint64_t lines_{};  // taken from the source
    std::uint64_t skipped_{};
    std::vector<std::int64_t> lines_of_partition_;
    std::uint64_t paced_{};  // records sent since pace_start_
    protocol::TimePoint pace_start_{};

    protocol::TimePoint first_send_{};
    protocol::TimePoint last_ack_{};
    std::uint64_t sent_{};  // records handed to the producer
    std::uint64_t sent_bytes_{};
    std::uint64_t acknowledged_{};
    std::uint64_t failed_{};
    std::uint64_t failed_sent_{};  // of these, those that were handed to the producer
    std::uint64_t failed_bytes_{};
    std::optional<protocol::Error> first_error_;
    client::Histogram latency_us_;
    int signals_{};
    bool told_created_{};
};

}  // namespace logstream::producer
