// logstreamctl merge: every record of a cluster that was bootstrapped apart, appended to this one, once.
#include <algorithm>
#include <charconv>

#include "cmd/logstreamctl/command.h"
#include "internal/client/consumer.h"
#include "internal/client/producer.h"
#include "internal/client/shared_history.h"

namespace logstream::ctl {

namespace {

// The record header that names where a merged record comes from: "lineage/partition/offset". It makes a run that was
// cut off go on where it stopped; sequences alone would not do, since retention moves the log's start.
constexpr std::string_view kOriginHeader = "logstream.merged";
constexpr Duration kRecordTimeout = std::chrono::minutes(2);
constexpr Duration kCommitInterval = std::chrono::milliseconds(50);
constexpr Duration kCommitPatience = std::chrono::seconds(1);  // before it says what it waits for
constexpr std::int64_t kFirstTail = 4096;

struct Origin {
    std::string prefix;  // "lineage/partition/"
    std::optional<std::int64_t> offset_of(const protocol::Record& record) const {
        for (const protocol::Header& header : record.headers) {
            if (header.key != kOriginHeader || !header.value || !header.value->starts_with(prefix)) continue;
            std::int64_t offset = -1;
            const std::string_view digits = header.value->substr(prefix.size());
            if (std::from_chars(digits.data(), digits.data() + digits.size(), offset).ec == std::errc{}) return offset;
        }
        return std::nullopt;
    }
};

// Offsets, as few ranges.
class OffsetSet {
public:
    void add(std::int64_t offset) {
        if (contains(offset)) return;
        ++size_;
        auto next = ends_.upper_bound(offset);
        std::int64_t end = offset + 1;
        if (next != ends_.end() && next->first == end) {
            end = next->second;
            next = ends_.erase(next);
        }
        if (next != ends_.begin() && std::prev(next)->second == offset)
            std::prev(next)->second = end;
        else
            ends_[offset] = end;
    }
    bool contains(std::int64_t offset) const {
        const auto next = ends_.upper_bound(offset);
        return next != ends_.begin() && std::prev(next)->second > offset;
    }
    std::int64_t size() const { return size_; }
    std::int64_t last() const { return ends_.empty() ? -1 : ends_.rbegin()->second - 1; }

private:
    std::map<std::int64_t, std::int64_t> ends_;  // by begin
    std::int64_t size_{};
};

std::int64_t count_of(const std::vector<client::SequenceRange>& ranges) {
    std::int64_t count = 0;
    for (const client::SequenceRange range : ranges) count += range.last - range.first + 1;
    return count;
}

class Merger {
public:
    Merger(runtime::Session& session, client::Router& source)
        : session_(session), target_(session.router()), source_(source) {}

    std::uint64_t copied() const { return copied_; }
    // Offsets that both lineages have from the one that they go back to.
    std::int64_t shared() const { return shared_; }

    // Topics first, then the records of each partition in their order.
    Result<void> copy_all() {
        shared_ = 0;
        if (auto looked = look_at_histories(); !looked) return looked;
        for (const client::Topic& topic : source_.view().topics()) {
            auto partitions = make_topic(topic);
            if (!partitions) return std::unexpected(partitions.error());
            for (std::uint32_t partition = 0; partition < topic.partitions; ++partition) {
                auto copied = copy(topic, partition, partition % *partitions);
                if (!copied)
                    return protocol::fail(copied.error().code, "{}/{}: {}", topic.name, partition,
                                          copied.error().message);
            }
        }
        return {};
    }

    Result<void> tell_source(proto::Admin::Action action) {
        proto::Admin request;
        request.set_action(action);
        request.set_cluster_id(source_.view().cluster_id.value);
        const auto answers = ask_brokers<proto::AdminResponse>(source_, MessageType::kAdmin, request);
        if (!answers) return std::unexpected(answers.error());
        return {};
    }

