// What a broker says of itself: where it stands, what it warns of, and whatever bytes its folder is called by.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/sim/cluster.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using storage::FakeDisk;
using ::testing::HasSubstr;

json status_of(Machine& machine) { return json::parse(machine.node().status_json()); }

std::string id_of(Machine& machine) { return protocol::hex(machine.node().id().value); }

class Status : public ::testing::Test {
protected:
    Status() : cluster_(1, 3, Transcript::Detail::kInfo, [this](std::string_view line) { log_ += line; }) {
        for (std::size_t i = 0; i < cluster_.size(); ++i) cluster_[i].options().settings.data_dir = "/srv/caf\xe9";
        cluster_.start_all();
        EXPECT_TRUE(cluster_.wait_for_one_view());
    }
    Machine& a_follower() {
        for (Machine* machine : cluster_.running())
            if (machine != cluster_.leader()) return *machine;
        return cluster_[0];
    }

    std::string log_;
    Cluster cluster_;
};

TEST_F(Status, OfMembers) {
    const json status = status_of(a_follower());
    EXPECT_TRUE(status["in_view"]);
    EXPECT_TRUE(status["quorum"]);
    EXPECT_EQ(status["warnings"], json::array());
    EXPECT_EQ(status["members"].size(), 3u);
}

TEST_F(Status, ShowsAFolderWhoseNameIsNoUtf8) {
    EXPECT_EQ(status_of(cluster_[0])["disk"]["dir_base64"], "L3Nydi9jYWbp");
}

// It hears no heartbeats of a view that it is not in: to tell of their absence would be to tell of failures.
TEST_F(Status, OfARemovedBrokerIsThatOfOneOutside) {
    Machine& removed = a_follower();
    proto::Admin request;
    request.set_action(proto::Admin::REMOVE);
    request.set_node(removed.node().id().value);
    ASSERT_EQ(cluster_.leader()->node().on_admin(request).error().code(), 0u);
    cluster_.world().run_for(20s);
    const json status = status_of(removed);
    EXPECT_FALSE(status["in_view"]);
    EXPECT_FALSE(status["quorum"]);
    EXPECT_THAT(status["reason"].get<std::string>(), HasSubstr("outside view"));
    std::map<std::string, std::string> roles;
    for (const json& member : status["members"]) {
        roles[member["id"]] = member["role"];
        EXPECT_EQ(member["phi"], 0.0) << member;
        EXPECT_EQ(member["failed"], false) << member;
    }
    ASSERT_EQ(roles.size(), 3u);
    EXPECT_EQ(roles[id_of(removed)], "learner");
    EXPECT_EQ(roles[status["leader"]], "leader");
    EXPECT_NE(status["leader"], id_of(removed));
}

TEST_F(Status, NamesWhoLeftTheViewUntilItIsBack) {
    Machine& lost = a_follower();
    const std::string id = id_of(lost);
    lost.crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster_.wait_for_one_view());
    json gone = status_of(*cluster_.leader())["gone"];
    ASSERT_EQ(gone.size(), 1U);
    EXPECT_EQ(gone[0]["id"], id);
    EXPECT_EQ(gone[0]["name"], lost.name());
    lost.start();
    ASSERT_TRUE(cluster_.wait_for_one_view());
    EXPECT_EQ(status_of(*cluster_.leader())["gone"].size(), 0U);
}

TEST_F(Status, OfAViewThatShrankToOneMemberWarnsOfOneCopy) {
    for (int left = 2; left > 0; --left) {
        a_follower().crash(FakeDisk::Crash::kProcess);
        ASSERT_TRUE(cluster_.wait_for_one_view());
        EXPECT_EQ(log_.contains("has 1 copy"), left == 1);
    }
    const json status = status_of(*cluster_.leader());
    EXPECT_TRUE(status["quorum"]);
    ASSERT_EQ(status["warnings"].size(), 1u);
    EXPECT_THAT(status["warnings"][0].get<std::string>(), HasSubstr("1 copy"));
}

TEST_F(Status, WithoutQuorumWarnsOfNoCopies) {
    Machine& alone = a_follower();
    cluster_.isolate(alone.index());
    cluster_.world().run_for(5s);
    EXPECT_FALSE(status_of(alone)["quorum"]);
    EXPECT_EQ(status_of(alone)["warnings"], json::array());
}

TEST_F(Status, OfViewChanges) {
    Machine* const first = cluster_.leader();
    Machine& other = a_follower();
    first->crash(FakeDisk::Crash::kProcess);
    ASSERT_TRUE(cluster_.wait_for_one_view());
    const json views = json::parse(cluster_.leader()->node().views_json())["views"];
    ASSERT_GE(views.size(), 2U);
    const json newest = views.back();
    EXPECT_EQ(newest["view"], status_of(other)["view"]);
    EXPECT_EQ(newest["members"].size(), 2U);
    EXPECT_FALSE(newest["leader"].get<std::string>().empty());
    EXPECT_FALSE(newest["reason"].get<std::string>().empty());
    EXPECT_GT(newest["exchange_ms"], 0.0);
    EXPECT_GE(newest["frozen_ms"], newest["exchange_ms"].get<double>() / 2);
    EXPECT_LT(newest["frozen_ms"], 2000.0);
    EXPECT_GT(newest["since_ms"], views.front()["since_ms"]);
    // Of a follower it tells what that one knows.
    for (Machine* machine : cluster_.running()) {
        const json told = json::parse(machine->node().views_json())["views"].back();
        EXPECT_EQ(told["view"], newest["view"]);
        EXPECT_EQ(told.contains("reason"), machine == cluster_.leader());
    }
}

}  // namespace
}  // namespace logstream::sim
