#include "cmd/bench/worker.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace logstream::bench {

namespace {

constexpr int kRecordsPerTurn = 1000;
constexpr protocol::Duration kPace = std::chrono::milliseconds(1);
constexpr protocol::Duration kIdle = std::chrono::milliseconds(20);
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
    ProducerWorker(const Options& options, Schedule& schedule, runtime::Session& session, std::uint32_t index)
        : options_(options), schedule_(schedule), session_(session) {
        for (std::uint32_t i = index; i < options.active_topics(); i += options.producers) topics_.push_back(i);
        // More producers than topics: they share them.
        if (topics_.empty()) topics_.push_back(index % options.active_topics());
        for (const std::uint32_t topic : topics_)
            producers_.push_back(
                std::make_unique<client::Producer>(session.router(), producer_options(topic),
                                                   [this](const client::BatchReport& report) { on_report(report); }));
    }

    Tally run() {
        session_.router().start();
        for (const auto& producer : producers_) {
            producer->start([this](const protocol::Result<void>& ready) { on_ready(ready); });
            producer->on_progress([this] { feed(); });
        }
        watch_start();
        session_.loop().run();
        session_.env().cancel_timer(timer_);
        return std::move(tally_);
    }

private:
    // Room for the batches in flight and as much again, so that the pipeline is full and no queue makes latency look
    // worse. Topics share it.
    client::ProducerOptions producer_options(std::uint32_t topic) const {
        client::ProducerOptions out = options_.producer;
        out.topic = options_.topic(topic);
        out.buffer_bytes = 2 * out.max_in_flight * out.batch_bytes * options_.partitions / topics_.size();
        return out;
    }

    void on_ready(const protocol::Result<void>& ready) {
        if (!ready) {
            tally_.error = ready.error();
            schedule_.fail();
            return session_.loop().stop();
        }
        if (++ready_ < producers_.size()) return;
        schedule_.one_is_ready();
        for (std::uint64_t i = 0; i < payloads_.size(); ++i) payloads_[i] = make_payload(options_.record_bytes, i);
        started_ = session_.loop().now();
        feed();
    }

    // Until all are ready another worker may fail, or the run be interrupted.
    void watch_start() {
        if (ready_ == producers_.size()) return;
        if (schedule_.failed) return session_.loop().stop();
        timer_ = session_.env().set_timer(kIdle, [this] { watch_start(); });
    }

    // Topics take turns; one whose buffer is full is passed over. Null when all are.
    client::Producer* next_with_room() {
        for (std::size_t tried = 0; tried < producers_.size(); ++tried) {
            turn_ = turn_ + 1 < producers_.size() ? turn_ + 1 : 0;
            if (producers_[turn_]->has_room()) return producers_[turn_].get();
        }
        return nullptr;
    }

    void feed() {
        if (ready_ < producers_.size()) return;
        const protocol::TimePoint now = session_.loop().now();
        if (schedule_.over(now) || schedule_.failed) return drain(now);
        const double due = options_.rate > 0 ? options_.rate / options_.producers *
                                                   std::chrono::duration<double>(now - started_).count()
                                             : std::numeric_limits<double>::max();
        int turn = 0;
        while (turn < kRecordsPerTurn && static_cast<double>(sent_) < due &&
               (options_.window == 0 || sent_ - reported_ < options_.window)) {
            client::Producer* const producer = next_with_room();
            if (producer == nullptr) break;
            send_one(*producer, now);
            ++turn;
        }
        // At full speed it goes on when there is room: many threads that look every millisecond cost half a processor.
        const protocol::Duration wait = turn == kRecordsPerTurn ? protocol::Duration{0}
                                        : options_.rate > 0     ? kPace
                                                                : kIdle;
        session_.env().cancel_timer(timer_);
        timer_ = session_.env().set_timer(wait, [this] { feed(); });
    }

