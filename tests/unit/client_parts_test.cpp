// The small parts: partitioner, histogram, back-off, topic names, requests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client_world.h"
#include "internal/client/backoff.h"
#include "internal/client/codec_choice.h"
#include "internal/client/discovery.h"
#include "internal/client/histogram.h"
#include "internal/client/partitioner.h"
#include "internal/client/requests.h"
#include "internal/client/topic_name.h"

namespace logstream::client::test {

namespace {

// The values of Kafka's own UtilsTest.
TEST(ClientPartitioner, Murmur2IsKafkas) {
    EXPECT_EQ(static_cast<std::int32_t>(murmur2("21")), -973932308);
    EXPECT_EQ(static_cast<std::int32_t>(murmur2("foobar")), -790332482);
    EXPECT_EQ(static_cast<std::int32_t>(murmur2("a-little-bit-long-string")), -985981536);
    EXPECT_EQ(static_cast<std::int32_t>(murmur2("a-little-bit-longer-string")), -1486304829);
    EXPECT_EQ(static_cast<std::int32_t>(murmur2("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8")), -58897971);
    EXPECT_EQ(static_cast<std::int32_t>(murmur2("abc")), 479470107);
}

TEST(ClientHistogram, QuantilesAreWithinTheStep) {
    Histogram histogram;
    for (std::uint64_t value = 1; value <= 100'000; ++value) histogram.record(value);
    EXPECT_EQ(histogram.count(), 100'000U);
    EXPECT_NEAR(static_cast<double>(histogram.quantile(0.5)), 50'000, 800);
    EXPECT_NEAR(static_cast<double>(histogram.quantile(0.99)), 99'000, 1600);
    EXPECT_EQ(histogram.quantile(1), 100'000U);
    EXPECT_EQ(histogram.max(), 100'000U);
}

TEST(ClientHistogram, TakesEveryValue) {
    Histogram histogram;
    EXPECT_EQ(histogram.quantile(0.5), 0U);
    histogram.record(0);
    histogram.record(~std::uint64_t{0});
    EXPECT_EQ(histogram.quantile(0), 0U);
    EXPECT_EQ(histogram.quantile(1), ~std::uint64_t{0});
    for (unsigned bit = 0; bit < 64; ++bit) {
        Histogram one;
        one.record(std::uint64_t{1} << bit);
        EXPECT_EQ(one.quantile(0.5), std::uint64_t{1} << bit);
    }
}

TEST(ClientBackoff, IsFastFirstAndThenSlow) {
    Backoff backoff;
    FakeEnv env;
    for (int i = 0; i < 20; ++i) {
        const Duration wait = backoff.next(env.now(), env.random());
        EXPECT_GE(wait, Backoff::kFirst / 2);
        EXPECT_LE(wait, Backoff::kFastMax);
        env.run_for(wait);
    }
    env.run_for(3s);
    Duration longest{};
    for (int i = 0; i < 20; ++i) longest = std::max(longest, backoff.next(env.now(), env.random()));
    EXPECT_GT(longest, 250ms);
    EXPECT_LE(longest, 500ms);
}

TEST(ClientTopicName, RuleIsKafkas) {
    for (const char* good : {"a", "app.log-2_x", "..."}) EXPECT_TRUE(check_topic_name(good)) << good;
    EXPECT_TRUE(check_topic_name(std::string(249, 'a')));
    for (const char* bad : {"", ".", "..", "a b", "a/b", "ä", "a\n"}) EXPECT_FALSE(check_topic_name(bad)) << bad;
    EXPECT_FALSE(check_topic_name(std::string(250, 'a')));
}

class ClientRequests : public ::testing::Test {
protected:
    RequestId ask(Endpoint to, Duration timeout = 1s) {
        return requests.send(to, MessageType::kMetadata, proto::Metadata{}.SerializeAsString(), {}, timeout,
                             [this](const Result<Message>& answer) {
                                 answers.push_back(answer ? ErrorCode::kNone : answer.error().code);
                             });
    }
    FakeEnv env;
    FakeCluster cluster{env, 2};
    Requests requests{env};
    std::vector<ErrorCode> answers;
};

TEST_F(ClientRequests, OneConnectionServesMany) {
    for (int i = 0; i < 10; ++i) ask(FakeCluster::endpoint(1));
    env.run_for(1s);
    EXPECT_EQ(answers, std::vector<ErrorCode>(10, ErrorCode::kNone));
}

TEST_F(ClientRequests, RefusedConnectionFailsThemAll) {
    cluster.kill(1);
    ask(FakeCluster::endpoint(1));
    ask(FakeCluster::endpoint(1));
    env.run_for(10ms);
    EXPECT_EQ(answers, std::vector<ErrorCode>(2, ErrorCode::kNetwork));
    cluster.revive(1);
    ask(FakeCluster::endpoint(1));
    env.run_for(10ms);
    EXPECT_EQ(answers.back(), ErrorCode::kNone);
}

TEST_F(ClientRequests, SilenceIsATimeout) {
    ask(FakeCluster::endpoint(1));
    env.run_for(10ms);
    cluster.silence(1);
    ask(FakeCluster::endpoint(1), 300ms);
    env.run_for(299ms);
    EXPECT_EQ(answers.size(), 1U);
    env.run_for(2ms);
    EXPECT_EQ(answers.back(), ErrorCode::kTimeout);
}

TEST_F(ClientRequests, CancelledRequestIsNeverAnswered) {
    const RequestId id = ask(FakeCluster::endpoint(1));
    requests.cancel(id);
    env.run_for(2s);
    EXPECT_TRUE(answers.empty());
}

class ClientDiscovery : public ::testing::Test {
protected:
    ClientDiscovery() {
        env.on_broadcast = [this](const env::OutFrame& frame) {
            const auto decoded = protocol::decode_frame(frame.head.span());
            proto::Join join;
            ASSERT_TRUE(join.ParseFromString(std::string(frame.head.from(decoded->payload_begin).view())));
            EXPECT_EQ(decoded->header.cluster, protocol::cluster_tag(join.cluster()));
            nonce = join.nonce();
            asked.insert(join.cluster());
        };
        discovery.start();
        env.run_for(10ms);
    }
    void answer(const std::string& cluster, std::uint64_t lineage, std::uint32_t port) {
        proto::JoinResponse response;
        response.set_cluster(cluster);
        response.set_cluster_id(lineage);
        response.set_nonce(nonce);
        response.mutable_responder()->set_ip(0x0a000001);
        response.mutable_responder()->set_port(port);
        const Bytes payload = Bytes::copy_of(response.SerializeAsString());
        protocol::FrameHeader header;
        header.type = MessageType::kJoinResponse;
        discovery.on_frame({env::Channel::kUnicast, {}, header, payload});
        env.run_for(100ms);
    }

    FakeEnv env;
    std::uint64_t nonce{};
    std::set<std::string> asked;
    std::vector<std::set<Endpoint>> found;
    std::set<Endpoint> unready;
    Discovery discovery{env, "c", [this](const auto& brokers) { found.push_back(brokers.value()); },
                        [this](Endpoint broker) { unready.insert(broker); }};
};

// Anybody may answer: what names no broker that one can connect to must not end the search.
TEST_F(ClientDiscovery, AnAnswerWithoutABrokerIsNone) {
    answer("c", 1, 0);
    answer("c", 1, 0x10000);
    EXPECT_TRUE(found.empty());
    answer("c", 1, 8001);
    EXPECT_EQ(found, std::vector({std::set{Endpoint{0x0a000001, 8001}}}));
}

TEST_F(ClientDiscovery, OtherClustersAreAskedForAfterAWhileAndRemembered) {
    EXPECT_EQ(asked, std::set<std::string>{"c"});
    env.run_for(2s);
    EXPECT_EQ(asked, (std::set<std::string>{"", "c"}));
    answer("d", 7, 8002);
    answer("d", 7, 8003);
    EXPECT_TRUE(found.empty());
    EXPECT_EQ(discovery.others(), (std::map<std::string, Endpoint>{{"d", Endpoint{0x0a000001, 8002}}}));
}

TEST_F(ClientDiscovery, ABrokerOfTheClusterThatIsInNoViewIsTold) {
    answer("c", 0, 8001);
    EXPECT_TRUE(found.empty());
    EXPECT_EQ(unready, std::set{Endpoint(0x0a000001, 8001)});
}

TEST(CodecChoice, TakesWhatPays) {
    std::string text;
    for (int i = 0; i < 2000; ++i)
        text += "Jun 14 15:16:01 combo sshd(pam_unix)[" + std::to_string(i * 7919 % 30000) + "] ";
    std::string noise;
    std::uint64_t random = 42;
    for (int i = 0; i < 20'000; ++i) noise += static_cast<char>((random = random * 6364136223846793005ULL + 1) >> 56);
    const auto chosen = [](const std::string& records) {
        return CodecChoice().next(std::as_bytes(std::span(records)));
    };
    EXPECT_EQ(chosen(noise), protocol::Codec::kNone);
    EXPECT_EQ(chosen(text), protocol::Codec::kZstd);
    EXPECT_EQ(chosen(std::string(100'000, 'x')), protocol::Codec::kZstd);
    EXPECT_EQ(chosen("short"), protocol::Codec::kNone);
}

TEST(CodecChoice, FollowsAStreamThatChanges) {
    const std::string text(20'000, 'x');
    CodecChoice choice;
    EXPECT_EQ(choice.next({}), protocol::Codec::kNone);
    std::uint32_t batches = 1;
    while (choice.next(std::as_bytes(std::span(text))) == protocol::Codec::kNone && batches < 10'000) ++batches;
    EXPECT_EQ(batches, CodecChoice::kEvery);
}

}  // namespace
}  // namespace logstream::client::test