    // Waits until all that the sealed source took is committed. What is only appended may be acknowledged yet, and
    // would be lost with the brokers that are retired.
    Result<void> wait_for_commits() {
        const auto began = session_.loop().now();
        bool said = false;
        while (true) {
            const auto waiting = find_uncommitted();
            if (!waiting) return std::unexpected(waiting.error());
            if (waiting->empty()) return {};
            const protocol::Duration waited = session_.loop().now() - began;
            if (waited > kRecordTimeout)
                return protocol::fail(
                    ErrorCode::kTimeout,
                    "{}: it is not known whether these were acknowledged. The other cluster's brokers are not retired; "
                    "check them with logstreamctl status --brokers, and run the merge again",
                    *waiting);
            if (!said && waited > kCommitPatience) {
                std::fprintf(stderr, "logstreamctl: waiting for the other cluster to commit %s\n", waiting->c_str());
                said = true;
            }
            session_.loop().run_until([] { return false; }, kCommitInterval);
        }
    }

private:
    void wait(const std::function<bool()>& done) {
        while (!session_.loop().run_until(done, std::chrono::hours(1))) {
        }
    }

    // Asks each broker of a lineage's view as it is then. One that left the lineage, when a run that was cut off told
    // it so, takes no records of it any more, and is not among the answers.
    template <class Response, class Proto>
    Result<std::vector<Response>> ask_brokers(client::Router& router, MessageType type, const Proto& request) {
        const auto began = session_.loop().now();
        while (true) {
            const client::ClusterView view = router.view();
            router.refresh();
            auto answers = ask_members<Response>(router, view, type, request);
            const auto changed = [&] { return router.view().number != view.number; };
            if (answers && !changed()) return answers;
            // A broker that failed is soon of the view no more.
            if (!answers && session_.loop().now() - began > kOwnerLimit) return answers;
            session_.loop().run_until(changed, kCommitInterval);
        }
    }

    template <class Response, class Proto>
    Result<std::vector<Response>> ask_members(client::Router& router, const client::ClusterView& view, MessageType type,
                                              const Proto& request) {
        std::vector<Response> answers;
        for (const Broker& broker : view.members) {
            std::optional<Result<Response>> answer;
            router.requests().send(broker.endpoint, type, request.SerializeAsString(), {}, kAnswerLimit,
                                   [&answer](const Result<protocol::Message>& message) {
                                       answer = client::read_response<Response>(message);
                                   });
            wait([&answer] { return answer.has_value(); });
            if (*answer) {
                answers.push_back(*std::move(*answer));
            } else if (answer->error().code != ErrorCode::kWrongCluster) {
                return protocol::fail(answer->error().code, "{} at {}: {}", broker.name,
                                      env::to_string(broker.endpoint), answer->error().message);
            }
        }
        return answers;
    }

    // What each broker of a lineage holds.
    Result<std::vector<proto::VerifyResponse>> holdings(client::Router& router) {
        proto::Verify request;
        request.set_cluster_id(router.view().cluster_id.value);
        return ask_brokers<proto::VerifyResponse>(router, MessageType::kVerify, request);
    }

    // What most is known to be committed of each stream.
    Result<void> look_at_histories() {
        if (!client::common_lineage(source_.view(), target_.view())) return {};
        for (client::Router* router : {&source_, &target_}) {
            const auto answers = holdings(*router);
            if (!answers) return std::unexpected(answers.error());
            auto& history = router == &source_ ? theirs_ : ours_;
            for (const proto::VerifyResponse& answer : *answers)
                for (const proto::StreamDigest& digest : answer.streams()) {
                    proto::StreamSummary& known = history[{digest.summary().topic(), digest.summary().partition()}];
                    if (digest.summary().high_watermark() >= known.high_watermark()) known = digest.summary();
                }
        }
        return {};
    }

