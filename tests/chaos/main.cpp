// logstream-chaos: a load on real brokers, while somebody breaks and mends them, that is recorded and judged by the
// simulator's checkers. tests/integration/scenarios/chaos.py is who breaks and mends.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <random>

#include "cmd/logstreamctl/command.h"
#include "tests/chaos/clients.h"
#include "tests/chaos/judge.h"
#include "tests/chaos/record.h"

namespace {

using namespace logstream;
using namespace std::chrono_literals;
using chaos::ProducerPlan;

constexpr std::string_view kProgram = "logstream-chaos";
constexpr std::array<std::uint32_t, 3> kPartitions{1, 3, 4};  // of each topic
constexpr protocol::Duration kBetweenDeaths = 20s;            // of clients, on average
constexpr const char* kAbout =
    R"(Sends, reads and records until --seconds are over or SIGTERM comes; by then everything must be healed and all --brokers
be back. Then waits until they agree, reads all logs from each of them, and holds them against what was acknowledged and
delivered. Exits 1 when a promise is broken, and says which.)";

struct Options {
    runtime::ClientFlags client;
    double seconds = 0;
    double rate = 800;
    double settle_s = 60;
    std::uint64_t seed = std::random_device{}();
};

// Patient ones and such that give up soon, whose records' fate is then unknown.
std::vector<ProducerPlan> producer_plans(double rate) {
    std::vector<ProducerPlan> plans;
    for (std::uint32_t i = 0; i < 8; ++i)
        plans.push_back({.topic = i % 3, .acks = proto::QUORUM, .timeout = i % 2 == 0 ? 120s : 2s, .rate = rate / 8});
    plans[6].acks = proto::ALL;
    plans[7].acks = proto::OWNER;
    return plans;
}

class Load {
public:
    Load(runtime::Session& session, const client::Bootstrap& bootstrap, const Options& options)
        : random_(options.seed), place_{session, bootstrap, random_}, plans_(producer_plans(options.rate)) {}

    protocol::Result<void> create_topics() {
        for (std::uint32_t topic = 0; topic < kPartitions.size(); ++topic) {
            proto::Topics create;
            create.set_action(proto::Topics::CREATE);
            create.set_name(sim::topic_name(topic));
            create.mutable_settings()->set_partitions(kPartitions[topic]);
            const auto made = ctl::ask_owner<proto::TopicsResponse>(place_.session, protocol::kMetadataStream,
                                                                    protocol::MessageType::kTopics, create);
            if (!made && made.error().code != protocol::ErrorCode::kExists) return std::unexpected(made.error());
        }
        return {};
    }

    void begin() {
        record.readers = {{"alone-0", 0, ""}, {"member-1", 1, "g"}, {"member-2", 1, "g"}, {"alone-2", 2, ""}};
        for (std::size_t i = 0; i < record.readers.size(); ++i)
            consumers_.push_back(std::make_unique<chaos::Consumer>(
                place_, record.readers[i].topic, record.readers[i].group,
                [this, i](const chaos::Delivery& delivery) { record.deliveries.emplace_back(i, delivery); }));
        for (const ProducerPlan& plan : plans_)
            producers_.push_back(
                std::make_unique<chaos::Producer>(place_, static_cast<std::uint32_t>(producers_.size()), plan,
                                                  record.history, [this](const sim::Sent& sent) { on_report(sent); }));
        kill_some();
    }

    // Sends no more, and gives what is under way so long to be reported.
    bool end(protocol::Duration limit) {
        deaths_ = false;
        for (const auto& producer : producers_) producer->stop();
        return place_.session.loop().run_until(
            [this] { return std::ranges::all_of(producers_, [](const auto& producer) { return producer->idle(); }); },
            limit);
    }

    chaos::Record record;

private:
    void on_report(const sim::Sent& sent) {
        if (sent.outcome == sim::Outcome::kAcknowledged) record.acknowledged(place_.session.loop().now());
    }

    void kill_some() {
        place_.session.env().set_timer(random_.between(0ns, kBetweenDeaths * 2), [this] {
            if (!deaths_) return;
            const std::size_t chosen = random_.below(producers_.size() + consumers_.size());
            chaos::Client& client = chosen < producers_.size()
                                        ? static_cast<chaos::Client&>(*producers_[chosen])
                                        : static_cast<chaos::Client&>(*consumers_[chosen - producers_.size()]);
            client.die();
            kill_some();
        });
    }

