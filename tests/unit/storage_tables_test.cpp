// The tables that follow from a log alone: views, producers, orphan keys.
#include <gtest/gtest.h>

#include <random>

#include "internal/storage/log_tables.h"
#include "internal/storage/snapshot.h"
#include "internal/storage/table_history.h"

namespace logstream::storage {
namespace {

EpochTable table(std::initializer_list<std::pair<int, int>> entries) {
    EpochTable t;
    for (const auto& [view, first] : entries) t.append(ViewNumber(static_cast<std::uint64_t>(view)), Offset(first));
    return t;
}

TEST(EpochTable, TellsWhichViewWroteAnOffset) {
    const EpochTable t = table({{2, 0}, {5, 10}, {9, 12}});
    EXPECT_EQ(t.view_at(Offset(0)), ViewNumber(2));
    EXPECT_EQ(t.view_at(Offset(9)), ViewNumber(2));
    EXPECT_EQ(t.view_at(Offset(10)), ViewNumber(5));
    EXPECT_EQ(t.view_at(Offset(1000)), ViewNumber(9));
    EXPECT_EQ(table({{3, 7}}).view_at(Offset(6)), std::nullopt);
    EXPECT_EQ(t.last_view(), ViewNumber(9));
}

TEST(EpochTable, TruncateForgetsViewsThatBeganAbove) {
    EpochTable t = table({{2, 0}, {5, 10}, {9, 12}});
    t.truncate(Offset(12));
    EXPECT_EQ(t, table({{2, 0}, {5, 10}}));
    t.truncate(Offset(10));
    EXPECT_EQ(t, table({{2, 0}}));
    t.truncate(Offset(0));
    EXPECT_TRUE(t.empty());
}

struct DivergenceCase {
    const char* name;
    EpochTable a;
    int a_end;
    EpochTable b;
    int b_end;
    int expected;
};

TEST(EpochTable, DivergenceIsTheFirstOffsetThatMayDiffer) {
    const DivergenceCase cases[] = {
        {"equal", table({{1, 0}}), 10, table({{1, 0}}), 10, 10},
        {"prefix", table({{1, 0}}), 5, table({{1, 0}}), 10, 5},
        {"both empty", {}, 0, {}, 0, 0},
        {"one empty", {}, 0, table({{1, 0}}), 10, 0},
        {"new view on one side only", table({{1, 0}}), 10, table({{1, 0}, {2, 6}}), 12, 6},
        {"the old side is shorter than the new view's start", table({{1, 0}}), 4, table({{1, 0}, {2, 6}}), 12, 4},
        {"different views after a shared one", table({{1, 0}, {2, 5}}), 9, table({{1, 0}, {3, 5}}), 9, 5},
        {"the same later view does not make up for an earlier difference", table({{1, 0}, {3, 5}}), 9,
         table({{2, 0}, {3, 5}}), 9, 0},
        {"the same view from another offset on", table({{1, 0}, {2, 5}}), 9, table({{1, 0}, {2, 7}}), 9, 5},
        {"a learner's table begins later, within a view", table({{1, 0}, {2, 5}}), 20, table({{2, 8}}), 20, 20},
        {"a learner's table begins later and differs", table({{1, 0}, {2, 5}, {3, 15}}), 20, table({{2, 8}}), 20, 15},
        {"empty learner past the other's end", table({{1, 0}}), 5, {}, 100, 5},
    };
    for (const DivergenceCase& c : cases) {
        EXPECT_EQ(divergence(c.a, Offset(c.a_end), c.b, Offset(c.b_end)), Offset(c.expected)) << c.name;
        EXPECT_EQ(divergence(c.b, Offset(c.b_end), c.a, Offset(c.a_end)), Offset(c.expected)) << c.name << " (swapped)";
    }
}

TEST(EpochTable, DivergenceMatchesAComparisonOffsetByOffset) {
    std::mt19937_64 random(1);
    for (int round = 0; round < 2000; ++round) {
        EpochTable tables[2];
        Offset ends[2];
        for (int side = 0; side < 2; ++side) {
            std::int64_t at = 0;
            std::uint64_t view = 0;
            for (auto n = random() % 5; n-- > 0;) {
                view += 1 + random() % 2;
                tables[side].append(ViewNumber(view), Offset(at));
                at += 1 + static_cast<std::int64_t>(random() % 3);
            }
            ends[side] = Offset(at);
        }
        Offset expected = std::min(ends[0], ends[1]);
        for (Offset at; at < expected; ++at) {
            if (tables[0].view_at(at) != tables[1].view_at(at)) expected = at;
        }
        ASSERT_EQ(divergence(tables[0], ends[0], tables[1], ends[1]), expected);
    }
}

constexpr ProducerId kP{77};
ProducerBatch batch(std::int16_t epoch, std::int32_t first, std::int32_t last) { return {kP, epoch, first, last}; }

TEST(ProducerTable, KnowsTheNextARetryAGapAndAFencedEpoch) {
    ProducerTable t;
    EXPECT_EQ(t.check(batch(0, 0, 4)).verdict, SequenceCheck::kNew);
    EXPECT_EQ(t.check(batch(0, 5, 5)).verdict, SequenceCheck::kGap) << "an unknown producer begins at 0";
    t.apply(batch(0, 0, 4), Offset(100));
    t.apply(batch(0, 5, 9), Offset(200));
    EXPECT_EQ(t.check(batch(0, 10, 10)).verdict, SequenceCheck::kNew);
    const CheckResult retry = t.check(batch(0, 0, 4));
    EXPECT_EQ(retry.verdict, SequenceCheck::kDuplicate);
    EXPECT_EQ(retry.duplicate_of, Offset(100));
    EXPECT_EQ(t.check(batch(0, 11, 12)).verdict, SequenceCheck::kGap);
    EXPECT_EQ(t.check(batch(0, 8, 12)).verdict, SequenceCheck::kGap) << "an overlap is no retry";
    t.apply(batch(1, 0, 0), Offset(300));
    EXPECT_EQ(t.check(batch(0, 10, 10)).verdict, SequenceCheck::kFenced);
    EXPECT_EQ(t.check({protocol::kNoProducer, -1, -1, -1}).verdict, SequenceCheck::kNew);
}

TEST(ProducerTable, ANewEpochBeginsAtZeroOrGoesOn) {
    ProducerTable t;
    t.apply(batch(0, 0, 9), Offset(0));
    EXPECT_EQ(t.check(batch(1, 0, 3)).verdict, SequenceCheck::kNew);
    EXPECT_EQ(t.check(batch(1, 10, 13)).verdict, SequenceCheck::kNew);
    EXPECT_EQ(t.check(batch(1, 11, 13)).verdict, SequenceCheck::kGap);
    t.apply(batch(1, -1, -1), Offset(10));  // a fence
    EXPECT_EQ(t.check(batch(0, 10, 10)).verdict, SequenceCheck::kFenced);
    EXPECT_EQ(t.check(batch(1, 10, 13)).verdict, SequenceCheck::kNew);
    EXPECT_EQ(t.sent_by(kP)->next(), 10);
    EXPECT_EQ(t.epoch_of(kP), 1);
}

TEST(ProducerTable, OnlyTheLastFiveBatchesGiveTheirOffset) {
    ProducerTable t;
    for (int i = 0; i < 7; ++i) t.apply(batch(0, i, i), Offset(i * 10));
    EXPECT_EQ(t.check(batch(0, 1, 1)).verdict, SequenceCheck::kDuplicate);
    EXPECT_FALSE(t.check(batch(0, 1, 1)).duplicate_of);
    EXPECT_EQ(t.check(batch(0, 2, 2)).duplicate_of, Offset(20));
}

TEST(ProducerTable, AnOrphanFillsItsGapAndNeverMovesBack) {
    ProducerTable t;
    t.apply(batch(0, 0, 4), Offset(0));
    t.apply(batch(0, 10, 14), Offset(5));  // 5..9 were dropped by a view change
    EXPECT_EQ(t.standing(batch(0, 5, 9)), Standing::kAbsent);
    EXPECT_EQ(t.standing(batch(0, 4, 6)), Standing::kAbsent);
    EXPECT_EQ(t.standing(batch(0, 0, 4)), Standing::kPresent);
    EXPECT_EQ(t.check(batch(0, 5, 9)).verdict, SequenceCheck::kGap) << "too late for order";
    t.apply(batch(0, 7, 9), Offset(10));
    EXPECT_EQ(t.standing(batch(0, 5, 9)), Standing::kAbsent);
    EXPECT_EQ(t.standing(batch(0, 7, 9)), Standing::kPresent);
    t.apply(batch(0, 5, 6), Offset(13));
    EXPECT_EQ(t.standing(batch(0, 0, 14)), Standing::kPresent);
    EXPECT_EQ(t.check(batch(0, 15, 15)).verdict, SequenceCheck::kNew);
}

TEST(ProducerTable, RemembersOlderEpochs) {
    ProducerTable t;
    t.apply(batch(3, 0, 4), Offset(0));
    t.apply(batch(3, 8, 9), Offset(5));
    for (std::int16_t epoch = 4; epoch < 4 + static_cast<int>(ProducerTable::kOlderEpochs); ++epoch) {
        t.apply(batch(epoch, 0, 0), Offset(100 + epoch));
    }
    EXPECT_EQ(t.standing(batch(3, 0, 4)), Standing::kPresent);
    EXPECT_EQ(t.standing(batch(3, 5, 7)), Standing::kAbsent);
    t.apply(batch(3, 5, 7), Offset(500));  // an orphan of an old epoch
    EXPECT_EQ(t.standing(batch(3, 0, 9)), Standing::kPresent);
    EXPECT_EQ(t.epoch_of(kP), 11);
    t.apply(batch(12, 0, 0), Offset(600));
    EXPECT_EQ(t.standing(batch(3, 0, 4)), Standing::kForgotten);
    EXPECT_EQ(t.standing(batch(13, 0, 4)), Standing::kAbsent);
}

// An instance that resumes takes over all that is not in the log, whatever it has sent of it yet.
TEST(ProducerTable, WhatAnInstanceSendsAgainIsNotWantedOfOlderOnes) {
    const ProducerBatch fence = batch(2, protocol::kResumeSequence, -1);
    ProducerTable t;
    t.apply(batch(1, 0, 4), Offset(0));
    EXPECT_EQ(t.standing(batch(1, 5, 6)), Standing::kAbsent);
    t.apply(fence, Offset(5));
    EXPECT_EQ(t.check(batch(1, 5, 6)).verdict, SequenceCheck::kFenced);
    EXPECT_EQ(t.standing(batch(1, 5, 6)), Standing::kSentAgain);
    EXPECT_EQ(t.standing(batch(1, 0, 4)), Standing::kPresent);
    EXPECT_EQ(t.standing(batch(2, 5, 6)), Standing::kAbsent) << "its own may be lost and come back";
    EXPECT_EQ(t.check(batch(2, 5, 6)).verdict, SequenceCheck::kNew);
    t.apply(batch(2, 5, 6), Offset(6));
    t.apply(fence, Offset(8));  // again: nothing changes
    t.apply(batch(3, protocol::kResumeSequence, -1), Offset(9));
    t.apply(batch(4, -1, -1), Offset(10));
    EXPECT_EQ(t.standing(batch(1, 5, 6)), Standing::kSentAgain) << "by the second one, of three";
    EXPECT_EQ(t.standing(batch(2, 7, 7)), Standing::kSentAgain) << "by the third one";
    EXPECT_EQ(t.standing(batch(3, 7, 7)), Standing::kAbsent) << "the fourth one does not resume";
    EXPECT_EQ(t.sent_by(kP)->next(), 7);
}

// A start that has nothing to send opens an epoch, too.
TEST(ProducerTable, ThePlaceOfANameOutlastsAnyNumberOfItsEpochs) {
    ProducerTable t;
    t.apply(batch(0, 0, 99), Offset(0));
    std::int16_t epoch = 1;
    for (; epoch <= 2 * static_cast<int>(ProducerTable::kOlderEpochs); ++epoch)
        t.apply(batch(epoch, epoch % 2 == 0 ? -1 : protocol::kResumeSequence, -1), Offset(100 + epoch));
    EXPECT_EQ(t.sent_by(kP)->next(), 100);
    EXPECT_EQ(t.check(batch(epoch, 100, 100)).verdict, SequenceCheck::kNew);
    t.apply(batch(epoch, protocol::kResumeSequence, -1), Offset(200));
    EXPECT_EQ(t.standing(batch(static_cast<std::int16_t>(epoch - 1), 99, 99)), Standing::kAbsent);
    EXPECT_EQ(t.standing(batch(static_cast<std::int16_t>(epoch - 1), 100, 100)), Standing::kSentAgain);
}

TEST(ProducerTable, OnlyTheFenceThatOpensAnEpochMakesItResume) {
    ProducerTable t;
    t.apply(batch(0, 0, 4), Offset(0));
    t.apply(batch(1, -1, -1), Offset(5));
    t.apply(batch(1, protocol::kResumeSequence, -1), Offset(6));
    EXPECT_EQ(t.standing(batch(0, 5, 5)), Standing::kAbsent);
}

// A hole is what an orphan left that was lost, with one behind it that came back.
TEST(ProducerTable, AnInstanceThatResumesFillsTheHoles) {
    ProducerTable t;
    t.apply(batch(0, 0, 4), Offset(0));
    t.apply(batch(0, 8, 9), Offset(5));
    t.apply(batch(0, 15, 19), Offset(7));
    EXPECT_EQ(t.sent_by(kP)->missing(), (std::vector<SequenceRange>{{5, 7}, {10, 14}}));
    t.apply(batch(1, protocol::kResumeSequence, -1), Offset(12));
    EXPECT_EQ(t.standing(batch(0, 5, 7)), Standing::kSentAgain) << "an orphan that comes back after all";
    EXPECT_EQ(t.standing(batch(0, 4, 5)), Standing::kSentAgain);
    EXPECT_EQ(t.standing(batch(0, 8, 9)), Standing::kPresent);
    EXPECT_EQ(t.check(batch(1, 20, 20)).verdict, SequenceCheck::kGap) << "the holes come first";
    EXPECT_EQ(t.check(batch(1, 10, 14)).verdict, SequenceCheck::kGap) << "in their order";
    EXPECT_EQ(t.check(batch(1, 5, 8)).verdict, SequenceCheck::kGap) << "8 is there";
    EXPECT_EQ(t.check(batch(1, 5, 6)).verdict, SequenceCheck::kNew);
    t.apply(batch(1, 5, 6), Offset(13));
    EXPECT_EQ(t.check(batch(1, 5, 6)).duplicate_of, Offset(13));
    EXPECT_EQ(t.check(batch(1, 7, 7)).verdict, SequenceCheck::kNew);
    t.apply(batch(1, 7, 7), Offset(15));
    EXPECT_EQ(t.check(batch(1, 10, 14)).verdict, SequenceCheck::kNew);
    t.apply(batch(1, 10, 14), Offset(16));
    EXPECT_TRUE(t.sent_by(kP)->missing().empty());
    EXPECT_EQ(t.check(batch(1, 15, 15)).verdict, SequenceCheck::kGap);
    EXPECT_EQ(t.check(batch(1, 20, 20)).verdict, SequenceCheck::kNew);
    EXPECT_EQ(t.standing(batch(0, 5, 7)), Standing::kSentAgain);
}

TEST(ProducerTable, OneThatBeginsAnewLeavesTheHolesAndTheOrphansOfTheOthers) {
    ProducerTable t;
    t.apply(batch(0, 0, 4), Offset(0));
    t.apply(batch(0, 8, 9), Offset(5));
    t.apply(batch(1, -1, -1), Offset(7));
    EXPECT_EQ(t.sent_by(kP)->first(), 10);
    EXPECT_EQ(t.sent_by(kP)->next(), 10);
    EXPECT_TRUE(t.sent_by(kP)->missing().empty());
    EXPECT_EQ(t.standing(batch(0, 5, 7)), Standing::kAbsent);
    EXPECT_EQ(t.standing(batch(0, 10, 12)), Standing::kAbsent);
    t.apply(batch(1, 10, 10), Offset(8));
    t.apply(batch(2, protocol::kResumeSequence, -1), Offset(9));
    EXPECT_EQ(t.standing(batch(0, 10, 12)), Standing::kAbsent) << "what resumes is the new thing";
    EXPECT_EQ(t.standing(batch(1, 11, 12)), Standing::kSentAgain);
    t.apply(batch(0, 10, 12), Offset(10));
    EXPECT_EQ(t.sent_by(kP)->next(), 11) << "an orphan of the old thing is none of the new one's records";
}

TEST(ProducerTable, TheSumOfWhatANameSentDoesNotDependOnTheOrder) {
    const auto with = [](std::int32_t first, std::int32_t last, std::optional<std::uint64_t> content) {
        ProducerBatch out = batch(0, first, last);
        out.named = true;
        out.content = content;
        return out;
    };
    ProducerTable t;
    t.apply(with(0, 4, 100), Offset(0));
    t.apply(with(8, 9, 7), Offset(5));
    EXPECT_EQ(t.sent_by(kP)->content(), 107u);
    t.apply(with(5, 7, 20), Offset(7));
    EXPECT_EQ(t.sent_by(kP)->content(), 127u);
    ProducerTable twice = t;
    twice.apply(with(5, 7, 20), Offset(10));
    EXPECT_EQ(twice.sent_by(kP)->content(), std::nullopt) << "two of one sequence";
    t.apply(with(10, 10, std::nullopt), Offset(10));
    EXPECT_EQ(t.sent_by(kP)->content(), std::nullopt) << "some of its records are gone";
    ProducerBatch fence = with(-1, -1, std::nullopt);
    fence.epoch = 1;
    t.apply(fence, Offset(11));
    EXPECT_EQ(t.sent_by(kP)->content(), 0u) << "one that begins anew";
}

// A name that is run each minute has used up all epochs in three weeks.
TEST(ProducerTable, EpochsOfANameGoOnPastTheirMaximum) {
    ProducerTable t;
    std::int64_t run = 0;
    for (; run < 2 * kEpochModulus + 10; ++run) {
        const auto epoch = static_cast<std::int16_t>(run % kEpochModulus);
        ASSERT_EQ(t.check(batch(epoch, -1, -1)).verdict, SequenceCheck::kNew) << run;
        t.apply(batch(epoch, protocol::kResumeSequence, -1), Offset(2 * run));
        ASSERT_EQ(t.epoch_of(kP), epoch);
        ASSERT_EQ(t.check(batch(epoch, static_cast<std::int32_t>(run), static_cast<std::int32_t>(run))).verdict,
                  SequenceCheck::kNew)
            << run;
        t.apply(batch(epoch, static_cast<std::int32_t>(run), static_cast<std::int32_t>(run)), Offset(2 * run + 1));
    }
    const auto now = static_cast<std::int32_t>(run);
    EXPECT_EQ(t.check(batch(9, now, now)).verdict, SequenceCheck::kNew);
    EXPECT_EQ(t.check(batch(8, now, now)).verdict, SequenceCheck::kFenced);
    EXPECT_EQ(t.check(batch(32767, now, now)).verdict, SequenceCheck::kFenced) << "ten runs ago";
    EXPECT_EQ(t.standing(batch(20000, now, now)), Standing::kSentAgain) << "12,000 runs ago";
}

// So many others came that the table forgot it: what it was is not known, and is not taken for gone.
TEST(ProducerTable, OneThatWasForgottenMayHaveOlderEpochs) {
    ProducerTable t(2);
    t.apply(batch(0, 0, 4), Offset(0));
    for (int i = 0; i < 3; ++i) t.apply({ProducerId(1000 + i), 0, 0, 0}, Offset(100 + i));
    ASSERT_FALSE(t.epoch_of(kP));
    t.apply(batch(1, 0, 0), Offset(200));
    EXPECT_EQ(t.standing(batch(0, 0, 4)), Standing::kForgotten);
    EXPECT_EQ(t.standing(batch(2, 0, 4)), Standing::kAbsent);
    for (int i = 0; i < 3; ++i) t.apply({ProducerId(1000 + i), 1, 0, 0}, Offset(300 + i));
    t.apply(batch(1, 7, 8), Offset(400));
    EXPECT_EQ(t.standing(batch(1, 1, 2)), Standing::kForgotten);
    EXPECT_EQ(t.standing(batch(1, 9, 9)), Standing::kAbsent);
}

// What an orphan asks of a fence that it finds in the log when the table has forgotten its producer.
TEST(ProducerTable, AFenceTellsExactlyWhatItTakesOver) {
    const auto takes = [](const ProducerTable& t, std::int16_t epoch, const ProducerBatch& orphan) {
        return ProducerTable::is_taken_over(orphan, batch(epoch, protocol::kResumeSequence, -1), t.takeover_by(kP));
    };
    ProducerTable t;
    EXPECT_TRUE(takes(t, 1, batch(0, 0, 3))) << "nothing is known";
    t.apply(batch(0, 0, 4), Offset(0));
    t.apply(batch(0, 8, 9), Offset(5));
    EXPECT_TRUE(takes(t, 1, batch(0, 5, 7))) << "a hole";
    EXPECT_TRUE(takes(t, 1, batch(0, 10, 12)));
    EXPECT_FALSE(takes(t, 1, batch(0, 3, 4)));
    EXPECT_FALSE(takes(t, 1, batch(1, 10, 12))) << "of its own epoch";
    t.apply(batch(1, -1, -1), Offset(7));
    EXPECT_FALSE(takes(t, 2, batch(0, 10, 12))) << "of something else";
    EXPECT_TRUE(takes(t, 2, batch(1, 10, 12)));
    EXPECT_FALSE(takes(t, 2, batch(2, 10, 12)));
    EXPECT_FALSE(takes(t, 2, batch(3, 10, 12))) << "of a later one";
}

namespace {
template <class Put>
bool decodes_with(ProducerTable::Format format, const Put& put, ProducerTable* into = nullptr) {
    ByteWriter out;
    out.put(std::uint8_t{0});
    out.put(std::uint8_t{0});
    out.put(std::uint32_t{1});
    out.put(kP.value);
    put(out);
    ProducerTable t;
    ByteReader in(out.span());
    const bool ok = t.decode(in, format) && in.at_end();
    if (into != nullptr) *into = t;
    return ok;
}
}  // namespace

TEST(ProducerTable, TheOlderFormatIsRead) {
    const auto older = [](Offset offset, std::int64_t last, std::int64_t resumes_behind) {
        return [=](ByteWriter& out) {
            out.put(offset.value);
            out.put(last);
            out.put(std::uint8_t{1});
            out.put(std::int16_t{3});
            out.put(std::int64_t{-1});
            out.put(std::int64_t{0});
            out.put(resumes_behind);
            for (int list = 0; list < 3; ++list) out.put(std::uint32_t{0});
        };
    };
    constexpr auto kFormat = ProducerTable::Format::kWithoutHoles;
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
    ProducerTable t;
    EXPECT_TRUE(decodes_with(kFormat, older(Offset(0), -1, -2)));
    EXPECT_TRUE(decodes_with(kFormat, older(Offset(0), 7, 7), &t));
    EXPECT_EQ(t.epoch_of(kP), 3);
    EXPECT_EQ(t.sent_by(kP)->next(), 8);
    EXPECT_EQ(t.sent_by(kP)->content(), std::nullopt);
    EXPECT_EQ(t.standing(batch(2, 8, 8)), Standing::kSentAgain);
    EXPECT_EQ(t.check(batch(3, 8, 8)).verdict, SequenceCheck::kNew);
    EXPECT_FALSE(decodes_with(kFormat, older(Offset(-1), -1, -2)));
    EXPECT_FALSE(decodes_with(kFormat, older(Offset(0), -2, -2)));
    EXPECT_FALSE(decodes_with(kFormat, older(Offset(0), kMost, -2)));
    EXPECT_FALSE(decodes_with(kFormat, older(Offset(0), -1, kMost)));
    EXPECT_FALSE(decodes_with(kFormat, older(Offset(0), -1, -3)));
}

TEST(ProducerTable, BytesThatMakeNoSenseAreRefused) {
    struct Fields {
        Offset offset;
        std::int64_t first{};
        std::int64_t next{};
        SequenceRange hole{-1, -1};  // none
        std::int64_t opened_at{};
    };
    const auto decodes = [](const Fields& fields) {
        return decodes_with(ProducerTable::Format::kPresent, [&fields](ByteWriter& out) {
            out.put(fields.offset.value);
            out.put(fields.first);
            out.put(fields.next);
            out.put(std::uint8_t{1});
            out.put(std::uint8_t{1});
            out.put(std::uint64_t{0});
            out.put(std::uint32_t{fields.hole.last < 0 ? 0u : 1u});
            if (fields.hole.last >= 0) {
                out.put(fields.hole.first);
                out.put(fields.hole.last);
            }
            out.put(std::int64_t{0});  // begun
            out.put(std::uint8_t{0});
            out.put(std::uint8_t{1});
            out.put(std::int64_t{0});
            out.put(std::int64_t{-1});
            out.put(std::int64_t{0});
            out.put(fields.opened_at);
            out.put(std::uint8_t{1});
            out.put(std::int64_t{0});
            for (int list = 0; list < 4; ++list) out.put(std::uint32_t{0});
        });
    };
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
    EXPECT_TRUE(decodes({.offset = Offset(0), .first = 3, .next = 9, .hole = {4, 7}}));
    EXPECT_FALSE(decodes({.offset = Offset(-1)}));
    EXPECT_FALSE(decodes({.offset = Offset(0), .first = 5, .next = 4}));
    EXPECT_FALSE(decodes({.offset = Offset(0), .next = kMost}));
    EXPECT_FALSE(decodes({.offset = Offset(0), .first = 3, .next = 9, .hole = {2, 7}}));
    EXPECT_FALSE(decodes({.offset = Offset(0), .first = 3, .next = 9, .hole = {7, 4}}));
    EXPECT_FALSE(decodes({.offset = Offset(0), .first = 3, .next = 9, .hole = {4, 9}}));
    EXPECT_FALSE(decodes({.offset = Offset(0), .opened_at = -1}));
    EXPECT_FALSE(decodes({.offset = Offset(0), .opened_at = kMost}));
}

TEST(ProducerTable, AFenceThatFindsNothingTakesOverFromTheBeginning) {
    ProducerTable t;
    t.apply(batch(1, protocol::kResumeSequence, -1), Offset(0));
    EXPECT_EQ(t.standing(batch(0, 0, 3)), Standing::kSentAgain);
    t.apply({ProducerId(78), 1, -1, -1}, Offset(1));
    EXPECT_EQ(t.standing({ProducerId(78), 0, 0, 3}), Standing::kAbsent);
}

// Each run of a producer without a name is another one; a name is asked for again.
TEST(ProducerTable, NamesAreForgottenLast) {
    ProducerTable t(6);
    const auto name = [](int i) { return ProducerId(1000 + i); };
    t.apply({name(0), 0, -1, -1}, Offset(0));
    t.apply({name(0), 0, 0, 9}, Offset(1));
    for (int i = 0; i < 50; ++i) t.apply({ProducerId(i), 0, 0, 0}, Offset(100 + i));
    EXPECT_EQ(t.size(), 6u);
    EXPECT_EQ(t.sent_by(name(0))->next(), 10);
    EXPECT_FALSE(t.has_forgotten_a_name());
    for (int i = 1; i < 4; ++i) t.apply({name(i), 0, -1, -1}, Offset(200 + i));
    EXPECT_EQ(t.size(), 6u);
    EXPECT_FALSE(t.epoch_of(name(0))) << "half of the table is for those without";
    EXPECT_TRUE(t.epoch_of(name(1)));
    EXPECT_TRUE(t.epoch_of(ProducerId(49)));
    EXPECT_TRUE(t.has_forgotten_a_name());
    EXPECT_EQ(t.standing({name(0), 0, 10, 10}), Standing::kForgotten);
}

TEST(ProducerTable, SequencesGoOnPastTheirMaximum) {
    ProducerTable t;
    const std::int32_t max = std::numeric_limits<std::int32_t>::max();
    t.apply(batch(0, 0, 0), Offset(0));
    for (std::int64_t at = 1; at < max; at += 500'000'000) {
        const auto last = static_cast<std::int32_t>(std::min<std::int64_t>(at + 499'999'999, max - 1));
        t.apply(batch(0, static_cast<std::int32_t>(at), last), Offset(at));
    }
    EXPECT_EQ(t.check(batch(0, max, 1)).verdict, SequenceCheck::kNew);
    t.apply(batch(0, max, 1), Offset(std::int64_t{1} << 40));
    EXPECT_EQ(t.check(batch(0, 2, 2)).verdict, SequenceCheck::kNew);
    EXPECT_EQ(t.check(batch(0, max, 1)).verdict, SequenceCheck::kDuplicate);
    EXPECT_EQ(t.standing(batch(0, max - 5, max)), Standing::kPresent);
    EXPECT_EQ(t.standing(batch(0, 2, 2)), Standing::kAbsent);
}

TEST(ProducerTable, GapsAndProducersAreBounded) {
    ProducerTable t(3);
    for (int i = 0; i < 40; ++i) t.apply(batch(0, i * 2, i * 2), Offset(i));
    EXPECT_EQ(t.check(batch(0, 1, 1)).verdict, SequenceCheck::kDuplicate) << "the oldest gaps are forgotten";
    EXPECT_EQ(t.standing(batch(0, 1, 1)), Standing::kForgotten);
    EXPECT_EQ(t.standing(batch(0, 77, 77)), Standing::kAbsent);
    for (int i = 0; i < 10; ++i) t.apply({ProducerId(i), 0, 0, 0}, Offset(1000 + i));
    EXPECT_EQ(t.size(), 3u);
    EXPECT_TRUE(t.epoch_of(ProducerId(9)));
    EXPECT_FALSE(t.epoch_of(ProducerId(6)));
    EXPECT_EQ(t.standing({ProducerId(6), 0, 0, 0}), Standing::kForgotten);
}

std::vector<BatchInfo> random_batches(std::mt19937_64& random, int count) {
    std::vector<BatchInfo> batches;
    Offset at;
    std::uint64_t view = 1;
    for (int i = 0; i < count; ++i) {
        if (random() % 8 == 0) ++view;
        BatchInfo info{at, at + 1 + static_cast<std::int64_t>(random() % 4), ViewNumber(view), {}, {}};
        if (random() % 4 != 0) {
            const auto first = static_cast<std::int32_t>(random() % 60);
            info.producer = {ProducerId(static_cast<std::int64_t>(random() % 6)),
                             static_cast<std::int16_t>(random() % 12), first,
                             first + static_cast<std::int32_t>(random() % 4)};
            info.producer.named = random() % 2 == 0;
            if (random() % 4 != 0) info.producer.content = random();
            if (random() % 5 == 0) {
                info.producer.base_sequence = random() % 2 == 0 ? -1 : protocol::kResumeSequence;
                info.producer.last_sequence = -1;
            }
        }
        if (random() % 6 == 0)
            info.orphan = OrphanKey{protocol::ClusterId(random() % 3), ViewNumber(random() % 5),
                                    Offset(static_cast<std::int64_t>(random() % 50))};
        at = info.next;
        batches.push_back(info);
    }
    return batches;
}

LogTables built_from(const std::vector<BatchInfo>& batches, std::size_t count) {
    LogTables tables(TableLimits{4, 10});
    for (std::size_t i = 0; i < count; ++i) tables.apply(batches[i]);
    return tables;
}

TEST(LogTables, AfterTruncateTheyAreThoseOfALogThatNeverHadTheTail) {
    std::mt19937_64 random(5);
    for (int round = 0; round < 300; ++round) {
        const auto batches = random_batches(random, 60);
        TableHistory history(TableLimits{4, 10});
        history.start(LogTables(TableLimits{4, 10}), Offset(0));
        for (const BatchInfo& batch : batches) history.append(batch);
        const std::size_t keep = random() % (batches.size() + 1);
        ASSERT_TRUE(history.truncate(keep == 0 ? Offset(0) : batches[keep - 1].next));
        ASSERT_EQ(history.current(), built_from(batches, keep));
        for (std::size_t i = keep; i < batches.size(); ++i) history.append(batches[i]);
        ASSERT_EQ(history.current(), built_from(batches, batches.size()));
    }
}

TEST(LogTables, TooFarBackIsSaidAndChangesNothing) {
    std::mt19937_64 random(6);
    const auto batches = random_batches(random, static_cast<int>(TableHistory::kMaxRecent) + 10);
    TableHistory history(TableLimits{4, 10});
    for (const BatchInfo& batch : batches) history.append(batch);
    EXPECT_FALSE(history.truncate(batches[3].next));
    EXPECT_EQ(history.current(), built_from(batches, batches.size()));
    EXPECT_TRUE(history.truncate(batches[9].next));
    EXPECT_EQ(history.current(), built_from(batches, 10));
}

TEST(LogTables, WhatIsSettledIsNotTakenBack) {
    std::mt19937_64 random(7);
    const auto batches = random_batches(random, 20);
    TableHistory history(TableLimits{4, 10});
    for (const BatchInfo& batch : batches) history.append(batch);
    history.settle(batches[7].next);
    EXPECT_FALSE(history.truncate(batches[6].next));
    EXPECT_EQ(history.current(), built_from(batches, 20));
    EXPECT_TRUE(history.truncate(batches[7].next));
    EXPECT_EQ(history.current(), built_from(batches, 8));
}

TEST(LogTables, EncodingKeepsEverything) {
    std::mt19937_64 random(7);
    for (int round = 0; round < 100; ++round) {
        const LogTables tables = built_from(random_batches(random, 50), 50);
        ByteWriter out;
        tables.encode(out);
        LogTables decoded(TableLimits{4, 10});
        ByteReader in(out.span());
        ASSERT_TRUE(decoded.decode(in));
        ASSERT_TRUE(in.at_end());
        ASSERT_EQ(decoded, tables);
        // Cut short it is refused.
        for (std::size_t cut = 0; cut < out.size(); cut += 7) {
            LogTables broken(TableLimits{4, 10});
            ByteReader part(out.span().first(cut));
            ASSERT_FALSE(broken.decode(part));
        }
    }
}

TEST(OrphanKeys, TheOldestAreForgottenFirst) {
    OrphanKeys keys(2);
    const auto key = [](int i) { return OrphanKey{protocol::ClusterId(1), ViewNumber(1), Offset(i)}; };
    for (int i = 0; i < 3; ++i) keys.add(key(i), Offset(100 + i));
    EXPECT_FALSE(keys.contains(key(0)));
    EXPECT_TRUE(keys.contains(key(1)));
    EXPECT_TRUE(keys.contains(key(2)));
}

TEST(OrphanKeys, TwoAtOneOffsetMakeNoSense) {
    ByteWriter out;
    out.put(std::uint32_t{2});
    for (const std::int64_t offset : {1, 2}) {
        out.put(std::int64_t{5});
        out.put(std::uint64_t{1});
        out.put(std::uint64_t{1});
        out.put(offset);
    }
    ByteReader in(out.span());
    EXPECT_FALSE(OrphanKeys(10).decode(in));
}

TEST(Snapshot, OneThatContradictsItselfIsNotTaken) {
    const protocol::StreamId stream{protocol::TopicId{1}, 0};
    const auto decoded = [stream](Offset segment_base, Offset offset, Offset first_of_view) {
        Snapshot snapshot{stream, offset, segment_base, 0, 0, offset, 1, false, {}, {}, {}};
        snapshot.tables.epochs.append(ViewNumber(1), first_of_view);
        snapshot.index = SparseIndex(segment_base, 1);
        return decode_snapshot(encode_snapshot(snapshot).span(), stream, {}).has_value();
    };
    EXPECT_TRUE(decoded(Offset(10), Offset(15), Offset(14)));
    EXPECT_FALSE(decoded(Offset(10), Offset(9), Offset(3)));
    EXPECT_FALSE(decoded(Offset(-1), Offset(9), Offset(3)));
    EXPECT_FALSE(decoded(Offset(10), Offset(15), Offset(15)));
}

TEST(SparseIndex, APlaceTooFarAwayIsNotRemembered) {
    SparseIndex index(Offset(0), 1);
    index.add(Offset(0), 0, 1, 1);
    index.add(Offset(std::int64_t{1} << 32), 100, 2, 2);
    EXPECT_EQ(index.size(), 1u);
    EXPECT_EQ(index.position_of(Offset(std::int64_t{1} << 40)), 0u);
    EXPECT_EQ(index.max_timestamp_ms(), 2);
}

}  // namespace
}  // namespace logstream::storage