    // Below this offset both have the same records: a topic of the same id is the one that they had in common.
    std::int64_t find_shared(const client::Topic& topic, std::uint32_t partition) {
        const auto theirs = theirs_.find({topic.id.value, partition});
        const auto ours = ours_.find({topic.id.value, partition});
        const auto here = target_.view().topic(topic.name);
        if (theirs == theirs_.end() || ours == ours_.end() || !here || here->id != topic.id) return 0;
        const auto end = client::shared_end(source_.view(), theirs->second, target_.view(), ours->second).value;
        return std::min({end, theirs->second.high_watermark(), ours->second.high_watermark()});
    }

    // A stream of which some broker of the source holds more than another knows to be committed, in words; or empty.
    Result<std::string> find_uncommitted() {
        const auto answers = holdings(source_);
        if (!answers) return std::unexpected(answers.error());
        std::map<std::pair<std::uint64_t, std::uint32_t>, std::int64_t> ends;
        for (const proto::VerifyResponse& answer : *answers) {
            for (const proto::StreamDigest& digest : answer.streams()) {
                std::int64_t& end = ends[{digest.summary().topic(), digest.summary().partition()}];
                end = std::max(end, digest.summary().log_end());
            }
        }
        for (const proto::VerifyResponse& answer : *answers) {
            for (const proto::StreamDigest& digest : answer.streams()) {
                const proto::StreamSummary& summary = digest.summary();
                const std::int64_t missing = ends.at({summary.topic(), summary.partition()}) - summary.high_watermark();
                if (missing > 0)
                    return fmt::format("{} records of {}/{}", missing, digest.topic_name(), summary.partition());
            }
        }
        return std::string();
    }

    // The number of partitions that the topic has here.
    Result<std::uint32_t> make_topic(const client::Topic& topic) {
        proto::Topics request;
        request.set_action(proto::Topics::CREATE);
        request.set_name(topic.name);
        *request.mutable_settings() = topic.settings;
        const auto made =
            ask_owner<proto::TopicsResponse>(session_, protocol::kMetadataStream, MessageType::kTopics, request);
        if (!made && made.error().code != ErrorCode::kExists) return std::unexpected(made.error());
        target_.want_topic(topic.name, client::AutoCreate::kNo);
        const auto known = [&] { return target_.view().topic(topic.name).has_value(); };
        for (int tries = 0; tries < 100 && !known(); ++tries) {
            target_.refresh();
            session_.loop().run_until(known, std::chrono::milliseconds(100));
        }
        const auto here = target_.view().topic(topic.name);
        if (!here) return std::unexpected(here.error());
        return here->partitions;
    }