    sim::Random random_;
    chaos::Place place_;
    std::vector<ProducerPlan> plans_;
    std::vector<std::unique_ptr<chaos::Producer>> producers_;
    std::vector<std::unique_ptr<chaos::Consumer>> consumers_;
    bool deaths_ = true;
};

void print_summary(const chaos::Record& record, const chaos::Judge& judge) {
    std::map<sim::Outcome, std::uint64_t> counts;
    for (const auto& producer : record.history.by_producer())
        for (const sim::Sent& sent : producer) ++counts[sent.outcome];
    const double seconds = std::chrono::duration<double>(record.last_acknowledged - record.began).count();
    const std::uint64_t acknowledged = counts[sim::Outcome::kAcknowledged];
    std::printf(
        "%s\n",
        fmt::format("{} acknowledged, {} unknown, {} failed, {} open, {} delivered; {} stand in {} streams, {} of them "
                    "orphans; {:.0f} acknowledged/s; longest time without an acknowledgement {:.2f} s",
                    acknowledged, counts[sim::Outcome::kUnknown], counts[sim::Outcome::kFailed],
                    counts[sim::Outcome::kPending], record.deliveries.size(), judge.standing(), judge.streams(),
                    judge.orphans(), seconds > 0 ? static_cast<double>(acknowledged) / seconds : 0.0,
                    std::chrono::duration<double>(record.longest_gap).count())
            .c_str());
}

protocol::Result<bool> run(const Options& options) {
    client::Bootstrap bootstrap;
    bootstrap.cluster = options.client.cluster.value_or("");
    for (const std::string& broker : options.client.brokers) {
        const auto endpoints = runtime::resolve_all(broker);
        if (!endpoints) return std::unexpected(endpoints.error());
        bootstrap.brokers.push_back(endpoints->front());
    }
    auto session = runtime::Session::open(kProgram, options.client);
    if (!session) return std::unexpected(session.error());
    bool over = false;
    for (const int signal : {SIGTERM, SIGINT}) (*session)->loop().on_signal(signal, [&over](int) { over = true; });
    for (std::uint32_t topic = 0; topic < kPartitions.size(); ++topic)
        (*session)->router().want_topic(sim::topic_name(topic), client::AutoCreate::kNo);
    if (auto connected = (*session)->connect(); !connected) return std::unexpected(connected.error());

    Load load(**session, bootstrap, options);
    if (auto made = load.create_topics(); !made) return std::unexpected(made.error());
    load.begin();
    std::fprintf(stderr, "%s: seed %llu\n", kProgram.data(), static_cast<unsigned long long>(options.seed));
    const auto time =
        options.seconds > 0
            ? std::chrono::duration_cast<protocol::Duration>(std::chrono::duration<double>(options.seconds))
            : protocol::Duration(std::chrono::hours(24 * 365));
    (*session)->loop().run_until([&over] { return over; }, time);

    const auto limit = std::chrono::duration_cast<protocol::Duration>(std::chrono::duration<double>(options.settle_s));
    chaos::Judge judge(**session, bootstrap.brokers, kPartitions.size(), limit);
    if (!load.end(limit))
        judge.violations().report("progress", "a producer still waits {} s after the end of the load",
                                  options.settle_s);
    judge.judge(load.record);
    print_summary(load.record, judge);
    for (const sim::Violation& violation : judge.violations().list())
        std::printf("BROKEN %s: %s\n", violation.promise.c_str(), violation.text.c_str());
    return judge.violations().none();
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app{kAbout, std::string(kProgram)};
    options.client.add_to(app);
    app.get_option("--brokers")->required();
    app.add_option("--seconds", options.seconds, "How long the load lasts; 0: until SIGTERM")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--rate", options.rate, "Records per second of all producers together")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--settle", options.settle_s, "How long all may take to agree after the load")
        ->type_name("S")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--seed", options.seed, "Of what the clients draw");
    if (const auto code = runtime::parse(app, argc, argv)) return *code;
    const auto kept = run(options);
    if (!kept) return runtime::complain(kProgram, kept.error());
    return *kept ? runtime::kDone : runtime::kFailed;
}
