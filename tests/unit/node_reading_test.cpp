// What brokers tell readers: what is committed, soon, everywhere; and that there may be more, where they cannot know.
#include <gtest/gtest.h>

#include "internal/client/requests.h"
#include "tests/sim/cluster.h"

namespace logstream::sim {

namespace {

using namespace std::chrono_literals;
using protocol::ErrorCode;
using protocol::MessageType;
using protocol::Result;

class NodeReading : public ::testing::Test {
protected:
    void start(std::uint64_t seed) {
        requests.reset();
        cluster = std::make_unique<Cluster>(seed, 3);
        cluster->start_all();
        ASSERT_TRUE(cluster->wait_for_one_view());
        stream = cluster->make_topic("lines");
        ASSERT_TRUE(cluster->append_soon(stream, "one"));
        Host& host = cluster->world().host(Endpoint{0x0a010001, 40000}, cluster->transcript().logger("reader"));
        requests = std::make_unique<client::Requests>(host);
    }
    // The owner, cut off from the others, knows it.
    Machine& cut_off_owner() {
        Machine& owner = *cluster->owner(stream);
        cluster->isolate(owner.index());
        EXPECT_TRUE(cluster->world().run_until([&] { return owner.node().history().has_value(); }, 20s));
        return owner;
    }
    template <class Response, class Proto>
    Result<Response> ask(Machine& machine, MessageType type, const Proto& request, Duration limit = 5s) {
        std::optional<Result<protocol::Message>> answer;
        requests->send(machine.address(), type, request.SerializeAsString(), {}, limit,
                       [&answer](Result<protocol::Message> message) { answer = std::move(message); });
        cluster->world().run_until([&answer] { return answer.has_value(); }, limit + 1s);
        return client::read_response<Response>(*answer);
    }
    template <class Proto>
    Proto about_stream(bool any_replica) {
        Proto request;
        request.set_cluster_id((*cluster)[0].node().core().record.cluster.value);
        request.set_topic(stream.topic.value);
        request.set_any_replica(any_replica);
        return request;
    }

    std::unique_ptr<Cluster> cluster;
    std::unique_ptr<client::Requests> requests;
    protocol::StreamId stream;
};

TEST_F(NodeReading, WhatIsCommittedIsReadableEverywhereWithinMilliseconds) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        start(seed);
        const auto offset = cluster->append_soon(stream, "two");
        ASSERT_TRUE(offset);
        cluster->world().run_for(10ms);
        for (Machine* machine : cluster->running())
            EXPECT_GT(machine->node().core().streams.find(stream)->high_watermark, *offset)
                << machine->name() << ", seed " << seed;
    }
}

TEST_F(NodeReading, AnOwnerWithoutAQuorumTellsNobodyWhereItsLogEnds) {
    start(1);
    Machine& owner = cut_off_owner();
    const auto ends =
        ask<proto::ListOffsetsResponse>(owner, MessageType::kListOffsets, about_stream<proto::ListOffsets>(false));
    ASSERT_FALSE(ends);
    EXPECT_EQ(ends.error().code, ErrorCode::kNoQuorum);
    const auto records = ask<proto::FetchResponse>(owner, MessageType::kFetch, about_stream<proto::Fetch>(false));
    ASSERT_FALSE(records);
    EXPECT_EQ(records.error().code, ErrorCode::kNoQuorum);
    const auto topics = ask<proto::TopicsResponse>(owner, MessageType::kTopics, proto::Topics{});
    ASSERT_FALSE(topics);
    EXPECT_EQ(topics.error().code, ErrorCode::kNoQuorum);
}

TEST_F(NodeReading, WhoAsksForAnyReplicaGetsWhatThereIsAndHearsThatItMayBeHistory) {
    start(2);
    const auto before = ask<proto::FetchResponse>((*cluster)[0], MessageType::kFetch, about_stream<proto::Fetch>(true));
    ASSERT_TRUE(before);
    EXPECT_EQ(before->history().code(), 0U);
    Machine& owner = cut_off_owner();
    const auto ends =
        ask<proto::ListOffsetsResponse>(owner, MessageType::kListOffsets, about_stream<proto::ListOffsets>(true));
    ASSERT_TRUE(ends);
    EXPECT_EQ(ends->high_watermark(), 1);
    EXPECT_EQ(ends->history().code(), static_cast<std::uint32_t>(ErrorCode::kNoQuorum));
    const auto records = ask<proto::FetchResponse>(owner, MessageType::kFetch, about_stream<proto::Fetch>(true));
    ASSERT_TRUE(records);
    EXPECT_EQ(records->history().code(), static_cast<std::uint32_t>(ErrorCode::kNoQuorum));
    proto::Verify verify;
    verify.set_cluster_id(owner.node().core().record.cluster.value);
    const auto verified = ask<proto::VerifyResponse>(owner, MessageType::kVerify, verify);
    ASSERT_TRUE(verified);
    EXPECT_EQ(verified->history().code(), static_cast<std::uint32_t>(ErrorCode::kNoQuorum));
}

// Not only once it has waited as long as it wanted to.
TEST_F(NodeReading, WhoWaitsAtAnOwnerThatLosesItsQuorumIsTold) {
    start(3);
    auto request = about_stream<proto::Fetch>(false);
    request.set_offset(1);
    request.set_max_wait_ms(60'000);
    Machine& owner = *cluster->owner(stream);
    cluster->world().after(100ms, [this, &owner] { cluster->isolate(owner.index()); });
    const auto began = cluster->world().now();
    const auto records = ask<proto::FetchResponse>(owner, MessageType::kFetch, request, 60s);
    ASSERT_FALSE(records);
    EXPECT_EQ(records.error().code, ErrorCode::kNoQuorum);
    EXPECT_LT(cluster->world().now() - began, 10s);
}

TEST_F(NodeReading, WhoWaitsForRecordsOfATopicThatIsDeletedIsTold) {
    start(4);
    auto request = about_stream<proto::Fetch>(false);
    request.set_offset(1);
    request.set_max_wait_ms(60'000);
    Machine& owner = *cluster->owner(stream);
    std::optional<Result<protocol::Message>> answer;
    requests->send(owner.address(), MessageType::kFetch, request.SerializeAsString(), {}, 60s,
                   [&answer](Result<protocol::Message> message) { answer = std::move(message); });
    cluster->world().run_for(100ms);
    cluster->delete_topic("lines");
    ASSERT_TRUE(cluster->world().run_until([&answer] { return answer.has_value(); }, 1s));
    EXPECT_EQ(client::read_response<proto::FetchResponse>(*answer).error().code, ErrorCode::kUnknownTopic);
}

}  // namespace
}  // namespace logstream::sim
