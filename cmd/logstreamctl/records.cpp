// logstreamctl append and query: one record in, records out with what the log knows of them.
#include "cmd/logstreamctl/command.h"
#include "cmd/runtime/topic_hint.h"
#include "internal/client/producer.h"
#include "internal/client/topic_name.h"
#include "internal/text/utf8.h"

namespace logstream::ctl {

namespace {

constexpr std::uint32_t kQueryBytes = 4u << 20;

// By name; as a list of what is in base64 where a JSON object would lose something: a name that comes twice, or bytes
// that are not UTF-8.
void put_headers(json& out, const std::vector<protocol::Header>& headers) {
    if (headers.empty()) return;
    json by_name = json::object();
    json listed = json::array();
    bool lossless = true;
    for (const protocol::Header& header : headers) {
        lossless &= text::is_utf8(header.key) && text::is_utf8(header.value.value_or("")) &&
                    !by_name.contains(std::string(header.key));
        by_name[std::string(header.key)] = header.value ? json(std::string(*header.value)) : json(nullptr);
        listed.push_back({{"key", text::base64(header.key)},
                          {"value", header.value ? json(text::base64(*header.value)) : json(nullptr)}});
    }
    out[lossless ? "headers" : "headers_base64"] = lossless ? by_name : listed;
}

// Reads what one broker holds of a stream, committed or not.
class StreamQuery {
public:
    StreamQuery(runtime::Session& session, Endpoint broker, const client::Topic& topic, std::uint32_t partition,
                bool json)
        : session_(session), broker_(broker), topic_(topic), partition_(partition), json_(json) {}

    // Prints records from `from` on until the log ends or `left` is 0; `from` goes on with what was printed.
    Result<void> run(std::int64_t& from, std::uint64_t& left) {
        proto::ListOffsets ends;
        ends.set_cluster_id(session_.router().view().cluster_id.value);
        ends.set_topic(topic_.id.value);
        ends.set_partition(partition_);
        ends.set_timestamp_ms(-1);
        ends.set_any_replica(true);
        const auto known = ask<proto::ListOffsetsResponse>(session_, broker_, MessageType::kListOffsets, ends);
        if (!known) return std::unexpected(known.error());
        next_ = std::max(from, known->log_start());
        high_watermark_ = known->high_watermark();
        while (left > 0) {
            auto more = fetch(left);
            from = next_;
            if (!more) return std::unexpected(more.error());
            if (!*more) break;
        }
        return {};
    }

private:
    // False at the log's end.
    Result<bool> fetch(std::uint64_t& left) {
        proto::Fetch request;
        request.set_cluster_id(session_.router().view().cluster_id.value);
        request.set_topic(topic_.id.value);
        request.set_partition(partition_);
        request.set_offset(next_);
        request.set_max_bytes(kQueryBytes);
        request.set_any_replica(true);
        request.set_catch_up_limit(std::numeric_limits<std::int64_t>::max());
        std::optional<Result<protocol::Message>> answer;
        session_.router().requests().send(
            broker_, MessageType::kFetch, request.SerializeAsString(), {}, kAnswerLimit,
            [&answer](Result<protocol::Message> message) { answer = std::move(message); });
        while (!answer) session_.loop().run_until([&answer] { return answer.has_value(); }, kAnswerLimit);
        const auto response = client::read_response<proto::FetchResponse>(*answer);
        if (!response) {
            if (response.error().code == ErrorCode::kOffsetOutOfRange) return false;
            return std::unexpected(response.error());
        }
        high_watermark_ = std::max(high_watermark_, response->high_watermark());
        const auto batches = protocol::split_batches((*answer)->body);
        if (!batches) return std::unexpected(batches.error());
        for (const protocol::BatchView& batch : *batches) {
            if (!batch.crc_ok())
                return protocol::fail(ErrorCode::kCorrupt, "a batch with a wrong checksum at offset {}",
                                      batch.base_offset().value);
            if (auto printed = print_batch(batch, left); !printed) return std::unexpected(printed.error());
            next_ = std::max(next_, batch.next_offset().value);
        }
        return !batches->empty();
    }

    Result<void> print_batch(const protocol::BatchView& batch, std::uint64_t& left) {
        if (batch.is_control()) return {};
        std::int64_t at = std::max(next_, batch.base_offset().value);
        const auto read = batch.for_each(protocol::kMaxStoredRecordsBytes, [&](const protocol::Record& record) {
            if (left == 0) return false;
            if (record.offset.value < next_) return true;
            --left;
            print_record(record, batch.leader_epoch().value);
            if (std::ferror(stdout) != 0) left = 0;  // nobody would read the rest
            at = record.offset.value + 1;
            return true;
        });
        if (read) return {};
        return protocol::fail(read.error().code,
                              "partition {}: the records at offsets {} to {} cannot be decoded: {}. Continue after "
                              "them with --from {}",
                              partition_, at, batch.last_offset(), read.error().message, batch.next_offset());
    }

