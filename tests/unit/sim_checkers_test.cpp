// The checkers' judgement: logs and reports made by hand, each with one thing wrong, and what is said of it. (That they
// find what a broken broker does is in tests/CMakeLists.txt: logstream-sim --prove-checkers.)
#include <gmock/gmock.h>

#include "internal/protocol/checksum.h"
#include "tests/sim/checkers/committed.h"
#include "tests/sim/checkers/final_logs.h"
#include "tests/sim/checkers/groups.h"

namespace logstream::sim {
namespace {

using protocol::ErrorCode;
using protocol::TopicId;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr ClusterId kCluster{7};
constexpr StreamId kStream{TopicId{1}, 0};
constexpr StreamId kOtherStream{TopicId{1}, 1};
constexpr LogKey kLog{kCluster, kStream};

std::uint32_t crc_of(const std::string& value) { return protocol::crc32c(std::as_bytes(std::span(value))); }

// Ten records of one producer, all acknowledged, at offsets 0 to 9 of two replicas: nothing is wrong yet.
class CheckersTest : public testing::Test {
protected:
    static constexpr std::int64_t kRecords = 10;

    CheckersTest() {
        for (std::int64_t i = 0; i < kRecords; ++i) log[Offset{i}] = send(i);
    }

    // What stands where the next record of the producer was acknowledged.
    TrueRecord send(std::int64_t offset) {
        Sent& sent = history.add({.number = 0, .instance = 0}, 0, proto::QUORUM, {});
        sent.crc = crc_of(make_value(0, count_of(sent.id), 40));
        sent.outcome = Outcome::kAcknowledged;
        sent.cluster = kCluster;
        sent.stream = kStream;
        sent.offset = Offset{offset};
        return {.known = true, .orphan = false, .id = sent.id, .crc = *sent.crc, .view = ViewNumber{1}};
    }

    Sent& sent(std::int64_t offset) { return *history.find(static_cast<RecordId>(offset + 1)); }

    // The promises that are broken when the replicas hold these.
    std::vector<std::string> judge(const std::vector<ReplicaLogs::Log>& replicas) {
        ReplicaLogs logs(violations, committed.truth());
        for (const ReplicaLogs::Log& replica : replicas) logs.add("a replica", kLog, replica, Offset{0});
        logs.check_once(kStream);
        logs.check(history, kCluster);
        return broken();
    }

    // The same of a reader that got the records at these offsets.
    std::vector<std::string> judge_reader(const std::vector<std::int64_t>& offsets) {
        judge({log});
        Offset previous{-1};
        for (const std::int64_t offset : offsets) {
            const TrueRecord& record = log.at(Offset{offset});
            committed.on_delivery("a reader", {kCluster, kStream, previous, Offset{offset}, record.id, record.crc},
                                  false);
            previous = Offset{offset};
        }
        committed.at_end();
        return broken();
    }

    std::vector<std::string> broken() const {
        std::vector<std::string> out;
        for (const Violation& violation : violations.list()) out.push_back(violation.promise);
        return out;
    }

