// logstream-bench: how many records a second, how long until they are acknowledged.
#include <nlohmann/json.hpp>
#include <thread>

#include "cmd/bench/limits.h"
#include "cmd/bench/worker.h"
#include "internal/client/owner_call.h"

namespace {

using namespace logstream;
using nlohmann::json;

constexpr protocol::Duration kReadyLimit = std::chrono::seconds(20);

// What the benchmark needs to know of the cluster.
struct Setting {
    std::size_t replicas{};
    std::string fsync = "?";
};

template <class Response, class Proto>
protocol::Result<Response> ask_leader(runtime::Session& session, protocol::MessageType type, const Proto& request) {
    std::optional<protocol::Result<Response>> answer;
    const auto call = client::call_owner<Response>(
        session.router(), protocol::kMetadataStream, type, request, std::chrono::seconds(10),
        [&answer](protocol::Result<Response> response, int) { answer = std::move(response); });
    while (!answer) session.loop().run_until([&answer] { return answer.has_value(); }, std::chrono::seconds(10));
    return *std::move(answer);
}

// Creates or deletes all topics of the run, some at a time. The first failure, which stops it.
protocol::Result<void> change_topics(runtime::Session& session, const bench::Options& options,
                                     proto::Topics::Action action) {
    constexpr std::uint32_t kAtATime = 100;
    protocol::Result<void> result;
    for (std::uint32_t next = 0; next < options.topics && result;) {
        std::vector<std::unique_ptr<client::OwnerCall>> calls;
        std::size_t answered = 0;
        for (; next < options.topics && calls.size() < kAtATime; ++next) {
            proto::Topics change;
            change.set_action(action);
            change.set_name(options.topic(next));
            if (action == proto::Topics::CREATE) change.mutable_settings()->set_partitions(options.partitions);
            calls.push_back(client::call_owner<proto::TopicsResponse>(
                session.router(), protocol::kMetadataStream, protocol::MessageType::kTopics, change,
                std::chrono::seconds(10), [&](const protocol::Result<proto::TopicsResponse>& done, int) {
                    ++answered;
                    if (!done && done.error().code != protocol::ErrorCode::kExists && result)
                        result = std::unexpected(done.error());
                }));
        }
        while (answered < calls.size())
            session.loop().run_until([&] { return answered == calls.size(); }, std::chrono::seconds(10));
    }
    return result;
}

protocol::Result<Setting> prepare(bench::Options& options) {
    auto session = runtime::Session::open("logstream-bench", options.client);
    if (!session) return std::unexpected(session.error());
    (*session)->router().want_topic(options.topic(0), client::AutoCreate::kNo);
    if (auto connected = (*session)->connect(); !connected) return std::unexpected(connected.error());
    const client::ClusterView& view = (*session)->router().view();
    const auto known = view.topic(options.topic(0));
    if (known) options.partitions = known->partitions;
    if (!known || options.topics > 1)
        if (auto made = change_topics(**session, options, proto::Topics::CREATE); !made)
            return std::unexpected(made.error());
    Setting setting{view.members.size(), "?"};
    if (const auto status =
            ask_leader<proto::StatusResponse>(**session, protocol::MessageType::kStatus, proto::Status{})) {
        const json told = json::parse(status->json(), nullptr, false);
        if (told.is_object()) setting.fsync = told.value("fsync", "?");
    }
    return setting;
}

void clean_up(const bench::Options& options) {
    if (!options.own_topic) return;
    auto session = runtime::Session::open("logstream-bench", options.client);
    if (!session || !(*session)->connect()) return;
    if (auto gone = change_topics(**session, options, proto::Topics::DELETE); !gone)
        std::fprintf(stderr, "logstream-bench: the topic %s stays: %s\n", options.producer.topic.c_str(),
                     gone.error().message.c_str());
}

// What all workers counted.
struct Outcome {
    std::vector<bench::Tally> producers;
    std::vector<bench::Tally> consumers;
    protocol::TimePoint begin;  // of the measured time
    bool started{};
};

Outcome run_all(const bench::Options& options) {
    Outcome outcome;
    bench::Schedule schedule;
    outcome.producers.resize(options.producers);
    outcome.consumers.resize(options.consumers);
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < options.consumers; ++i)
        threads.emplace_back([&, i] { outcome.consumers[i] = bench::run_consumer(options, schedule, i); });
    for (std::uint32_t i = 0; i < options.producers; ++i)
        threads.emplace_back([&, i] { outcome.producers[i] = bench::run_producer(options, schedule, i); });
    const auto steady = [] { return std::chrono::steady_clock::now(); };
    const auto give_up = steady() + kReadyLimit;
    schedule.wait_ready(static_cast<std::uint32_t>(threads.size()), give_up);
    const auto begin = steady() + options.warm_up;
    schedule.end_ns = (begin + options.duration).time_since_epoch().count();
    schedule.begin_ns = begin.time_since_epoch().count();
    threads.clear();  // joins
    outcome.begin = std::chrono::time_point_cast<protocol::Duration>(begin);
    outcome.started = !schedule.failed;
    return outcome;
}