    void print_record(const protocol::Record& record, std::uint64_t view) const {
        const bool committed = record.offset.value < high_watermark_;
        if (!json_) {
            const std::string line = fmt::format("{}/{} view={} {} {}\n", partition_, record.offset.value, view,
                                                 committed ? "committed" : "UNCOMMITTED", record.value.value_or(""));
            std::fwrite(line.data(), 1, line.size(), stdout);
            return;
        }
        json out{{"offset", record.offset.value},
                 {"view", view},
                 {"committed", committed},
                 {"timestamp", record.timestamp_ms},
                 {"partition", partition_}};
        text::put(out, "key", record.key);
        text::put(out, "value", record.value);
        put_headers(out, record.headers);
        std::printf("%s\n", text::dump(out).c_str());
    }

    runtime::Session& session_;
    Endpoint broker_;
    const client::Topic& topic_;
    std::uint32_t partition_;
    bool json_;
    std::int64_t next_{};
    std::int64_t high_watermark_{};
};

}  // namespace

int append(const Common& common, const AppendOptions& options) {
    auto session = runtime::Session::open("logstreamctl", common.client);
    if (!session) return complain(session.error());
    std::optional<client::BatchReport> report;
    std::optional<Error> error;
    client::ProducerOptions how;
    how.topic = options.topic;
    how.linger = {};
    how.timeout = options.timeout;
    client::Producer producer((*session)->router(), how, [&report](const client::BatchReport& told) { report = told; });
    producer.start([&](const Result<void>& ready) {
        if (!ready) {
            error = ready.error();
            return;
        }
        client::Producer::Record record{.key = {}, .value = options.content, .partition = options.partition};
        if (options.key) record.key = *options.key;
        if (auto sent = producer.send(record); !sent) error = sent.error();
    });
    if (!error) (*session)->router().start();
    (*session)->loop().run_until([&] { return error || report; }, Duration::max());
    if (!error && !report->outcome) error = report->outcome.error();
    if (error) return complain(*error);
    if (common.json) {
        std::printf("%s\n", text::dump(json{{"topic", options.topic},
                                            {"partition", report->partition},
                                            {"offset", report->outcome->value}})
                                .c_str());
    } else {
        std::printf("appended to %s/%u at offset %lld\n", options.topic.c_str(), report->partition,
                    static_cast<long long>(report->outcome->value));
    }
    return runtime::kDone;
}

int query(const Common& common, const QueryOptions& options) {
    if (auto valid = client::check_topic_name(options.topic); !valid) return complain(valid.error());
    auto session = connect(
        common, [&options](client::Router& router) { router.want_topic(options.topic, client::AutoCreate::kNo); });
    if (!session) return complain(session.error());
    const client::ClusterView view = (*session)->router().view();
    const auto topic = view.topic(options.topic);
    if (!topic) return complain(runtime::with_topic_hint(topic.error(), **session, options.topic));
    if (options.partition)
        if (auto valid = client::check_partition(options.topic, topic->partitions, *options.partition); !valid)
            return complain(valid.error());
    std::uint64_t left = options.count.value_or(std::numeric_limits<std::uint64_t>::max());
    for (std::uint32_t partition = 0; partition < topic->partitions; ++partition) {
        if (options.partition.value_or(partition) != partition) continue;
        std::vector<Endpoint> brokers;
        if (!options.at.empty()) {
            const auto member = find_member(view, options.at);
            const auto endpoints = member ? std::vector<Endpoint>{member->endpoint} : runtime::resolve_all(options.at);
            if (!endpoints) return complain(member.error());
            brokers = *endpoints;
        } else {
            for (const protocol::NodeId id : view.replicas({topic->id, partition}))
                brokers.push_back(view.find(id)->endpoint);
        }
        Result<void> printed = protocol::fail(ErrorCode::kNetwork, "no broker is known");
        std::int64_t from = options.from;
        for (const Endpoint broker : brokers) {
            printed = StreamQuery(**session, broker, *topic, partition, common.json).run(from, left);
            if (printed) break;
        }
        if (!printed) return complain(printed.error());
    }
    return runtime::kDone;
}

}  // namespace logstream::ctl
