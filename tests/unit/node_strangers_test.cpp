// What anybody on an open network can send, and what must not come of it: no number, no membership, no transport.
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "tests/sim/stranger.h"
#include "tests/unit/node_expectations.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;
using protocol::Bytes;
using protocol::MessageType;
using protocol::NodeId;
using protocol::ViewNumber;
using storage::FakeDisk;

constexpr Endpoint kStranger{0x0a030001, 9000};

class Strangers : public testing::TestWithParam<std::uint64_t> {
protected:
    Strangers() : cluster(GetParam(), 3) {
        cluster.start_all();
        started = cluster.wait_for_one_view();
        stranger = std::make_unique<Stranger>(cluster, kStranger);
    }
    void SetUp() override {
        ASSERT_TRUE(started);
        leader = cluster.leader();
        follower = &cluster[(leader->index() + 1) % 3];
        before = *leader->node().current_view();
        promised = leader->node().core().record.promised;
    }
    const view::Member& run_of(Machine& machine) { return *before.find(machine.node().id()); }
    // The view stands, is served, and nothing was promised to anybody.
    void expect_nothing_came_of_it(Duration time = 3s) {
        cluster.world().run_for(time);
        for (Machine* machine : cluster.running()) {
            ASSERT_TRUE(machine->node().serving()) << machine->name();
            EXPECT_EQ(*machine->node().current_view(), before) << machine->name();
            EXPECT_EQ(machine->node().core().record.promised, promised) << machine->name();
        }
        EXPECT_EQ(cluster.running().size(), 3u);
    }
    proto::Join join_as(view::Member member) {
        proto::Join join;
        join.set_cluster("logstream");
        *join.mutable_node() = view::to_proto(member);
        join.set_cluster_id(leader->node().core().record.cluster.value);
        join.set_has_history(true);
        return join;
    }

    Cluster cluster;
    bool started{};
    std::unique_ptr<Stranger> stranger;
    Machine* leader{};
    Machine* follower{};
    view::View before;
    ViewNumber promised;
};
INSTANTIATE_TEST_SUITE_P(Node, Strangers, testing::Range<std::uint64_t>(1, 6));

TEST_P(Strangers, AJoinWithAMembersIdChangesNoView) {
    for (const bool at_its_address : {true, false}) {
        for (const bool listens : {true, false}) {
            stranger->listens = listens;
            view::Member claimed = run_of(*follower);
            claimed.incarnation = protocol::Incarnation{77};
            if (!at_its_address) std::tie(claimed.ip, claimed.port) = std::tuple(kStranger.ip, kStranger.port);
            for (int i = 0; i < 20; ++i) stranger->broadcast(MessageType::kJoin, join_as(claimed), claimed.id);
            expect_nothing_came_of_it();
        }
    }
}

TEST_P(Strangers, AnswersThatFramesAreGoneMakeNobodyLeave) {
    proto::NackGone gone;
    gone.set_cluster_id(leader->node().core().record.cluster.value);
    gone.set_view(before.number.value);
    gone.set_first_available(1'000'000);
    gone.set_sender(leader->node().id().value);
    stranger->datagram(follower->address(), MessageType::kNackGone, gone, leader->node().id(), before.number);
    // As if it came from where the owner's frames come from.
    follower->node().on_frame({env::Channel::kUnicast,
                               leader->address(),
                               {MessageType::kNackGone, 0, {}, before.number, leader->node().id(), {}},
                               Bytes::copy_of(std::string_view(gone.SerializeAsString()))});
    stranger->say(follower->address(), MessageType::kNackGone, gone, &run_of(*leader));
    expect_nothing_came_of_it();
}

TEST_P(Strangers, ManyUnknownSendersDoNotTakeMulticastAway) {
    for (std::uint64_t id = 1; id <= 1000; ++id) {
        proto::ProbeMulticast probe;
        probe.set_node(id);
        stranger->multicast(MessageType::kProbeMulticast, probe, NodeId{id});
    }
    cluster.world().run_for(100ms);
    follower->crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster.wait_for_one_view());
    EXPECT_TRUE(cluster.leader()->node().current_view()->multicast);
    follower->start();
    for (std::uint64_t id = 2001; id <= 3000; ++id)
        stranger->multicast(MessageType::kProbeMulticast, proto::ProbeMulticast{}, NodeId{id});
    ASSERT_TRUE(cluster.wait_for_one_view());
    EXPECT_TRUE(cluster.leader()->node().current_view()->multicast);
}

TEST_P(Strangers, HeartbeatsOfOthersAreNotHeard) {
    proto::Heartbeat heartbeat;
    heartbeat.set_cluster_id(leader->node().core().record.cluster.value);
    heartbeat.set_view(before.number.value);
    heartbeat.set_node(follower->node().id().value);
    heartbeat.set_incarnation(run_of(*follower).incarnation.value);
    heartbeat.set_last_sequence(1'000'000);
    for (const view::Member& member : before.members) heartbeat.add_lost(member.id.value);
    stranger->multicast(MessageType::kHeartbeat, heartbeat, follower->node().id(), before.number);
    stranger->say(leader->address(), MessageType::kHeartbeat, heartbeat, &run_of(*follower));
    expect_nothing_came_of_it();
}