    Result<void> copy(const client::Topic& topic, std::uint32_t partition, std::uint32_t to) {
        const Origin origin{fmt::format("{}/{}/", protocol::to_string(source_.view().cluster_id), partition)};
        client::ProducerOptions options;
        options.topic = topic.name;
        options.timeout = kRecordTimeout;
        options.auto_create = client::AutoCreate::kNo;
        options.name =
            fmt::format("merge/{}/{}/{}", protocol::to_string(source_.view().cluster_id), topic.name, partition);
        options.resumes = true;
        options.named_partition = to;
        std::optional<Error> failure;
        client::Producer producer(target_, options, [&](const client::BatchReport& report) {
            if (!report.outcome)
                failure = report.outcome.error();
            else
                copied_ += report.records;
        });
        std::optional<Result<void>> ready;
        producer.start([&ready](Result<void> result) { ready = std::move(result); });
        wait([&ready] { return ready.has_value(); });
        if (!*ready) return *ready;

        const std::int64_t shared = find_shared(topic, partition);
        shared_ += shared;
        client::StartAt start{client::StartAt::Kind::kOffset, shared, true};
        const client::SentBefore& before = producer.sent_before(to);
        OffsetSet copied;
        if (!before.missing.empty()) {
            auto found = all_copied(topic.name, to, origin);
            if (!found) return std::unexpected(found.error());
            copied = *std::move(found);
            if (copied.size() != before.count() - count_of(before.missing))
                return protocol::fail(ErrorCode::kInvalid,
                                      "some records that an earlier run appended here were lost and some were "
                                      "deleted by retention: it is not known which records are missing");
        } else if (before.count() > 0) {
            const auto last = last_copied(topic.name, to, origin);
            if (!last) return std::unexpected(last.error());
            start.value = *last + 1;
        }
        client::ConsumerOptions from;
        from.topic = topic.name;
        from.partition = partition;
        from.start = start;
        std::int64_t filled = 0;  // records that an earlier run appended and that were lost
        std::optional<Result<void>> finished;
        client::Consumer consumer(
            source_, from,
            [&](const client::ConsumedRecord& consumed) {
                if (copied.contains(consumed.offset.value)) return true;
                filled += consumed.offset.value < copied.last() ? 1 : 0;
                const std::string key = fmt::format("{}{}", origin.prefix, consumed.offset.value);
                std::vector<protocol::Header> headers = consumed.record.headers;
                headers.push_back({kOriginHeader, key});
                const auto sent = producer.send({.key = consumed.record.key,
                                                 .value = consumed.record.value,
                                                 .partition = to,
                                                 .timestamp_ms = consumed.record.timestamp_ms,
                                                 .headers = headers});
                if (!sent) failure = sent.error();
                return !failure && producer.has_room();
            },
            [&finished](Result<void> result) { finished = std::move(result); });
        producer.on_progress([&] {
            if (producer.has_room()) consumer.resume();
        });
        consumer.start();
        wait([&] { return finished || failure; });
        producer.flush();
        wait([&] { return producer.idle() || failure; });
        if (failure) return std::unexpected(*failure);
        if (const std::int64_t gone = count_of(before.missing) - filled; gone > 0)
            std::fprintf(stderr,
                         "logstreamctl: %s/%u: %lld records that an earlier run appended were lost, and the other "
                         "cluster no longer has them (retention)\n",
                         topic.name.c_str(), partition, static_cast<long long>(gone));
        // The rest of its cluster may have been retired by an earlier run, which had copied all of it.
        if (!*finished && finished->error().code == ErrorCode::kNoQuorum) {
            std::fprintf(stderr, "logstreamctl: %s: copied only what is known to be committed there\n",
                         finished->error().message.c_str());
            return {};
        }
        return *finished;
    }

    // The source's offsets of all records that earlier runs copied and that are there.
    Result<OffsetSet> all_copied(const std::string& topic, std::uint32_t partition, const Origin& origin) {
        OffsetSet found;
        const auto read = read_target(topic, partition, {client::StartAt::Kind::kEarliest},
                                      [&](const client::ConsumedRecord& consumed) {
                                          if (const auto offset = origin.offset_of(consumed.record)) found.add(*offset);
                                      });
        if (!read) return std::unexpected(read.error());
        return found;
    }

    Result<void> read_target(const std::string& topic, std::uint32_t partition, client::StartAt start,
                             const std::function<void(const client::ConsumedRecord&)>& each) {
        client::ConsumerOptions options;
        options.topic = topic;
        options.partition = partition;
        options.start = start;
        std::optional<Result<void>> finished;
        client::Consumer consumer(
            target_, options,
            [&each](const client::ConsumedRecord& consumed) {
                each(consumed);
                return true;
            },
            [&finished](Result<void> result) { finished = std::move(result); });
        consumer.start();
        wait([&finished] { return finished.has_value(); });
        return *finished;
    }

