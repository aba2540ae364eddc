// The memory that must not forget.
#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>

#include "internal/view/record.h"
#include "tests/unit/view_cases.h"

namespace logstream::view {
namespace {

Record record_of(char letter) {
    Record out;
    out.node = node(letter);
    return out;
}

bool may_promise(const Record& record, std::uint64_t number, char coordinator, std::uint64_t run = 1) {
    return record.may_promise(ViewNumber{number}, node(coordinator), run_of(coordinator, run));
}
void promise(Record& record, std::uint64_t number, char coordinator, std::uint64_t run = 1) {
    record.promise(ViewNumber{number}, node(coordinator), run_of(coordinator, run));
}

TEST(ViewRecord, PromisesANumberToOneCoordinatorOnly) {
    Record record = record_of('B');
    ASSERT_TRUE(may_promise(record, 5, 'A'));
    promise(record, 5, 'A');
    EXPECT_TRUE(may_promise(record, 5, 'A')) << "the same question again gets the same answer";
    EXPECT_FALSE(may_promise(record, 5, 'C'));
    EXPECT_FALSE(may_promise(record, 5, 'A', 2)) << "another run of it may have another content in mind";
    EXPECT_TRUE(may_promise(record, 6, 'C'));
}

TEST(ViewRecord, IsLatestUntilAGreaterPromiseOrANewerChosenView) {
    Record record = record_of('B');
    promise(record, 5, 'A');
    record.chosen.emplace().number = ViewNumber{5};
    EXPECT_TRUE(record.is_latest(ViewNumber{5}));
    EXPECT_FALSE(record.is_latest(ViewNumber{4}));
    Record taught = record;
    taught.chosen->number = ViewNumber{6};
    EXPECT_FALSE(taught.is_latest(ViewNumber{5}));
    promise(record, 6, 'A');
    EXPECT_FALSE(record.is_latest(ViewNumber{5}));
}

TEST(ViewRecord, NeverGoesBack) {
    Record record = record_of('B');
    promise(record, 5, 'A');
    EXPECT_FALSE(may_promise(record, 4, 'A'));
    EXPECT_FALSE(may_promise(record, 0, 'A'));
    promise(record, 8, 'C');
    EXPECT_FALSE(may_promise(record, 5, 'A'));
    EXPECT_EQ(record.greatest_number(), ViewNumber{8});
}

TEST(ViewRecord, RefusesANumberThatNoBatchCouldCarry) {
    Record record = record_of('B');
    record.chosen = view_of(protocol::kMaxViewNumber.value - 1, "ABC");
    EXPECT_TRUE(may_promise(record, protocol::kMaxViewNumber.value, 'A'));
    EXPECT_FALSE(may_promise(record, protocol::kMaxViewNumber.value + 1, 'A'));
    EXPECT_FALSE(may_promise(record, ~std::uint64_t{0}, 'A'));
}

// One promise of the last number would be the last one. Neither what was promised nor what was accepted moves the
// bound, only a view that is known to be chosen.
TEST(ViewRecord, PromisesNoNumberNearTheEndToWhoMerelyNamesIt) {
    Record record = record_of('B');
    EXPECT_TRUE(may_promise(record, kLastOrdinaryNumber.value, 'A'));
    EXPECT_FALSE(may_promise(record, kLastOrdinaryNumber.value + 1, 'A'));
    promise(record, kLastOrdinaryNumber.value, 'A');
    EXPECT_FALSE(may_promise(record, kLastOrdinaryNumber.value + 1, 'A'));
    record.accept(view_of(kLastOrdinaryNumber.value, "ABC"));
    EXPECT_FALSE(may_promise(record, kLastOrdinaryNumber.value + 1, 'A'));
    record.learn_chosen(*record.accepted);
    EXPECT_TRUE(may_promise(record, kLastOrdinaryNumber.value + 1, 'A'));
    EXPECT_FALSE(may_promise(record, kLastOrdinaryNumber.value + kNumbersBeyondChosen + 1, 'A'));
}

TEST(ViewRecord, AcceptsOnlyWhatItPromisedLast) {
    Record record = record_of('B');
    const View v5 = view_of(5, "ABC");
    EXPECT_FALSE(record.may_accept(v5)) << "nothing is promised";
    promise(record, 5, 'A');
    EXPECT_TRUE(record.may_accept(v5));
    EXPECT_FALSE(record.may_accept(view_of(5, "CAB"))) << "another coordinator";
    EXPECT_FALSE(record.may_accept(view_of(5, "AC"))) << "not a member";
    EXPECT_FALSE(record.may_accept(view_of(6, "ABC")));
    EXPECT_FALSE(record.may_accept(view_of(4, "ABC")));
    View other_run = v5;
    other_run.members.front() = member('A', 2);
    EXPECT_FALSE(record.may_accept(other_run)) << "promised to the run before";
    promise(record, 6, 'C');
    EXPECT_FALSE(record.may_accept(v5)) << "a greater number is promised";
}

TEST(ViewRecord, AcceptsTheSameViewAgainAndNoOtherContentOfItsNumber) {
    Record record = record_of('B');
    promise(record, 5, 'A');
    record.accept(view_of(5, "ABC"));
    EXPECT_TRUE(record.may_accept(view_of(5, "ABC")));
    EXPECT_FALSE(record.may_accept(view_of(5, "AB")));
    EXPECT_FALSE(record.may_accept(view_of(5, "ABC", {view_of(1, "A")}))) << "bases are content";
    EXPECT_FALSE(may_promise(record, 5, 'A')) << "what it accepted was planned from an answer already";
}

TEST(ViewRecord, NewerKnowledgeOfWhatIsChosenStays) {
    Record record = record_of('D');
    EXPECT_TRUE(record.learn_chosen(view_of(4, "ABC")));
    EXPECT_FALSE(record.learn_chosen(view_of(4, "ABC")));
    EXPECT_FALSE(record.learn_chosen(view_of(3, "ABCD")));
    EXPECT_EQ(record.chosen_number(), ViewNumber{4});
    EXPECT_EQ(record.accepted_number(), ViewNumber{}) << "a learner accepted nothing";
    EXPECT_EQ(record.greatest_number(), ViewNumber{4});
    EXPECT_TRUE(record.learn_chosen(view_of(7, "AB")));
}

TEST(ViewRecord, SurvivesARestart) {
    Record record = record_of('B');
    record.cluster = ClusterId{77};
    promise(record, 9, 'C', 3);
    promise(record, 10, 'A');
    record.accept(view_of(10, "ABC", {view_of(1, "ABCDE"), view_of(4, "ABC")}));
    record.learn_chosen(view_of(1, "ABCDE"));
    record.must_relearn = true;
    const auto read = decode_record(encode(record));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->node, record.node);
    EXPECT_EQ(read->cluster, record.cluster);
    EXPECT_EQ(read->promised, ViewNumber{10});
    EXPECT_EQ(read->promised_to, node('A'));
    EXPECT_EQ(read->promised_incarnation, run_of('A'));
    EXPECT_EQ(read->accepted, record.accepted);
    EXPECT_EQ(read->chosen, record.chosen);
    EXPECT_TRUE(read->must_relearn);
}

// A merge asks later what two lineages have in common.
TEST(ViewRecord, RemembersWhatItsLineageWasRecoveredFrom) {
    Record record = record_of('B');
    const auto enter = [&record](std::uint64_t number) {
        promise(record, number, 'A');
        record.accept(view_of(number, "AB"));
    };
    record.cluster = ClusterId{10};
    enter(3);
    record.recover_as(ClusterId{11});
    record.recover_as(ClusterId{11});  // the command is run again
    record = *decode_record(encode(record));
    record.recover_as(ClusterId{12});  // with other survivors, before there was a view
    EXPECT_TRUE(record.ancestors.empty());
    enter(7);
    EXPECT_EQ(record.ancestors, (std::vector<Ancestor>{{ClusterId{10}, ViewNumber{7}}}));
    enter(8);
    record = *decode_record(encode(record));
    record.recover_as(ClusterId{13});
    enter(12);
    EXPECT_EQ(record.ancestors,
              (std::vector<Ancestor>{{ClusterId{10}, ViewNumber{7}}, {ClusterId{12}, ViewNumber{12}}}));
}

TEST(ViewRecord, BlankRecordSurvivesToo) {
    const auto read = decode_record(encode(record_of('B')));
    ASSERT_TRUE(read);
    EXPECT_FALSE(read->accepted);
    EXPECT_FALSE(read->chosen);
    EXPECT_EQ(read->cluster, ClusterId{});
}

TEST(ViewRecord, DamagedStateFileIsAnErrorAndNoBlankRecord) {
    EXPECT_FALSE(decode_record(""));
    EXPECT_FALSE(decode_record("\xff\xff\xff\xff"));
    Record record = record_of('B');
    promise(record, 5, 'A');
    record.accept(view_of(5, "ABC"));
    const google::protobuf::LogSilencer quiet;  // libprotobuf complains on stderr of names that are no UTF-8
    std::string bytes = encode(record);
    for (std::size_t size = 0; size < bytes.size(); ++size) (void)decode_record(bytes.substr(0, size));
    for (char& byte : bytes) {
        byte = static_cast<char>(~byte);
        (void)decode_record(bytes);  // refused or not, it never asserts
        byte = static_cast<char>(~byte);
    }
    Record impossible = record_of('B');
    impossible.accepted = view_of(5, "ABC");
    impossible.accepted->coordinator = node('D');
    EXPECT_EQ(decode_record(encode(impossible)).error().code, protocol::ErrorCode::kInvalid);
}

}  // namespace
}  // namespace logstream::view
