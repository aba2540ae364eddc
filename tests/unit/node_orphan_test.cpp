// Records that an owner appended alone come back once the cluster has gone on without them: all of them, each once.
#include <gtest/gtest.h>

#include "tests/sim/cluster.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;
using protocol::Bytes;
using protocol::ProducerId;

struct Producing {
    std::int16_t epoch{};
    std::int32_t sequence{};
    std::string value;
};

class Orphans : public testing::TestWithParam<std::uint64_t> {
protected:
    Orphans() : cluster_(GetParam(), 3) {
        for (std::size_t i = 0; i < cluster_.size(); ++i) cluster_[i].options().store.segment_bytes = 4096;
        cluster_.start_all();
        LS_ASSERT(cluster_.wait_for_one_view());
        stream_ = cluster_.make_topic("t");
        LS_ASSERT(cluster_.append_soon(stream_, "first"));
        alone_ = cluster_.owner(stream_)->index();
    }

    // At this machine, whoever owns the stream; the answer is there when it is acknowledged.
    std::shared_ptr<bool> produce(Machine& at, const Producing& what) {
        protocol::BatchBuilder builder({.producer_id = ProducerId{77},
                                        .producer_epoch = what.epoch,
                                        .base_sequence = what.sequence,
                                        .control = what.sequence < 0});
        builder.add(0, std::nullopt, std::string_view(what.value));
        auto acknowledged = std::make_shared<bool>(false);
        at.node().replicator().produce(**at.node().core().streams.open(stream_), *builder.finish(), proto::QUORUM,
                                       [acknowledged](const auto& result) { *acknowledged = result.has_value(); });
        return acknowledged;
    }
    void produce_acknowledged(const Producing& what) {
        for (int attempt = 0; attempt < 50; ++attempt) {
            Machine* owner = cluster_.owner(stream_);
            if (owner != nullptr && !owner->node().refusal()) {
                const auto acknowledged = produce(*owner, what);
                if (cluster_.world().run_until([&] { return *acknowledged; }, 200ms)) return;
            }
            cluster_.world().run_for(100ms);
        }
        FAIL() << what.value << " was not acknowledged";
    }
    // The owner is cut off and the other two have gone on.
    void isolate_owner() {
        cluster_.isolate(alone_);
        ASSERT_TRUE(cluster_.world().run_until(
            [&] {
                Machine* owner = cluster_.owner(stream_);
                return owner != nullptr && owner->index() != alone_ && !owner->node().refusal();
            },
            5s));
    }
    // Within 20 s all is back; how often each value stands in every log.
    std::map<std::string, int> heal_and_count() {
        cluster_.world().heal();
        const auto settled = [&] {
            if (!cluster_.one_view() || !cluster_[alone_].store().orphans().streams().empty()) return false;
            const auto end = cluster_[0].node().core().streams.find(stream_)->high_watermark;
            for (std::size_t i = 0; i < cluster_.size(); ++i) {
                const node::Stream& stream = *cluster_[i].node().core().streams.find(stream_);
                if (stream.high_watermark != end || stream.log->log_end() != end) return false;
            }
            return true;
        };
        EXPECT_TRUE(cluster_.world().run_until(settled, 20s));
        const auto content = cluster_.read(alone_, stream_);
        for (std::size_t i = 0; i < cluster_.size(); ++i) EXPECT_EQ(cluster_.read(i, stream_), content);
        std::map<std::string, int> out;
        for (const auto& [offset, value] : content) ++out[value];
        return out;
    }

    Cluster cluster_;
    protocol::StreamId stream_;
    std::size_t alone_{};
};
INSTANTIATE_TEST_SUITE_P(Node, Orphans, testing::Range<std::uint64_t>(1, 11));

// The instance that sent them was killed, and one that resumes sent them again.
TEST_P(Orphans, OfAnInstanceThatWasResumedStandOnce) {
    (void)produce(cluster_[alone_], {0, 0, "acknowledged"});
    cluster_.world().run_for(100ms);
    cluster_.isolate(alone_);
    for (int i = 1; i < 4; ++i) (void)produce(cluster_[alone_], {0, i, "line " + std::to_string(i)});
    isolate_owner();
    produce_acknowledged({1, protocol::kResumeSequence, "fence"});
    for (int i = 1; i < 3; ++i) produce_acknowledged({1, i, "line " + std::to_string(i)});
    auto count = heal_and_count();
    EXPECT_EQ(count["acknowledged"], 1);
    EXPECT_EQ(count["line 1"], 1);
    EXPECT_EQ(count["line 2"], 1);
    EXPECT_EQ(count["line 3"], 0) << "is the new instance's to send";
}

