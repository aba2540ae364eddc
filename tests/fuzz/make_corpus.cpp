// Writes what the fuzzer begins with: make_corpus DIR fills DIR/<target>/ with inputs made by the real encoders, and
// DIR/<target>.dict with words.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "internal/config/setting.h"
#include "internal/protocol/message.h"
#include "internal/protocol/record_codec.h"
#include "internal/replication/session_message.h"
#include "internal/storage/orphan_file.h"
#include "internal/storage/state_file.h"
#include "internal/view/record.h"
#include "tests/fuzz/store_files.h"

namespace logstream::fuzz {

using protocol::Codec;
using protocol::MessageType;

namespace {

class Corpus {
public:
    explicit Corpus(std::filesystem::path dir) : dir_(std::move(dir)) {}

    void add(const std::string& target, Input bytes) {
        std::filesystem::create_directories(dir_ / target);
        write(dir_ / target / fmt::format("seed-{}", ++count_), bytes);
    }
    void add(const std::string& target, std::string_view text) { add(target, std::as_bytes(std::span(text))); }
    void add(const std::string& target, std::uint8_t first, Input bytes) {
        std::vector<std::byte> all{std::byte{first}};
        all.insert(all.end(), bytes.begin(), bytes.end());
        add(target, all);
    }
    void words(const std::string& target, const std::vector<std::string>& all) {
        std::ofstream file(dir_ / (target + ".dict"));
        for (const std::string& word : all) file << '"' << word << "\"\n";
    }

private:
    static void write(const std::filesystem::path& path, Input bytes) {
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
    std::filesystem::path dir_;
    unsigned count_{};
};

Input bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

Bytes make_batch(protocol::BatchOptions options, int records, std::string_view value = "value") {
    protocol::BatchBuilder builder(options);
    const std::array headers{protocol::Header{"name", "text"}, protocol::Header{"empty", std::nullopt}};
    for (int i = 0; i < records; ++i) {
        if (records == 1)
            builder.add(1000, std::nullopt, value);
        else
            builder.add(1000 + i, i % 2 == 0 ? std::optional("key") : std::nullopt, value, headers);
    }
    return *builder.finish();
}

Bytes at_offset(Bytes batch, std::int64_t offset, std::uint64_t view = 3) {
    protocol::assign(batch, storage::Offset{offset}, storage::ViewNumber{view});
    return batch;
}

view::View sample_view() {
    view::View view;
    view.number = storage::ViewNumber{5};
    view.coordinator = protocol::NodeId{1};
    for (std::uint64_t id : {1, 2, 3})
        view.members.push_back(
            {protocol::NodeId{id}, protocol::Incarnation{id}, "n", 0x0a000000U + static_cast<std::uint32_t>(id), 8001});
    view.bases.push_back({storage::ViewNumber{4}, protocol::NodeId{1}, {protocol::NodeId{1}, protocol::NodeId{2}}});
    view.window_bytes = 1u << 20;
    view.frame_bytes = 1472;
    return view;
}

void add_records(Corpus& corpus) {
    for (std::uint8_t codec = 0; codec < protocol::kCodecCount; ++codec) {
        const std::string text(300, 'x');
        corpus.add("compression", codec, protocol::compress(static_cast<Codec>(codec), bytes_of(text))->span());
        const Bytes batch = at_offset(make_batch({.codec = static_cast<Codec>(codec)}, 20), 100);
        corpus.add("record_batch", batch.span());
        const auto orphan = protocol::as_orphan(*protocol::BatchView::parse(batch), protocol::ClusterId{7}, 1u << 20);
        corpus.add("record_batch", orphan->span());
    }
    corpus.add("record_batch", make_batch({}, 1).span());
    corpus.add("record_batch",
               make_batch({.producer_id = protocol::ProducerId{5}, .producer_epoch = 1, .base_sequence = 9}, 3).span());
}

std::string encoded(const google::protobuf::Message& message) { return message.SerializeAsString(); }

proto::JoinResponse sample_answer() {
    proto::JoinResponse response;
    response.set_cluster("logstream");
    response.set_cluster_id(1);
    *response.mutable_view() = view::to_proto(sample_view());
    *response.mutable_responder() = response.view().members(0);
    response.set_serving(true);
    response.set_has_records(true);
    return response;
}

// What the targets that take messages begin with: the type and the message.
std::vector<std::pair<MessageType, std::string>> sample_messages() {
    std::vector<std::pair<MessageType, std::string>> all;
    const proto::View view = view::to_proto(sample_view());
    const auto add = [&all](MessageType type, const google::protobuf::Message& m) {
        all.emplace_back(type, encoded(m));
    };

    proto::Join join;
    join.set_cluster("logstream");
    *join.mutable_node() = view.members(1);
    add(MessageType::kJoin, join);
    add(MessageType::kJoinResponse, sample_answer());
    proto::Heartbeat heartbeat;
    heartbeat.set_cluster_id(1);
    heartbeat.set_view(1);
    heartbeat.set_node(2);
    heartbeat.set_last_sequence(9);
    add(MessageType::kHeartbeat, heartbeat);
    proto::Nack nack;
    nack.set_cluster_id(1);
    nack.set_view(1);
    nack.set_node(1);
    nack.add_ranges()->set_last(3);
    add(MessageType::kNack, nack);
    proto::Election election;
    election.set_id(1);
    election.set_candidate(2);
    election.add_ring(2);
    *election.add_members() = view.members(1);
    add(MessageType::kElection, election);
    proto::Probe probe;
    *probe.mutable_from() = view.members(1);
    add(MessageType::kProbe, probe);
    proto::StateExchange exchange;
    exchange.set_cluster_id(1);
    exchange.set_number(6);
    *exchange.mutable_coordinator() = view.members(0);
    add(MessageType::kStateExchange, exchange);
    proto::ViewInstall install;
    install.set_cluster_id(1);
    *install.mutable_view() = view;
    install.add_streams()->set_topic(1);
    add(MessageType::kViewInstall, install);
    proto::ViewChosen chosen;
    chosen.set_cluster_id(1);
    *chosen.mutable_view() = view;
    add(MessageType::kViewChosen, chosen);
    proto::Learn learn;
    learn.set_cluster_id(1);
    *learn.mutable_node() = view.members(1);
    learn.set_ready(true);
    add(MessageType::kLearn, learn);
    proto::Produce produce;
    produce.set_cluster_id(1);
    produce.set_topic(1);
    add(MessageType::kProduce, produce);
    proto::Orphan orphan;
    orphan.set_cluster_id(1);
    orphan.set_topic(1);
    orphan.set_lineage(2);
    add(MessageType::kOrphan, orphan);
    proto::Fetch fetch;
    fetch.set_cluster_id(1);
    fetch.set_topic(1);
    fetch.set_max_bytes(1000);
    add(MessageType::kFetch, fetch);
    proto::ListOffsets offsets;
    offsets.set_cluster_id(1);
    offsets.set_topic(1);
    offsets.set_timestamp_ms(1000);
    add(MessageType::kListOffsets, offsets);
    proto::Subscribe subscribe;
    subscribe.set_group("g");
    subscribe.set_member("m");
    subscribe.add_topics("topic");
    subscribe.set_cluster_id(1);
    add(MessageType::kSubscribe, subscribe);
    proto::CommitOffsets commit;
    commit.set_group("g");
    commit.set_member("m");
    commit.set_cluster_id(1);
    commit.add_offsets()->set_topic("topic");
    add(MessageType::kCommitOffsets, commit);
    proto::Groups groups;
    groups.set_action(proto::Groups::DELETE);
    groups.set_group("g");
    groups.set_cluster_id(1);
    add(MessageType::kGroups, groups);
    proto::Topics topics;
    topics.set_action(proto::Topics::CREATE);
    topics.set_name("other");
    topics.mutable_settings()->set_partitions(2);
    add(MessageType::kTopics, topics);
    topics.set_action(proto::Topics::ALTER);
    topics.mutable_alteration()->set_retention_ms(1000);
    topics.mutable_alteration()->set_compact(true);
    add(MessageType::kTopics, topics);
    proto::ProducerState producer;
    producer.set_cluster_id(1);
    producer.set_topic(1);
    producer.set_producer_id(5);
    producer.set_epoch(-1);
    add(MessageType::kProducerState, producer);
    proto::Admin admin;
    admin.set_cluster_id(1);
    admin.set_action(proto::Admin::SEAL);
    add(MessageType::kAdmin, admin);
    proto::Verify verify;
    verify.set_cluster_id(1);
    verify.add_from()->set_topic(1);
    add(MessageType::kVerify, verify);
    return all;
}

void add_messages(Corpus& corpus) {
    constexpr protocol::ClusterTag kCluster{0x10c5};
    const Bytes batch = make_batch({}, 1);
    std::vector<std::byte> stream;
    std::uint8_t kind = 0;
    for (const auto& [type, message] : sample_messages()) {
        corpus.add("protobuf", kind++, bytes_of(message));
        const protocol::FrameHeader header{type, 0, kCluster, {}, {}, {}};
        corpus.add("frame", protocol::encode_frame(header, bytes_of(message)).span());
        const Bytes head =
            protocol::encode_message_head({type, 0, protocol::Correlation{1}, message, {batch}}, kCluster);
        stream.insert(stream.end(), head.span().begin(), head.span().end());
        stream.insert(stream.end(), batch.span().begin(), batch.span().end());
        std::vector<std::byte> pieces;
        append(pieces, static_cast<std::uint8_t>(type), bytes_of(message));
        append(pieces, static_cast<std::uint8_t>(type) | 0x80, bytes_of(message));
        append(pieces, 0x7f, batch.span());
        corpus.add("node", pieces);
    }
    corpus.add("message", stream);
    std::vector<std::byte> answers;
    append(answers, static_cast<std::uint8_t>(MessageType::kJoinResponse), bytes_of(encoded(sample_answer())));
    corpus.add("discovery", answers);

    // A producer's batch, then the same by the replication of another broker.
    std::vector<std::byte> produce;
    for (const auto& [type, message] : sample_messages()) {
        if (type != MessageType::kProduce) continue;
        append(produce, static_cast<std::uint8_t>(type), bytes_of(message));
        append(produce, static_cast<std::uint8_t>(MessageType::kReplicate), batch.span());
    }
    corpus.add("node", produce);
}

void add_session(Corpus& corpus) {
    constexpr std::uint8_t kWhole = protocol::kFirstFragment | protocol::kLastFragment;
    const Bytes batch = make_batch({}, 2);
    const auto head = replication::encode_message_head(kStream, protocol::Sequence{}, 0, batch.size());
    std::vector<std::byte> message(head.span().begin(), head.span().end());
    message.insert(message.end(), batch.span().begin(), batch.span().end());
    std::vector<std::byte> two = message;
    two.insert(two.end(), message.begin(), message.end());

    std::vector<std::byte> frames;
    append(frames, kWhole | 0x80, two);
    append(frames, protocol::kFirstFragment, Input(message).first(60));
    append(frames, 0x40, Input(message).subspan(60, 20));
    append(frames, protocol::kLastFragment, Input(message).subspan(80));
    append(frames, kWhole, message);
    corpus.add("session", frames);
}

// Runs a store and takes its files.
void add_store(Corpus& corpus) {
    FakeDisk disk(1);
    auto store = open(disk);
    storage::StreamLog& log = **store->create(kStream);
    const auto flush = [&] {
        LS_ASSERT(await<storage::Result<void>>(disk, [&](auto done) { store->flush(std::move(done)); }).has_value());
    };
    for (std::int64_t i = 0; i < 26; ++i) {
        const protocol::ProducerId producer{i % 3};
        const auto sequence = static_cast<std::int32_t>(i / 3);
        Bytes batch = make_batch({.producer_id = producer, .producer_epoch = 0, .base_sequence = sequence}, 1);
        LS_ASSERT(batch.size() == kSmallBatchBytes);
        LS_ASSERT(log.append(at_offset(batch, i, static_cast<std::uint64_t>(1 + i / 8)), 5000).has_value());
        flush();
        if (i != 7 && i != 15 && i != 25) continue;
        for (std::uint8_t how = 0; how < 3; ++how) {
            std::vector<std::byte> pieces{std::byte{how}};
            for (std::size_t tag = 0; tag < kStreamFiles.size(); ++tag) {
                const std::string path = kStreamDir + std::string(kStreamFiles[tag].name);
                const auto files = disk.files();
                if (std::ranges::find(files, path) == files.end()) continue;
                append(pieces, static_cast<std::uint8_t>(tag), disk.content(path));
                if (kStreamFiles[tag].kind != FileKind::kLog) corpus.add("snapshot", disk.content(path));
            }
            corpus.add("store", pieces);
        }
    }
    const auto start = await<storage::Result<storage::StreamLog::StartTables>>(
        disk, [&](auto done) { log.start_tables(std::move(done)); });
    corpus.add("snapshot", start->tables.span());

    const std::vector<Bytes> orphans{at_offset(make_batch({}, 1), 5), at_offset(make_batch({}, 3), 6)};
    LS_ASSERT(await<storage::Result<void>>(disk, [&](auto done) {
                  store->orphans().add(kStream, protocol::ClusterId{9}, orphans, std::move(done));
              }).has_value());
    corpus.add("orphans", disk.content(kOrphanFile));

    view::Record record;
    record.node = protocol::NodeId{1};
    record.accepted = sample_view();
    record.chosen = sample_view();
    const std::string state = view::encode(record);
    corpus.add("state", state);
    LS_ASSERT(await<storage::Result<void>>(disk, [&](auto done) {
                  store->save_state(Bytes::copy_of(state), std::move(done));
              }).has_value());
    corpus.add("state", disk.content(kDir + "/state.1"));
    corpus.add("state", disk.content(kDir + "/run"));
}

void add_configuration(Corpus& corpus) {
    const config::Config config;
    std::string file;
    std::vector<std::string> words{"unlimited", "auto", "off", "<<: ", "&a", "*a", "!!str", "---", "1e-7", "0x10"};
    for (const config::Setting& setting : config::settings()) {
        const std::string text = setting.show(config);
        // Each name of a key alone, so that they can be put together.
        std::string indent;
        std::string one;
        std::string_view rest = setting.key;
        for (auto dot = rest.find('.'); dot != rest.npos; dot = rest.find('.')) {
            one += fmt::format("{}{}:\n", indent, rest.substr(0, dot));
            words.push_back(fmt::format("{}: ", rest.substr(0, dot)));
            indent += "  ";
            rest.remove_prefix(dot + 1);
        }
        one += fmt::format("{}{}: {}\n", indent, rest, text);
        words.push_back(fmt::format("{}: ", rest));
        corpus.add("yaml", one);
        if (!text.empty()) corpus.add("setting", text);
    }
    corpus.add("yaml", "discovery:\n  seeds: [10.0.0.1:8001, host:1]\nstorage: {retention: {time: 7d, bytes: 1GiB}}\n");
    for (const std::string text : {"10.0.0.1:8001", "239.0.0.1:9999", "7d", "1GiB", "8.5", "a:1, b:2"})
        corpus.add("setting", text);
    corpus.words("yaml", words);
    corpus.words("setting", {"ns", "us", "ms", "KiB", "TiB", "KB", "unlimited", "auto", "inf", "nan", "1e-7"});
}

}  // namespace
}  // namespace logstream::fuzz

int main(int argc, char** argv) {
    if (argc != 2) {
        fmt::print(stderr, "usage: make_corpus DIR\n");
        return 2;
    }
    logstream::fuzz::Corpus corpus(argv[1]);
    logstream::fuzz::add_records(corpus);
    logstream::fuzz::add_messages(corpus);
    logstream::fuzz::add_session(corpus);
    logstream::fuzz::add_store(corpus);
    logstream::fuzz::add_configuration(corpus);
    return 0;
}