    protocol::TimePoint now;
    Violations violations{now};
    CommittedChecker committed{violations};
    History history;
    ReplicaLogs::Log log;
};

TEST_F(CheckersTest, NothingIsWrong) { EXPECT_THAT(judge({log, log}), IsEmpty()); }

TEST_F(CheckersTest, AnAcknowledgedRecordIsLost) {
    log.erase(Offset{kRecords - 1});
    EXPECT_THAT(judge({log, log}), ElementsAre("P1"));
}

TEST_F(CheckersTest, AnUnknownRecordMayBeLost) {
    sent(kRecords - 1).outcome = Outcome::kUnknown;
    log.erase(Offset{kRecords - 1});
    EXPECT_THAT(judge({log, log}), IsEmpty());
}

TEST_F(CheckersTest, ARecordStandsElsewhereThanAcknowledged) {
    log[Offset{kRecords}] = log.extract(Offset{kRecords - 1}).mapped();
    EXPECT_THAT(judge({log, log}), ElementsAre("P1"));
}

TEST_F(CheckersTest, ARecordStandsTwice) {
    log[Offset{kRecords}] = log.at(Offset{kRecords - 1});
    EXPECT_THAT(judge({log, log}), ElementsAre("P6"));
}

TEST_F(CheckersTest, ARecordStandsInTwoStreams) {
    ReplicaLogs logs(violations, committed.truth());
    logs.add("a replica", kLog, log, Offset{0});
    logs.add("a replica", {kCluster, kOtherStream}, {{Offset{0}, log.at(Offset{3})}}, Offset{0});
    logs.check_once(kStream);
    logs.check_once(kOtherStream);
    EXPECT_THAT(broken(), ElementsAre("P6"));
}

TEST_F(CheckersTest, TwoRecordsChangePlaces) {
    std::swap(log.at(Offset{4}), log.at(Offset{5}));
    std::swap(sent(4).offset, sent(5).offset);
    EXPECT_THAT(judge({log, log}), ElementsAre("P7"));
}

TEST_F(CheckersTest, AnOrphanMayStandBehindLaterRecords) {
    std::swap(log.at(Offset{4}), log.at(Offset{5}));
    std::swap(sent(4).offset, sent(5).offset);
    log.at(Offset{5}).orphan = true;
    EXPECT_THAT(judge({log, log}), IsEmpty());
}

TEST_F(CheckersTest, ARecordIsAlteredEverywhere) {
    log.at(Offset{4}).crc ^= 1;
    EXPECT_THAT(judge({log, log}), ElementsAre("P1"));
}

TEST_F(CheckersTest, ARecordIsAlteredAtOneReplica) {
    ReplicaLogs::Log other = log;
    other.at(Offset{4}).crc ^= 1;
    EXPECT_THAT(judge({log, other}), ElementsAre("P2"));
}

TEST_F(CheckersTest, ReplicasDifferInTheirOrder) {
    ReplicaLogs::Log other = log;
    std::swap(other.at(Offset{4}), other.at(Offset{5}));
    EXPECT_THAT(judge({log, other}), ElementsAre("P2", "P2"));
}

TEST_F(CheckersTest, ARefusedRecordStands) {
    sent(kRecords - 1).outcome = Outcome::kFailed;
    sent(kRecords - 1).error = ErrorCode::kTimeout;
    EXPECT_THAT(judge({log, log}), ElementsAre("definite errors"));
}

TEST_F(CheckersTest, ARecordThatNobodySentStands) {
    log[Offset{kRecords}] = {.known = true, .orphan = false, .id = kRecords + 1, .crc = 0, .view = ViewNumber{1}};
    EXPECT_THAT(judge({log, log}), ElementsAre("P1"));
}

TEST_F(CheckersTest, ARecordIsAcknowledgedWhereAnotherOneStands) {
    judge({log, log});
    sent(4).offset = Offset{5};
    committed.on_report(sent(4));
    EXPECT_THAT(broken(), ElementsAre("P1"));
}

TEST_F(CheckersTest, AReaderGotEverything) { EXPECT_THAT(judge_reader({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}), IsEmpty()); }

TEST_F(CheckersTest, AReaderLeavesARecordOut) { EXPECT_THAT(judge_reader({0, 1, 3}), ElementsAre("P2")); }

TEST_F(CheckersTest, AReaderGetsARecordAgain) { EXPECT_THAT(judge_reader({0, 1, 1}), ElementsAre("P2")); }

TEST_F(CheckersTest, AReaderGotWhatNobodyCommitted) {
    judge({log, log});
    committed.on_delivery("a reader", {kCluster, kStream, Offset{-1}, Offset{kRecords}, 1, 0}, false);
    committed.at_end();
    EXPECT_THAT(broken(), ElementsAre("P2"));
}

TEST_F(CheckersTest, AReaderGotAnAlteredRecord) {
    judge({log, log});
    const TrueRecord& record = log.at(Offset{4});
    committed.on_delivery("a reader", {kCluster, kStream, Offset{-1}, Offset{4}, record.id, record.crc ^ 1}, false);
    EXPECT_THAT(broken(), ElementsAre("P2"));
}

TEST_F(CheckersTest, ARecordNeverReachesItsAudience) {
    judge({log, log});
    std::vector<bool> got(kRecords, true);
    committed.check_complete("a group", kLog, got);
    EXPECT_THAT(broken(), IsEmpty());
    got[4] = false;
    committed.check_complete("a group", kLog, got);
    EXPECT_THAT(broken(), ElementsAre("P2"));
}

// Two members of a group, the first of which has got offset 0.
class GroupCheckerTest : public testing::Test {
protected:
    static constexpr Endpoint kFirst{1, 1};
    static constexpr Endpoint kSecond{2, 1};

    GroupCheckerTest() {
        groups.on_begin(kFirst);
        groups.on_begin(kSecond);
        deliver(kFirst, 0);
    }
    void deliver(Endpoint member, std::int64_t offset) {
        groups.on_delivery("g", member, {kCluster, kStream, Offset{-1}, Offset{offset}, 1, 0});
    }
    std::vector<std::string> broken() const {
        std::vector<std::string> out;
        for (const Violation& violation : violations.list()) out.push_back(violation.promise);
        return out;
    }

    protocol::TimePoint now;
    Violations violations{now};
    GroupChecker groups{violations, now};
};

TEST_F(GroupCheckerTest, ARecordIsReadTwiceWhileItsReaderLives) {
    for (int i = 0; i < 5; ++i) {
        now += std::chrono::seconds(2);
        groups.on_heard(kFirst);
    }
    deliver(kSecond, 0);
    EXPECT_THAT(broken(), ElementsAre("group once"));
}

TEST_F(GroupCheckerTest, AReaderThatWasNotHeardOfMayLoseItsPartitions) {
    now += std::chrono::seconds(6);
    groups.on_heard(kFirst);
    deliver(kSecond, 0);
    EXPECT_THAT(broken(), IsEmpty());
}

TEST_F(GroupCheckerTest, WhatADeadReaderGotIsReadAgain) {
    groups.on_begin(kFirst);
    deliver(kFirst, 0);
    EXPECT_THAT(broken(), IsEmpty());
}

TEST_F(GroupCheckerTest, ARecordIsSkipped) {
    Truth truth;
    for (std::int64_t offset = 0; offset < 3; ++offset)
        truth.agree({kCluster, kStream}, Offset{offset},
                    {.known = true, .orphan = false, .id = 1, .crc = 0, .view = {}});
    deliver(kSecond, 2);
    EXPECT_NE(groups.what_is_missing(truth), "");
    deliver(kSecond, 1);
    EXPECT_EQ(groups.what_is_missing(truth), "");
    truth.agree({kCluster, kOtherStream}, Offset{0}, {.known = true, .orphan = false, .id = 2, .crc = 0, .view = {}});
    EXPECT_NE(groups.what_is_missing(truth), "") << "of a partition that nobody read";
}

}  // namespace
}  // namespace logstream::sim
