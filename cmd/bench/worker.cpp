#include "cmd/bench/worker.h"

#include <algorithm>
#include <cstring>

namespace logstream::bench {

namespace {

constexpr int kRecordsPerTurn = 1000;
constexpr protocol::Duration kPace = std::chrono::milliseconds(1);
constexpr protocol::Duration kPatience = std::chrono::seconds(10);

// Looks like log lines to a compressor: words, not noise and not one letter.
std::string make_payload(std::uint32_t bytes, std::uint64_t seed) {
    constexpr std::string_view kWords =
        "info connection request served user session block packet terminating received ";
    std::string text(8, '\0');
    while (text.size() < bytes) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        text += std::to_string(seed >> 40);
        text += ' ';
        text += kWords.substr((seed >> 33) % (kWords.size() - 12), 12);
    }
    text.resize(bytes);
    return text;
}

class ProducerWorker {
public:
    ProducerWorker(const Options& options, Schedule& schedule, runtime::Session& session)
        : options_(options),
          schedule_(schedule),
          session_(session),
          producer_(session.router(), producer_options(options),
                    [this](const client::BatchReport& report) { on_report(report); }) {}

    Tally run() {
        session_.router().start();
        producer_.start([this](const protocol::Result<void>& ready) { on_ready(ready); });
        producer_.on_progress([this] { feed(); });
        session_.loop().run();
        session_.env().cancel_timer(timer_);
        return std::move(tally_);
    }

private:
    // Room for the batches in flight and as much again, so that the pipeline is full and no queue makes latency look
    // worse.
    static client::ProducerOptions producer_options(const Options& options) {
        client::ProducerOptions out = options.producer;
        out.buffer_bytes = 2 * out.max_in_flight * out.batch_bytes * options.partitions;
        return out;
    }

    void on_ready(const protocol::Result<void>& ready) {
        if (!ready) {
            tally_.error = ready.error();
            schedule_.fail();
            return session_.loop().stop();
        }
        schedule_.one_is_ready();
        for (std::uint64_t i = 0; i < payloads_.size(); ++i) payloads_[i] = make_payload(options_.record_bytes, i);
        started_ = session_.loop().now();
        feed();
    }

    void feed() {
        const protocol::TimePoint now = session_.loop().now();
        if (schedule_.over(now) || schedule_.failed) return drain(now);
        const double due = options_.rate > 0 ? options_.rate / options_.producers *
                                                   std::chrono::duration<double>(now - started_).count()
                                             : std::numeric_limits<double>::max();
        int turn = 0;
        while (turn < kRecordsPerTurn && static_cast<double>(sent_) < due && producer_.has_room() &&
               (options_.window == 0 || sent_ - reported_ < options_.window)) {
            send_one();
            ++turn;
        }
        session_.env().cancel_timer(timer_);
        timer_ = session_.env().set_timer(turn == kRecordsPerTurn ? protocol::Duration{0} : kPace, [this] { feed(); });
    }

    void send_one() {
        std::string& payload = payloads_[sent_ % payloads_.size()];
        const std::int64_t handed_over = session_.loop().now().time_since_epoch().count();
        std::memcpy(payload.data(), &handed_over, sizeof handed_over);
        ++sent_;
        if (auto sent = producer_.send({.key = {}, .value = payload}); !sent && !tally_.error) {
            tally_.error = sent.error();
            schedule_.fail();
        }
    }

    void drain(protocol::TimePoint now) {
        if (draining_since_ == protocol::TimePoint{}) {
            draining_since_ = now;
            producer_.flush();
        }
        if (producer_.idle() || now - draining_since_ > kPatience) return session_.loop().stop();
        session_.env().cancel_timer(timer_);
        timer_ = session_.env().set_timer(kPace, [this] { feed(); });
    }

    void on_report(const client::BatchReport& report) {
        reported_ += report.records;
        if (!report.outcome) {
            tally_.failed += report.records;
            if (!tally_.error) tally_.error = report.outcome.error();
            return;
        }
        if (!schedule_.counts(session_.loop().now())) return;
        tally_.records += report.records;
        tally_.bytes += std::uint64_t{report.records} * options_.record_bytes;
        tally_.latency_us.record(
            static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(report.latency).count()),
            report.records);
    }

    const Options& options_;
    Schedule& schedule_;
    runtime::Session& session_;
    client::Producer producer_;
    std::array<std::string, 64> payloads_;
    std::uint64_t sent_{};
    std::uint64_t reported_{};
    protocol::TimePoint started_{};
    protocol::TimePoint draining_since_{};
    env::TimerId timer_;
    Tally tally_;
};

class ConsumerWorker {
public:
    ConsumerWorker(const Options& options, Schedule& schedule, runtime::Session& session)
        : options_(options), schedule_(schedule), session_(session) {
        client::ConsumerOptions what;
        what.topic = options.producer.topic;
        what.start.kind = options.producers > 0 ? client::StartAt::Kind::kLatest : client::StartAt::Kind::kEarliest;
        what.follow = true;
        consumer_.emplace(
            session.router(), what, [this](const client::ConsumedRecord& record) { return on_record(record); },
            [this](const protocol::Result<void>& result) {
                if (!result) tally_.error = result.error();
                schedule_.fail();
                session_.loop().stop();
            });
    }

    Tally run() {
        session_.router().start();
        consumer_->start();
        schedule_.one_is_ready();
        watch();
        session_.loop().run();
        session_.env().cancel_timer(timer_);
        return std::move(tally_);
    }

private:
    bool on_record(const client::ConsumedRecord& consumed) {
        const protocol::TimePoint now = session_.loop().now();
        if (!schedule_.counts(now)) return true;
        const std::string_view value = consumed.record.value.value_or("");
        ++tally_.records;
        tally_.bytes += value.size();
        std::int64_t handed_over = 0;
        if (options_.producers == 0 || value.size() < sizeof handed_over) return true;
        std::memcpy(&handed_over, value.data(), sizeof handed_over);
        const std::int64_t took_ns = now.time_since_epoch().count() - handed_over;
        if (took_ns >= 0) tally_.latency_us.record(static_cast<std::uint64_t>(took_ns / 1000));
        return true;
    }

    void watch() {
        if (schedule_.over(session_.loop().now()) || schedule_.failed) return session_.loop().stop();
        timer_ = session_.env().set_timer(kPace * 10, [this] { watch(); });
    }

    const Options& options_;
    Schedule& schedule_;
    runtime::Session& session_;
    std::optional<client::Consumer> consumer_;
    env::TimerId timer_;
    Tally tally_;
};

template <class Worker>
Tally run_worker(const Options& options, Schedule& schedule) {
    Tally tally;
    auto session = runtime::Session::open("logstream-bench", options.client);
    if (!session) {
        tally.error = session.error();
        schedule.fail();
        return tally;
    }
    {
        Worker worker(options, schedule, **session);
        tally = worker.run();
    }
    (*session)->drain(std::chrono::milliseconds(200));
    return tally;
}

}  // namespace

Tally run_producer(const Options& options, Schedule& schedule) { return run_worker<ProducerWorker>(options, schedule); }
Tally run_consumer(const Options& options, Schedule& schedule) { return run_worker<ConsumerWorker>(options, schedule); }

}  // namespace logstream::bench
