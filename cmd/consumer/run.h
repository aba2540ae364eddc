// One run of `consumer`: records to standard output, what was written back to the group.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "cmd/consumer/analytics.h"
#include "cmd/consumer/options.h"
#include "cmd/consumer/sources.h"
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
    // The offset after the last record, by topic and partition.
    using Progress = std::map<std::pair<Source*, std::uint32_t>, protocol::Offset>;

    bool on_record(Source& source, const client::ConsumedRecord& record);
    void pass_over(Source& source, const client::ConsumedRecord& record);
    // Hands what was formatted to the writer.
    void flush();
    void on_written(const Progress& progress);
    void on_output_failure(int errno_value);
    void on_finish(protocol::Result<void> result);
    void print_analytics();
    void show_progress();
    void tell_end();
    protocol::Error with_hint(const protocol::Error& error) const;
    // Everything read is written out first, then the group hears of it.
    void begin_end();
    void check_end();

    Options options_;
    runtime::Session& session_;
    Analytics analytics_;
    runtime::OutputWriter writer_;
    Sources sources_;
    env::TimerId flush_timer_;
    env::TimerId analytics_timer_;
    env::TimerId progress_timer_;

    std::string buffer_;  // formatted, not handed to the writer
    Progress buffered_;   // of what is in it
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
