// logstreamctl tail: the last records of a topic, as people read them.
#include "cmd/logstreamctl/command.h"
#include "cmd/runtime/record_json.h"
#include "cmd/runtime/topic_hint.h"
#include "internal/client/consumer.h"
#include "internal/config/value.h"

namespace logstream::ctl {

namespace {

std::string line_of(const client::ConsumedRecord& consumed) {
    const protocol::Record& record = consumed.record;
    std::string out =
        fmt::format("{} {}/{} ", config::format_time(record.timestamp_ms), consumed.partition, consumed.offset);
    out.append(record.key.value_or("-")).append(" ");
    return out.append(record.value.value_or("(no value)")).append("\n");
}

}  // namespace

int tail(const Common& common, const TailOptions& options) {
    auto session = runtime::Session::open("logstreamctl", common.client);
    if (!session) return complain(session.error());
    client::ConsumerOptions how;
    how.topic = options.topic;
    how.start = {client::StartAt::Kind::kTail, static_cast<std::int64_t>(options.count)};
    how.follow = options.follow;
    if (!options.follow) how.timeout = kOwnerLimit;
    std::optional<Result<void>> outcome;
    bool written = false;
    client::Consumer consumer((*session)->router(), how,
                              [&](const client::ConsumedRecord& record) {
                                  std::string line;
                                  if (common.json)
                                      runtime::append_json(
                                          line, runtime::RecordPlace{options.topic, record.partition, record.offset},
                                          record.record);
                                  else
                                      line = line_of(record);
                                  std::fwrite(line.data(), 1, line.size(), stdout);
                                  written = true;
                                  return true;
                              },
                              [&](Result<void> result) { outcome = std::move(result); });
    (*session)->router().start();
    consumer.start();
    // Until all is read, or nobody reads what is written; the end of standard output is checked at exit.
    while (!(*session)->loop().run_until([&] { return outcome || written; }, Duration::max()) || !outcome)
        if (std::exchange(written, false) && std::fflush(stdout) != 0) return runtime::kDone;
    if (*outcome) return runtime::kDone;
    return complain(runtime::with_topic_hint(outcome->error(), **session, options.topic));
}

}  // namespace logstream::ctl