TEST_P(Orphans, OfAnInstanceWhoseTakeoverIsForgottenStandOnce) {
    cluster_.isolate(alone_);
    (void)produce(cluster_[alone_], {0, 0, "line"});
    isolate_owner();
    produce_acknowledged({1, protocol::kResumeSequence, "fence"});
    produce_acknowledged({1, 0, "line"});
    const auto epochs = static_cast<std::int16_t>(storage::ProducerTable::kOlderEpochs + 4);
    for (std::int16_t epoch = 2; epoch < epochs; ++epoch) produce_acknowledged({epoch, 0, std::to_string(epoch)});
    EXPECT_EQ(heal_and_count()["line"], 1);
}

class LargeOrphans : public Orphans {};
INSTANTIATE_TEST_SUITE_P(Node, LargeOrphans, testing::Values(1));

// Each of its records gets a key of some 70 bytes: together they are more than any batch may have.
TEST_P(LargeOrphans, OfManySmallRecordsComeBackWhole) {
    constexpr int kMany = 1'000'000;
    cluster_.isolate(alone_);
    protocol::BatchBuilder builder({.producer_id = ProducerId{77}, .producer_epoch = 0, .base_sequence = 0});
    for (int i = 0; i < kMany; ++i) builder.add(0, std::nullopt, "small");
    Machine& owner = cluster_[alone_];
    owner.node().replicator().produce(**owner.node().core().streams.open(stream_), *builder.finish(), proto::QUORUM,
                                      [](const auto&) {});
    isolate_owner();
    EXPECT_EQ(heal_and_count()["small"], kMany);
}

// Nobody was told of a fence that comes back, so it takes over nothing.
TEST_P(Orphans, OfFencesOpenNoEpoch) {
    produce_acknowledged({0, 0, "first of the old one"});
    cluster_.isolate(alone_);
    (void)produce(cluster_[alone_], {1, protocol::kResumeSequence, "fence"});
    isolate_owner();
    produce_acknowledged({0, 1, "second"});
    auto count = heal_and_count();
    EXPECT_EQ(count["fence"], 0);
    produce_acknowledged({0, 2, "third"});
}

// Without a word of resuming, a newer instance sends other records under the next numbers.
TEST_P(Orphans, OfAnInstanceThatWasReplacedComeBack) {
    cluster_.isolate(alone_);
    (void)produce(cluster_[alone_], {0, 0, "of the old one"});
    isolate_owner();
    produce_acknowledged({1, -1, "fence"});
    produce_acknowledged({1, 0, "of the new one"});
    auto count = heal_and_count();
    EXPECT_EQ(count["of the old one"], 1);
    EXPECT_EQ(count["of the new one"], 1);
}

// A producer's table keeps few of its epochs: what the table has forgotten stands in the log.
TEST_P(Orphans, OfAnEpochThatIsForgottenStandOnce) {
    cluster_.isolate(alone_);
    (void)produce(cluster_[alone_], {0, 0, "sent again to the new owner"});
    (void)produce(cluster_[alone_], {0, 1, "only here"});
    isolate_owner();
    produce_acknowledged({0, 0, "sent again to the new owner"});
    const auto epochs = static_cast<std::int16_t>(storage::ProducerTable::kOlderEpochs + 3);
    for (std::int16_t epoch = 1; epoch < epochs; ++epoch) produce_acknowledged({epoch, 0, std::to_string(epoch)});
    auto count = heal_and_count();
    EXPECT_EQ(count["sent again to the new owner"], 1);
    EXPECT_EQ(count["only here"], 1);
    EXPECT_EQ(count.size(), 2u + static_cast<std::size_t>(epochs));
}