json latency_json(const client::Histogram& histogram) {
    return {{"p50", histogram.quantile(0.5)},
            {"p99", histogram.quantile(0.99)},
            {"p999", histogram.quantile(0.999)},
            {"max", histogram.max()}};
}

json report(const bench::Options& options, const Setting& setting, const Outcome& outcome) {
    using Seconds = std::chrono::duration<double>;
    const double seconds = Seconds(options.duration).count();
    const auto sum = [&](const std::vector<bench::Tally>& tallies) {
        auto all = std::make_unique<bench::Tally>();
        for (const bench::Tally& tally : tallies) {
            all->records += tally.records;
            all->bytes += tally.bytes;
            all->failed += tally.failed;
            all->acknowledged += tally.acknowledged;
            all->last = std::max(all->last, tally.last);
            all->longest_gap = std::max(all->longest_gap, tally.longest_gap);
            all->latency_us.add(tally.latency_us);
        }
        return all;
    };
    const auto produced = sum(outcome.producers);
    const auto consumed = sum(outcome.consumers);
    const auto rate = [seconds](std::uint64_t count) { return static_cast<double>(count) / seconds; };
    // Where nobody produces, the time counts until all was read.
    const double reading =
        options.producers == 0 && consumed->records > 0 ? Seconds(consumed->last - outcome.begin).count() : seconds;
    return {{"records_per_s", rate(produced->records)},
            {"mb_per_s", rate(produced->bytes) / 1e6},
            {"ack_us", latency_json(produced->latency_us)},
            {"record_bytes", options.record_bytes},
            {"replicas", setting.replicas},
            {"acks", options.acks},
            {"fsync", setting.fsync},
            {"producers", options.producers},
            {"consumers", options.consumers},
            {"partitions", options.partitions},
            {"in_flight", options.producer.max_in_flight},
            {"window", options.window},
            {"batch_bytes", options.producer.batch_bytes},
            {"linger_us", std::chrono::duration_cast<std::chrono::microseconds>(options.producer.linger).count()},
            {"compression", options.compression},
            {"rate", options.rate},
            {"duration_s", seconds},
            {"topics", options.topics},
            {"acknowledged", produced->acknowledged},
            {"failed", produced->failed},
            {"longest_gap_us", std::chrono::duration_cast<std::chrono::microseconds>(produced->longest_gap).count()},
            {"consumed_records_per_s", static_cast<double>(consumed->records) / reading},
            {"consumed_mb_per_s", static_cast<double>(consumed->bytes) / reading / 1e6},
            {"deliver_us", latency_json(consumed->latency_us)}};
}

void print_text(const json& r) {
    const auto latency = [](const json& us) {
        return fmt::format("p50 {:.2f} ms, p99 {:.2f} ms, p99.9 {:.2f} ms, max {:.2f} ms",
                           us["p50"].get<double>() / 1000, us["p99"].get<double>() / 1000,
                           us["p999"].get<double>() / 1000, us["max"].get<double>() / 1000);
    };
    std::printf(
        "%s\n",
        fmt::format(
            "{} producers, {} consumers, {} partitions, {} replicas, records of {} bytes, acks {}, fsync {}, {:g} s",
            r["producers"].get<int>(), r["consumers"].get<int>(), r["partitions"].get<int>(), r["replicas"].get<int>(),
            r["record_bytes"].get<int>(), r["acks"].get<std::string>(), r["fsync"].get<std::string>(),
            r["duration_s"].get<double>())
            .c_str());
    if (r["producers"].get<int>() > 0)
        std::printf("produced  %s\n",
                    fmt::format("{:.0f} records/s, {:.2f} MB/s; acknowledged after {}",
                                r["records_per_s"].get<double>(), r["mb_per_s"].get<double>(), latency(r["ack_us"]))
                        .c_str());
    if (r["consumers"].get<int>() > 0)
        std::printf("consumed  %s\n", fmt::format("{:.0f} records/s, {:.2f} MB/s; delivered after {}",
                                                  r["consumed_records_per_s"].get<double>(),
                                                  r["consumed_mb_per_s"].get<double>(), latency(r["deliver_us"]))
                                          .c_str());
}

}  // namespace

int main(int argc, char** argv) {
    auto options = bench::parse_options(argc, argv);
    if (!options) return options.error();
    if (options->limits) return bench::show_limits(*options);
    const auto setting = prepare(*options);
    if (!setting) return runtime::complain("logstream-bench", setting.error());
    const Outcome outcome = run_all(*options);
    clean_up(*options);
    std::optional<protocol::Error> error;
    for (const auto* tallies : {&outcome.producers, &outcome.consumers})
        for (const bench::Tally& tally : *tallies)
            if (tally.error && !error) error = tally.error;
    if (!outcome.started)
        return runtime::complain("logstream-bench", error.value_or(protocol::Error{protocol::ErrorCode::kTimeout,
                                                                                   "the workers did not get ready"}));
    const json result = report(*options, *setting, outcome);
    if (options->json) {
        std::printf("%s\n", result.dump().c_str());
    } else {
        print_text(result);
    }
    if (error) return runtime::complain("logstream-bench", *error);
    return runtime::kDone;
}
