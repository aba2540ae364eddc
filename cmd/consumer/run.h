// One run of `consumer`: records to standard output, what was written back to the group.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "cmd/consumer/analytics.h"
#include "cmd/consumer/format.h"
#include "cmd/consumer/options.h"
#include "cmd/runtime/output_writer.h"
#include "cmd/runtime/session.h"

namespace logstream::consumer {

class Run {
public:
    Run(Options options, runtime::Session& session);
    ~Run();
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;

    // Runs the loop to the end. The exit code.
    int execute();

private:
    bool on_record(const client::ConsumedRecord& record);
    void pass_over(const client::ConsumedRecord& record);
    // Hands what was formatted to the writer.
    void flush();
    void on_written(const std::map<std::uint32_t, protocol::Offset>& progress);
    void on_output_failure(int errno_value);
    void on_finish(protocol::Result<void> result);
    void print_analytics();
    void show_progress();
    // Everything read is written out first, then the group hears of it.
    void begin_end();
    void check_end();

    Options options_;
    runtime::Session& session_;
    Formatter formatter_;
    Analytics analytics_;
    runtime::OutputWriter writer_;
    client::Consumer consumer_;
    env::TimerId flush_timer_;
    env::TimerId analytics_timer_;
    env::TimerId progress_timer_;

    std::string buffer_;                                  // formatted, not handed to the writer
    std::map<std::uint32_t, protocol::Offset> buffered_;  // the offset after the last record in it
    bool flush_scheduled_{};
    std::size_t pieces_out_{};  // with the writer
    std::uint64_t records_{};
    std::uint64_t bytes_{};  // handed to the writer
    bool ending_{};
    bool stopping_{};
    bool output_closed_{};
    std::optional<protocol::Error> error_;
};

}  // namespace logstream::consumer
