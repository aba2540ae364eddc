// logstream-bench: how many records a second, how long until they are acknowledged.
#include <nlohmann/json.hpp>
#include <thread>

#include "cmd/bench/comparison.h"
#include "cmd/bench/interruption.h"
#include "cmd/bench/limits.h"
#include "cmd/bench/progress.h"
#include "cmd/bench/worker.h"
#include "cmd/runtime/values.h"
#include "internal/client/owner_call.h"
#include "internal/process/standard_streams.h"
#include "internal/text/json.h"

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

// Creates or deletes all topics of the run, some at a time. The first failure stops it.
protocol::Result<void> change_topics(runtime::Session& session, const bench::Options& options,
                                     proto::Topics::Action action, const std::function<bool()>& stop) {
    constexpr std::uint32_t kAtATime = 100;
    protocol::Result<void> result;
    for (std::uint32_t next = 0; next < options.topics && result && !stop();) {
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
                    // One that exists when it is to be made, or is gone when it is to be deleted, is as it should be.
                    const auto code = done ? protocol::ErrorCode::kNone : done.error().code;
                    const bool as_it_should = code == protocol::ErrorCode::kNone ||
                                              code == protocol::ErrorCode::kExists ||
                                              code == protocol::ErrorCode::kUnknownTopic;
                    if (!as_it_should && result) result = std::unexpected(done.error());
                }));
        }
        while (answered < calls.size())
            session.loop().run_until([&] { return answered == calls.size(); }, std::chrono::seconds(10));
    }
    return result;
}

protocol::Result<Setting> prepare(bench::Options& options, const bench::Interruption& interruption) {
    auto session = runtime::Session::open("logstream-bench", options.client);
    if (!session) return std::unexpected(session.error());
    (*session)->router().want_topic(options.topic(0), client::AutoCreate::kNo);
    if (auto connected = (*session)->connect(); !connected) return std::unexpected(connected.error());
    const client::ClusterView& view = (*session)->router().view();
    const auto known = view.topic(options.topic(0));
    if (known) options.partitions = known->partitions;
    options.topics_tried = !known || options.topics > 1;
    if (options.topics_tried)
        if (auto made = change_topics(**session, options, proto::Topics::CREATE,
                                      [&interruption] { return interruption.happened(); });
            !made)
            return std::unexpected(made.error());
    Setting setting{view.members.size(), "?"};
    if (const auto status =
            ask_leader<proto::StatusResponse>(**session, protocol::MessageType::kStatus, proto::Status{})) {
        const json told = json::parse(status->json(), nullptr, false);
        setting.fsync = text::string_at(told, "fsync", "?");
    }
    return setting;
}

void say_that_it_stays(const bench::Options& options, const protocol::Error& why) {
    std::fprintf(stderr,
                 "logstream-bench: the topic %s was not deleted (%s); delete it with logstreamctl topics delete\n",
                 options.producer.topic.c_str(), why.message.c_str());
}

void clean_up(const bench::Options& options) {
    if (!options.own_topic || !options.topics_tried) return;
    auto session = runtime::Session::open("logstream-bench", options.client);
    if (!session) return;
    if (auto connected = (*session)->connect(); !connected) return say_that_it_stays(options, connected.error());
    if (auto gone = change_topics(**session, options, proto::Topics::DELETE, [] { return false; }); !gone)
        say_that_it_stays(options, gone.error());
}

// What all workers counted.
struct Outcome {
    std::vector<bench::Tally> producers;
    std::vector<bench::Tally> consumers;
    protocol::TimePoint begin;  // of the measured time
    bool started{};
};

Outcome run_all(const bench::Options& options, bench::Schedule& schedule) {
    Outcome outcome;
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
    {
        const bench::Progress progress(options, schedule);
        threads.clear();  // joins
    }
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
            {"acks", runtime::to_string(options.producer.acks)},
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
    const auto count = [&r](const char* field, std::string_view one, std::string_view many) {
        return runtime::count_of(r[field].get<std::uint64_t>(), one, many);
    };
    std::printf("%s\n",
                fmt::format("{}, {}, {}, {}, records of {}, acks {}, fsync {}, {:g} s",
                            count("producers", "producer", "producers"), count("consumers", "consumer", "consumers"),
                            count("partitions", "partition", "partitions"), count("replicas", "replica", "replicas"),
                            count("record_bytes", "byte", "bytes"), r["acks"].get<std::string>(),
                            r["fsync"].get<std::string>(), r["duration_s"].get<double>())
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

int show_comparison(const bench::Options& options, const json& comparison) {
    if (options.json)
        std::printf("%s\n", text::dump(comparison).c_str());
    else
        bench::print_comparison(comparison);
    return runtime::kDone;
}

int run(int argc, char** argv) {
    auto options = bench::parse_options(argc, argv);
    if (!options) return options.error();
    if (options->limits) return bench::show_limits(*options);
    std::vector<json> earlier;
    for (const std::string& path : options->compare) {
        auto result = bench::read_result(path);
        if (!result) return runtime::complain("logstream-bench", result.error());
        earlier.push_back(*std::move(result));
    }
    if (earlier.size() == 2) return show_comparison(*options, bench::compare(earlier[0], earlier[1]));
    bench::Schedule schedule;
    bench::Interruption interruption;
    const auto tell_what_stays = [own = options->own_topic, topic = options->producer.topic] {
        if (own)
            std::fprintf(stderr, "logstream-bench: gave up cleaning up; logstreamctl topics delete %s\n",
                         topic.c_str());
    };
    interruption.watch([&schedule] { schedule.fail(); }, tell_what_stays);
    const auto setting = prepare(*options, interruption);
    Outcome outcome;
    if (setting && !interruption.happened()) outcome = run_all(*options, schedule);
    clean_up(*options);
    if (interruption.happened()) {
        std::fprintf(stderr, "logstream-bench: interrupted\n");
        return runtime::kFailed;
    }
    if (!setting) return runtime::complain("logstream-bench", setting.error());
    std::optional<protocol::Error> error;
    for (const auto* tallies : {&outcome.producers, &outcome.consumers})
        for (const bench::Tally& tally : *tallies)
            if (tally.error && !error) error = tally.error;
    if (!outcome.started)
        return runtime::complain(
            "logstream-bench",
            error.value_or(protocol::Error{protocol::ErrorCode::kTimeout, "the workers were not ready in time"}));
    json result = report(*options, *setting, outcome);
    if (!options->json) print_text(result);
    if (!earlier.empty()) {
        json comparison = bench::compare(earlier[0], result);
        if (!options->json) bench::print_comparison(comparison);
        result["comparison"] = std::move(comparison);
    }
    if (options->json) std::printf("%s\n", text::dump(result).c_str());
    if (error) return runtime::complain("logstream-bench", *error);
    return runtime::kDone;
}

}  // namespace

int main(int argc, char** argv) {
    process::open_standard_streams();
    return process::finish_output("logstream-bench", run(argc, argv));
}
