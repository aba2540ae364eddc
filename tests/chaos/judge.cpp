#include "tests/chaos/judge.h"

#include <nlohmann/json.hpp>

#include "cmd/logstreamctl/command.h"

namespace logstream::chaos {

using namespace std::chrono_literals;
using protocol::ErrorCode;
using protocol::MessageType;
using protocol::Result;

namespace {
constexpr Duration kPoll = 200ms;
constexpr Duration kStable = 2s;  // longer than an orphan needs to return
constexpr Duration kReadLimit = 30s;
constexpr std::uint32_t kFetchBytes = 4u << 20;
}  // namespace

void Judge::judge(const Record& record) {
    if (!wait_until_settled()) return;
    read_logs();
    logs_.check(record.history, cluster_);
    for (const std::vector<sim::Sent>& producer : record.history.by_producer())
        for (const sim::Sent& sent : producer) committed_.on_report(sent);
    wait_for_readers(record);
    judge_deliveries(record);
    committed_.at_end();
}

void Judge::pass(Duration time) {
    session_.loop().run_until([] { return false; }, time);
}

bool Judge::wait_until_settled() {
    const TimePoint deadline = session_.loop().now() + limit_;
    TimePoint since{};
    std::string trouble;
    while (session_.loop().now() < deadline) {
        auto ends = ask_ends();
        const TimePoint now = session_.loop().now();
        if (!ends) trouble = ends.error().message;
        if (!ends || *ends != ends_ || since == TimePoint{}) since = ends ? now : TimePoint{};
        if (ends) ends_ = *std::move(ends);
        if (since != TimePoint{} && now - since >= kStable) return true;
        pass(kPoll);
    }
    violations_.report("progress", "the cluster has not settled {} s after the end of the load: {}",
                       std::chrono::duration_cast<std::chrono::seconds>(limit_).count(), trouble);
    return false;
}

Result<std::string> Judge::ask_view(env::Endpoint broker) {
    const auto answer = ctl::ask<proto::StatusResponse>(session_, broker, MessageType::kStatus, proto::Status{});
    if (!answer) return std::unexpected(answer.error());
    const auto status = nlohmann::json::parse(answer->json(), nullptr, false);
    if (!status.is_object() || !status.value("quorum", false))
        return protocol::fail(ErrorCode::kNoQuorum, "{} does not take writes", env::to_string(broker));
    const auto members = std::ranges::count_if(
        status["members"], [](const nlohmann::json& member) { return member["role"] != "learner"; });
    if (static_cast<std::size_t>(members) != brokers_.size())
        return protocol::fail(ErrorCode::kNoQuorum, "the view of {} has {} members", env::to_string(broker), members);
    return fmt::format("view {} of {}", status["view"].dump(), status["cluster_id"].dump());
}

Result<Judge::Ends> Judge::ask_ends() {
    std::optional<std::string> view;
    Ends ends;
    for (const env::Endpoint broker : brokers_) {
        auto told = ask_view(broker);
        if (!told) return std::unexpected(told.error());
        if (view.value_or(*told) != *told)
            return protocol::fail(ErrorCode::kTimeout, "{} at one broker, {} at another", *view, *told);
        view = *told;
        cluster_ = session_.router().view().cluster_id;
        for (std::uint32_t number = 0; number < topics_; ++number) {
            const auto topic = session_.router().view().topic(sim::topic_name(number));
            if (!topic) {  // heard from a broker that was catching up
                session_.router().refresh();
                return std::unexpected(topic.error());
            }
            numbers_[topic->id] = number;
            for (std::uint32_t partition = 0; partition < topic->partitions; ++partition) {
                proto::ListOffsets request;
                request.set_cluster_id(cluster_.value);
                request.set_topic(topic->id.value);
                request.set_partition(partition);
                request.set_timestamp_ms(-1);
                request.set_any_replica(true);
                const auto answer =
                    ctl::ask<proto::ListOffsetsResponse>(session_, broker, MessageType::kListOffsets, request);
                if (!answer) return std::unexpected(answer.error());
                const Offset end{answer->high_watermark()};
                const Offset first = ends.try_emplace({topic->id, partition}, end).first->second;
                if (first != end)
                    return protocol::fail(ErrorCode::kTimeout, "{}/{} ends at {} at {}, elsewhere at {}", topic->name,
                                          partition, end, env::to_string(broker), first);
            }
        }
    }
    return ends;
}

void Judge::read_logs() {
    for (const auto& [stream, end] : ends_) {
        for (const env::Endpoint broker : brokers_)
            if (auto log = read_log(broker, stream, end))
                logs_.add(env::to_string(broker), {cluster_, stream}, *std::move(log), Offset{});
        logs_.check_once(stream);
    }
}

std::optional<sim::ReplicaLogs::Log> Judge::read_log(env::Endpoint broker, StreamId stream, Offset end) {
    sim::ReplicaLogs::Log log;
    const TimePoint deadline = session_.loop().now() + kReadLimit;
    Offset next;
    while (next < end) {
        const auto read = read_some(broker, stream, next, end, log);
        if (read && *read > next) {
            next = *read;
            continue;
        }
        if (session_.loop().now() > deadline) {
            violations_.report("P8", "{} cannot read {} at offset {} in the end: {}", env::to_string(broker),
                               protocol::to_string(stream), next, read ? "nothing there" : read.error().message);
            return std::nullopt;
        }
        pass(kPoll);
    }
    return log;
}

Result<Offset> Judge::read_some(env::Endpoint broker, StreamId stream, Offset from, Offset end,
                                sim::ReplicaLogs::Log& log) {
    proto::Fetch request;
    request.set_cluster_id(cluster_.value);
    request.set_topic(stream.topic.value);
    request.set_partition(stream.partition);
    request.set_offset(from.value);
    request.set_max_bytes(kFetchBytes);
    request.set_any_replica(true);
    std::optional<Result<protocol::Message>> answer;
    session_.router().requests().send(broker, MessageType::kFetch, request.SerializeAsString(), {}, ctl::kAnswerLimit,
                                      [&answer](Result<protocol::Message> message) { answer = std::move(message); });
    while (!answer) session_.loop().run_until([&answer] { return answer.has_value(); }, ctl::kAnswerLimit);
    if (auto response = client::read_response<proto::FetchResponse>(*answer); !response)
        return std::unexpected(response.error());
    const auto batches = protocol::split_batches((*answer)->body);
    if (!batches) return std::unexpected(batches.error());
    for (const protocol::BatchView& batch : *batches) {
        if (!batch.crc_ok())
            violations_.report("P8", "in the end {} serves a damaged batch of {} at {}", env::to_string(broker),
                               protocol::to_string(stream), batch.base_offset());
        sim::Truth::decode(batch, [&](Offset offset, const sim::TrueRecord& record) {
            if (offset < end) log[offset] = record;
        });
        from = std::max(from, batch.next_offset());
    }
    return from;
}

// The group's last record too comes to somebody; who follows alone has to come to the end by himself.
void Judge::wait_for_readers(const Record& record) {
    std::set<std::pair<std::string, StreamId>> missing;
    for (const Reader& reader : record.readers)
        for (const auto& [stream, end] : ends_)
            if (numbers_.at(stream.topic) == reader.topic && end > Offset{0})
                missing.emplace(reader.audience(), stream);
    std::size_t seen = 0;
    const auto complete = [&] {
        for (; seen < record.deliveries.size(); ++seen) {
            const auto& [reader, delivery] = record.deliveries[seen];
            const auto end = ends_.find(delivery.stream);
            if (end != ends_.end() && delivery.offset + 1 >= end->second)
                missing.erase({record.readers[reader].audience(), delivery.stream});
        }
        return missing.empty();
    };
    if (!session_.loop().run_until(complete, limit_))
        violations_.report("progress", "{} has not come to the end of {}", missing.begin()->first,
                           protocol::to_string(missing.begin()->second));
}

void Judge::judge_deliveries(const Record& record) {
    std::map<std::pair<std::string, StreamId>, std::vector<bool>> got;
    for (const auto& [index, delivery] : record.deliveries) {
        const Reader& reader = record.readers[index];
        committed_.on_delivery(reader.name, delivery, !reader.group.empty());
        std::vector<bool>& offsets = got[{reader.audience(), delivery.stream}];
        const auto at = static_cast<std::size_t>(delivery.offset.value);
        if (offsets.size() <= at) offsets.resize(at + 1);
        offsets[at] = true;
    }
    for (const Reader& reader : record.readers)
        for (const auto& [stream, end] : ends_)
            if (numbers_.at(stream.topic) == reader.topic)
                committed_.check_complete(reader.audience(), {cluster_, stream}, got[{reader.audience(), stream}]);
}

}  // namespace logstream::chaos