// The table has forgotten its producer's epoch, and retention has removed the place where it stood: it may have been
// read there, and does not come a second time.
TEST_P(Orphans, OlderThanWhatRetentionKeepsAreDropped) {
    cluster_.isolate(alone_);
    (void)produce(cluster_[alone_], {0, 0, "sent again to the new owner"});
    isolate_owner();
    produce_acknowledged({0, 0, "sent again to the new owner"});
    const auto epochs = static_cast<std::int16_t>(storage::ProducerTable::kOlderEpochs + 6);
    for (std::int16_t epoch = 1; epoch < epochs; ++epoch)
        produce_acknowledged({epoch, 0, std::string(600, 'x') + std::to_string(epoch)});
    cluster_.world().run_for(1s);
    for (std::size_t i = 0; i < cluster_.size(); ++i) {
        if (i == alone_) continue;
        const node::Stream& stream = *cluster_[i].node().core().streams.find(stream_);
        stream.log->retain(stream.high_watermark, {.max_bytes = 1});
        ASSERT_GT(stream.log->log_start(), protocol::Offset{2});
    }
    auto count = heal_and_count();
    EXPECT_EQ(count["sent again to the new owner"], 0);
    EXPECT_GE(count.size(), 2u) << "what is newer stands there";
}

// One of the tail rots, wherever it stands: only that one is lost. What begins where the log departs could also be
// mended with the others' bytes, but then what stands behind it would be of an older view.
TEST_P(Orphans, BehindDamageComeBack) {
    const int rotten = static_cast<int>(GetParam() % 5);
    cluster_.isolate(alone_);
    for (int i = 0; i < 5; ++i) {
        (void)produce(cluster_[alone_], {0, i, "only here " + std::to_string(i)});
        cluster_.world().run_for(20ms);
    }
    isolate_owner();
    produce_acknowledged({1, 0, "elsewhere"});
    cluster_[alone_].crash(storage::FakeDisk::Crash::kProcess);
    const std::string path = fmt::format("/data/streams/{:016x}-0/{:020}.log", stream_.topic.value, 0);
    const auto content = cluster_[alone_].disk().content(path);
    const std::string value = "only here " + std::to_string(rotten);
    const auto found = std::ranges::search(content, std::as_bytes(std::span(std::string_view(value))));
    ASSERT_FALSE(found.empty());
    cluster_[alone_].disk().flip(path, static_cast<std::uint64_t>(found.begin() - content.begin()) * 8);
    cluster_[alone_].start();
    auto count = heal_and_count();
    for (int i = 0; i < 5; ++i) EXPECT_EQ(count["only here " + std::to_string(i)], i == rotten ? 0 : 1) << i;
}

// One that nobody can decode, from before brokers looked into what they take, is lost, with an error in the log; the
// next comes back.
TEST_P(Orphans, BehindOneThatIsRefusedForGoodComeBack) {
    cluster_.isolate(alone_);
    protocol::BatchBuilder builder({});
    builder.add(0, std::nullopt, "unreadable");
    Bytes unreadable = *builder.finish();
    unreadable.mutable_data()[unreadable.size() - 1] = std::byte{2};  // a header that is not there
    protocol::restamp_producer(unreadable, ProducerId{77}, 0, 0);
    Machine& owner = cluster_[alone_];
    owner.node().replicator().produce(**owner.node().core().streams.open(stream_), unreadable, proto::QUORUM,
                                      [](const auto&) {});
    (void)produce(cluster_[alone_], {0, 1, "small"});
    isolate_owner();
    produce_acknowledged({1, 0, "elsewhere"});
    auto count = heal_and_count();
    EXPECT_EQ(count["small"], 1);
    EXPECT_EQ(count.size(), 3u);
}

TEST_P(Orphans, OutlastADiskThatFailsToReadForAWhile) {
    cluster_.isolate(alone_);
    (void)produce(cluster_[alone_], {0, 0, "only here"});
    isolate_owner();
    produce_acknowledged({1, 0, "elsewhere"});
    cluster_.world().heal();
    ASSERT_TRUE(cluster_.world().run_until([&] { return !cluster_[alone_].store().orphans().streams().empty(); }, 10s));
    cluster_[alone_].faults.reads_fail = true;
    cluster_.world().run_for(2s);
    cluster_[alone_].faults.reads_fail = false;
    EXPECT_GT(cluster_[alone_].faults.injected, 0u);
    EXPECT_EQ(heal_and_count()["only here"], 1);
}

}  // namespace
}  // namespace logstream::sim