TEST_P(Strangers, NobodySpeaksForAMemberOnAConnection) {
    const std::uint64_t cluster_id = leader->node().core().record.cluster.value;
    const view::Member as_leader = run_of(*leader);
    const view::Member as_follower = run_of(*follower);
    Machine& third = cluster[(leader->index() + 2) % 3];

    const proto::ViewChosen chosen = everybody_is_out(leader->node());
    proto::StateExchange exchange;
    exchange.set_cluster_id(cluster_id);
    exchange.set_number(before.number.value + 5);
    *exchange.mutable_coordinator() = view::to_proto(as_leader);
    proto::PeerReport report;
    report.set_cluster_id(cluster_id);
    report.set_view(before.number.value);
    report.set_node(as_follower.id.value);
    report.add_slow(third.node().id().value);
    proto::Handover handover;
    handover.set_cluster_id(cluster_id);
    handover.set_leaving(as_follower.id.value);
    proto::Learn learn;
    learn.set_cluster_id(cluster_id);
    *learn.mutable_node() = view::to_proto(as_follower);
    learn.set_ready(true);
    proto::Election election;
    election.set_cluster_id(cluster_id);
    election.set_id(99);
    election.set_initiator(as_follower.id.value);
    election.set_candidate(as_follower.id.value);
    for (const view::Member& member : before.members) election.add_ring(member.id.value);
    election.set_forced(true);
    proto::ReplicateAck ack;
    ack.set_cluster_id(cluster_id);
    ack.set_view(before.number.value);
    ack.set_node(as_follower.id.value);
    ack.set_incarnation(as_follower.incarnation.value);
    ack.set_durable_sequence(1'000'000);

    // Without a word who it is, as itself, as a member, and as another run of a member.
    view::Member itself = as_follower;
    itself.id = NodeId{4711};
    std::tie(itself.ip, itself.port) = std::tuple(kStranger.ip, kStranger.port);
    view::Member later = as_follower;
    later.incarnation = protocol::Incarnation{12};
    std::tie(later.ip, later.port) = std::tuple(kStranger.ip, kStranger.port);
    const auto try_all = [&](const view::Member* as_a_leader, const view::Member* as_another) {
        stranger->say(follower->address(), MessageType::kViewChosen, chosen, as_a_leader);
        expect_nothing_came_of_it(500ms);
        EXPECT_TRUE(stranger->closed());
        stranger->say(follower->address(), MessageType::kStateExchange, exchange, as_a_leader);
        expect_nothing_came_of_it(500ms);
        for (Machine* to : {leader, &third}) {
            stranger->say(to->address(), MessageType::kPeerReport, report, as_another);
            stranger->say(to->address(), MessageType::kHandover, handover, as_another);
            stranger->say(to->address(), MessageType::kLearn, learn, as_another);
            stranger->say(to->address(), MessageType::kElection, election, as_another);
            stranger->say(to->address(), MessageType::kReplicateAck, ack, as_another);
            expect_nothing_came_of_it(500ms);
            EXPECT_TRUE(stranger->closed());
        }
    };
    try_all(nullptr, nullptr);
    try_all(&as_leader, &as_follower);
    try_all(&itself, &itself);
    try_all(&later, &later);
}

// One that knows nothing of them and has no records would start afresh at once.
TEST_P(Strangers, AnAnswerFromNobodyErasesNoLineage) {
    proto::JoinResponse response;
    response.set_cluster("logstream");
    response.set_cluster_id(4711);
    response.set_serving(true);
    response.set_has_records(true);
    view::Member nobody = run_of(*leader);
    nobody.id = NodeId{1234};
    std::tie(nobody.ip, nobody.port) = std::tuple(kStranger.ip, kStranger.port);
    *response.mutable_responder() = view::to_proto(nobody);
    proto::Join announcement = join_as(nobody);
    announcement.set_cluster_id(4711);
    announcement.set_leader(true);
    announcement.set_members(30);
    announcement.set_has_records(true);
    for (const bool listens : {false, true}) {
        stranger->listens = listens;
        for (Machine* machine : cluster.running())
            stranger->datagram(machine->address(), MessageType::kJoinResponse, response, nobody.id);
        stranger->broadcast(MessageType::kJoin, announcement, nobody.id);
        expect_nothing_came_of_it();
    }
}

// An older version believed such numbers; the cluster has promised the last one there is.
TEST_P(Strangers, AClusterWithoutNumbersIsRecovered) {
    const auto stream = cluster.make_topic("t");
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(cluster.append(stream, std::to_string(i)));
    for (Machine* machine : cluster.running()) machine->node().core().record.promised = protocol::kMaxViewNumber;
    int saved = 0;
    for (Machine* machine : cluster.running()) machine->node().core().persist([&] { ++saved; });
    ASSERT_TRUE(cluster.world().run_until([&] { return saved == 3; }, 1s));
    for (std::size_t i = 0; i < 3; ++i) cluster[i].crash(FakeDisk::Crash::kProcess);
    cluster.start_all();
    cluster.world().run_for(5s);
    proto::Admin recover;
    recover.set_action(proto::Admin::RECOVER);
    recover.set_cluster_id(4711);
    for (std::size_t i = 0; i < 3; ++i) {
        ASSERT_FALSE(cluster[i].node().serving());
        recover.add_survivors(cluster[i].node().id().value);
    }
    EXPECT_TRUE(std::ranges::any_of(cluster.running(), [](Machine* machine) {
        return machine->node().refusal()->message.find("logstreamctl recover") != std::string::npos;
    }));
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(cluster[i].node().on_admin(recover).error().message(), "");
    ASSERT_TRUE(cluster.wait_for_one_view());
    EXPECT_GT(cluster.leader()->node().current_view()->number, before.number);
    EXPECT_LT(cluster.leader()->node().current_view()->number.value, before.number.value + 100);
    for (int i = 5; i < 10; ++i) ASSERT_TRUE(cluster.append_soon(stream, std::to_string(i)));
    expect_everything_everywhere(cluster, stream);
}

}  // namespace
}  // namespace logstream::sim