    // The source's offset of the last record that an earlier run copied. Its producer has been fenced, so none comes
    // any more. The greatest, not the last here: a view change may have appended some again, later.
    Result<std::int64_t> last_copied(const std::string& topic, std::uint32_t partition, const Origin& origin) {
        using Kind = client::StartAt::Kind;
        client::StartAt start{Kind::kTail, kFirstTail};
        while (true) {
            std::optional<std::int64_t> last;
            std::int64_t seen = 0;
            const auto read = read_target(topic, partition, start, [&](const client::ConsumedRecord& consumed) {
                ++seen;
                if (const auto offset = origin.offset_of(consumed.record)) last = std::max(last, offset);
            });
            if (!read) return std::unexpected(read.error());
            if (last) return *last;
            if (start.kind == Kind::kEarliest)
                return protocol::fail(
                    ErrorCode::kInvalid,
                    "records that an earlier run copied here are gone (retention): it is not known where to continue");
            // Fewer records than offsets: the log is no longer, or the brokers' own batches or a compaction took some.
            start =
                seen < start.value ? client::StartAt{Kind::kEarliest} : client::StartAt{Kind::kTail, start.value * 16};
        }
    }

    runtime::Session& session_;
    client::Router& target_;
    client::Router& source_;
    std::uint64_t copied_{};
    std::int64_t shared_{};
    using Histories = std::map<std::pair<std::uint64_t, std::uint32_t>, proto::StreamSummary>;  // by topic, partition
    Histories theirs_;
    Histories ours_;
};

}  // namespace

int merge(const Common& common, const MergeOptions& options) {
    auto session = connect(common);
    if (!session) return complain(session.error());
    client::Bootstrap bootstrap;
    bootstrap.cluster = (*session)->flags().cluster.value_or("");
    for (const std::string& text : options.from) {
        const auto endpoints = runtime::resolve_all(text);
        if (endpoints) bootstrap.brokers.insert(bootstrap.brokers.end(), endpoints->begin(), endpoints->end());
        if (!endpoints && text == options.from.back() && bootstrap.brokers.empty()) return complain(endpoints.error());
    }
    client::Router source((*session)->env(), bootstrap);
    source.want_all_topics();
    source.start();
    while (!(*session)->loop().run_until([&source] { return source.view().known() || source.failure(); },
                                         std::chrono::hours(1))) {
    }
    if (source.failure()) return complain(*source.failure());
    if (source.view().cluster_id == (*session)->router().view().cluster_id)
        return complain({ErrorCode::kInvalid,
                         "both belong to the same lineage: there is nothing to merge (name the cluster to merge "
                         "into with --brokers)"});
    source.pin_lineage();
    (*session)->router().pin_lineage();

    Merger merger(**session, source);
    if (auto copied = merger.copy_all(); !copied) return complain(copied.error());
    if (!options.keep) {
        // What came in meanwhile is copied when nothing can come any more. A broker that restarted forgot that it is
        // sealed: all are told again until a copy finds nothing new.
        std::uint64_t before = 0;
        do {
            before = merger.copied();
            if (auto sealed = merger.tell_source(proto::Admin::SEAL); !sealed) return complain(sealed.error());
            if (auto settled = merger.wait_for_commits(); !settled) return complain(settled.error());
            if (auto copied = merger.copy_all(); !copied) return complain(copied.error());
        } while (merger.copied() > before);
        if (auto retired = merger.tell_source(proto::Admin::RETIRE); !retired) return complain(retired.error());
    }
    const std::string lineage = protocol::to_string(source.view().cluster_id);
    if (common.json) {
        print({{"merged", lineage},
               {"records", merger.copied()},
               {"shared_offsets", merger.shared()},
               {"retired", !options.keep}});
    } else {
        std::printf("appended %llu records of lineage %s%s\n", static_cast<unsigned long long>(merger.copied()),
                    lineage.c_str(), options.keep ? "" : " and retired its brokers");
        if (merger.shared() > 0)
            std::printf(
                "skipped what both clusters share from their common past (lineage %s): %lld offsets\n",
                protocol::to_string(*client::common_lineage(source.view(), (*session)->router().view())).c_str(),
                static_cast<long long>(merger.shared()));
    }
    return runtime::kDone;
}

}  // namespace logstream::ctl