    void send_one(client::Producer& producer, protocol::TimePoint now) {
        std::string& payload = payloads_[sent_ % payloads_.size()];
        const std::int64_t handed_over = now.time_since_epoch().count();
        std::memcpy(payload.data(), &handed_over, sizeof handed_over);
        ++sent_;
        if (auto sent = producer.send({.key = {}, .value = payload}); !sent && !tally_.error) {
            tally_.error = sent.error();
            schedule_.fail();
        }
    }

    void drain(protocol::TimePoint now) {
        if (draining_since_ == protocol::TimePoint{}) {
            draining_since_ = now;
            for (const auto& producer : producers_) producer->flush();
        }
        const bool idle = std::ranges::all_of(producers_, [](const auto& producer) { return producer->idle(); });
        const bool late = now - draining_since_ > kPatience;
        if (late && !idle) give_up(now);
        if (idle || late) return session_.loop().stop();
        session_.env().cancel_timer(timer_);
        timer_ = session_.env().set_timer(kPace, [this] { feed(); });
    }

    // What is still open is part of the result.
    void give_up(protocol::TimePoint now) {
        const std::uint64_t open = sent_ - reported_;
        if (open == 0) return;
        tally_.failed += open;
        if (tally_.last != protocol::TimePoint{}) tally_.longest_gap = std::max(tally_.longest_gap, now - tally_.last);
        if (!tally_.error)
            tally_.error = {protocol::ErrorCode::kTimeout,
                            fmt::format("{} not acknowledged within {:g} s after the end of the run",
                                        runtime::count_of(open, "record was", "records were"),
                                        std::chrono::duration<double>(kPatience).count())};
    }

    void on_report(const client::BatchReport& report) {
        reported_ += report.records;
        if (!report.outcome) {
            tally_.failed += report.records;
            if (!tally_.error) tally_.error = report.outcome.error();
            return;
        }
        tally_.acknowledged += report.records;
        schedule_.acknowledged.fetch_add(report.records, std::memory_order_relaxed);
        const protocol::TimePoint now = session_.loop().now();
        const protocol::TimePoint before = std::exchange(tally_.last, now);
        if (before != protocol::TimePoint{} && schedule_.begun(now))
            tally_.longest_gap = std::max(tally_.longest_gap, now - before);
        if (!schedule_.counts(now)) return;
        tally_.records += report.records;
        tally_.bytes += std::uint64_t{report.records} * options_.record_bytes;
        tally_.latency_us.record(
            static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(report.latency).count()),
            report.records);
    }

    const Options& options_;
    Schedule& schedule_;
    runtime::Session& session_;
    std::vector<std::uint32_t> topics_;
    std::vector<std::unique_ptr<client::Producer>> producers_;  // one a topic
    std::size_t ready_{};
    std::size_t turn_{};
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
    ConsumerWorker(const Options& options, Schedule& schedule, runtime::Session& session, std::uint32_t index)
        : options_(options), schedule_(schedule), session_(session) {
        client::ConsumerOptions what;
        what.topic = options.topic(index % options.active_topics());
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
        schedule_.delivered.fetch_add(1, std::memory_order_relaxed);
        if (!schedule_.counts(now)) return true;
        const std::string_view value = consumed.record.value.value_or("");
        ++tally_.records;
        tally_.bytes += value.size();
        tally_.last = now;
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
Tally run_worker(const Options& options, Schedule& schedule, std::uint32_t index) {
    Tally tally;
    auto session = runtime::Session::open("logstream-bench", options.client);
    if (!session) {
        tally.error = session.error();
        schedule.fail();
        return tally;
    }
    // The main thread says it once, not each client of each topic.
    (*session)->log().set_level(spdlog::level::err);
    {
        Worker worker(options, schedule, **session, index);
        tally = worker.run();
    }
    (*session)->drain(std::chrono::milliseconds(200));
    return tally;
}

}  // namespace

Tally run_producer(const Options& options, Schedule& schedule, std::uint32_t index) {
    return run_worker<ProducerWorker>(options, schedule, index);
}
Tally run_consumer(const Options& options, Schedule& schedule, std::uint32_t index) {
    return run_worker<ConsumerWorker>(options, schedule, index);
}

}  // namespace logstream::bench
