// Which view a number stands for.
#include <gmock/gmock.h>

#include "tests/unit/view_cases.h"

namespace logstream::view {
namespace {

using testing::ElementsAre;

constexpr ViewName name(std::uint64_t number, std::uint64_t id) { return {ViewNumber{number}, ViewId{id}}; }

View named(View view, std::uint64_t id) {
    view.id = ViewId{id};
    return view;
}

TEST(ViewNames, TheSameNumberWithAnotherIdIsAConflict) {
    ViewNames names;
    EXPECT_TRUE(names.note(std::vector{name(1, 11), name(2, 22)}));
    EXPECT_FALSE(names.note(std::vector{name(2, 22)})) << "no news";
    EXPECT_FALSE(names.conflict(std::vector{name(1, 11), name(2, 22), name(3, 33)}));
    EXPECT_EQ(names.conflict(std::vector{name(1, 11), name(2, 99)}), name(2, 99));
    EXPECT_FALSE(names.conflict(std::vector{name(2, 0)})) << "an older version does not know";
    EXPECT_FALSE(names.note(std::vector{name(2, 99), name(4, 0)})) << "what is known stays";
    EXPECT_EQ(names.id_of(ViewNumber{2}), ViewId{22});
    names.adopt(std::vector{name(2, 99)});
    EXPECT_EQ(names.id_of(ViewNumber{2}), ViewId{99});
    EXPECT_THAT(names.newest(1), ElementsAre(name(2, 99)));
}

TEST(ViewNames, TheOldestAreForgotten) {
    ViewNames names;
    for (std::uint64_t i = 1; i <= ViewNames::kMost + 10; ++i) names.note(std::vector{name(i, i)});
    EXPECT_EQ(names.id_of(ViewNumber{10}), ViewId{});
    EXPECT_EQ(names.id_of(ViewNumber{11}), ViewId{11});
    EXPECT_FALSE(names.note(std::vector{name(5, 5)})) << "older than all that is remembered";
    EXPECT_EQ(names.newest(1u << 20).size(), ViewNames::kMost);
}

TEST(ViewNames, TravelAndLastWithTheRecord) {
    Record record = Record::made_for(node('A'));
    View view = named(view_of(2, "AB", {named(view_of(1, "ABC"), 11)}), 22);
    record.promise(view.number, view.coordinator, run_of('A'));
    record.accept(view);
    record.verdict = "it knows better";
    const auto decoded = decode_record(encode(record));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->views.newest(9), (std::vector{name(1, 11), name(2, 22)}));
    EXPECT_EQ(decoded->accepted->id, ViewId{22});
    EXPECT_EQ(decoded->accepted->bases.front().id, ViewId{11});
    EXPECT_EQ(decoded->promises, record.promises);
    EXPECT_EQ(decoded->verdict, record.verdict);
}

// The first letter of `members` is the coordinator.
bool remembers(const Record& record, std::uint64_t number, std::string_view members) {
    return record.remembers_promise(view_of(number, members).base());
}

TEST(ViewNames, ARecordRemembersEachPromise) {
    Record record = Record::made_for(node('B'));
    record.promise(ViewNumber{3}, node('A'), run_of('A'));
    record.promise(ViewNumber{7}, node('C'), run_of('C'));
    EXPECT_TRUE(remembers(record, 3, "AB"));
    EXPECT_TRUE(remembers(record, 7, "CB"));
    EXPECT_FALSE(remembers(record, 7, "AB")) << "it promised that number to another coordinator";
    EXPECT_FALSE(remembers(record, 2, "AB")) << "it never promised that";
    EXPECT_FALSE(remembers(record, 5, "AB"));
    for (std::uint64_t i = 8; i < 3000; ++i) record.promise(ViewNumber{i}, node('A'), run_of('A'));
    EXPECT_LE(record.promises.size(), 1024u);
    EXPECT_TRUE(remembers(record, 5, "AB")) << "so old that it may have been forgotten in order";
}

// What an older version wrote names the last promise only.
TEST(ViewNames, ARecordWithoutPromisesTrustsItself) {
    Record record;
    record.node = node('B');
    record.promised = ViewNumber{9};
    record.promised_to = node('A');
    const auto decoded = decode_record(encode(record));
    ASSERT_TRUE(decoded);
    EXPECT_TRUE(remembers(*decoded, 4, "AB"));
    EXPECT_TRUE(remembers(*decoded, 9, "AB"));
    EXPECT_FALSE(remembers(*decoded, 10, "AB"));
}

Answer remembering(Answer answer, std::initializer_list<std::pair<std::uint64_t, char>> promises) {
    answer.promises.push_back({});
    for (const auto& [number, to] : promises) answer.promises.push_back({ViewNumber{number}, node(to)});
    return answer;
}

TEST(ViewNames, WhoComesWithAnotherViewOfANumberIsLeftOut) {
    const View one = named(view_of(1, "ABC"), 11);
    const View two = named(view_of(2, "AB", {one}), 22);
    const View other = named(view_of(2, "AC", {one}), 99);
    Change next = change(5, "ABC", {answer('A', two, two)});
    EXPECT_EQ(next.on_answer(answer('C', other, other)).error().code, protocol::ErrorCode::kConflict);
    EXPECT_TRUE(next.on_answer(answer('B', two, two)).has_value());
    ASSERT_TRUE(next.has_quorum());
    EXPECT_EQ(members_of(next.plan().view), nodes("AB"));
    EXPECT_EQ(next.plan().view.id, ViewId{5000});
}

TEST(ViewNames, SoIsWhoseLogNamesAnother) {
    const View one = named(view_of(1, "ABC"), 11);
    StreamHolding mine = holding(5, {{1, 0}});
    StreamHolding strange = mine;
    mine.epochs.front().id = ViewId{11};
    strange.epochs.front().id = ViewId{12};
    Change next = change(5, "ABC", {answer('A', one, one, {mine})});
    EXPECT_FALSE(next.on_answer(answer('B', one, one, {strange})));
    EXPECT_TRUE(next.on_answer(answer('C', one, one, {mine})).has_value());
}

TEST(ViewNames, SurvivorsThatAPersonNamesMayDiffer) {
    const View one = named(view_of(1, "ABC"), 11);
    Change next = change(5, "AB", {answer('A', one, one)}, {.lineage = Change::Lineage::kRecovered});
    EXPECT_TRUE(next.on_answer(answer('B', named(one, 12), named(one, 12))).has_value());
    EXPECT_TRUE(next.has_quorum());
}

// C was away; B acknowledged in view 2 and is back on an older disk. The two make a majority of view 1, and of view 2
// its members' quorum would be B alone.
TEST(ViewNames, WhoForgotThePromiseOfAViewThatCountsOnItHasNoVote) {
    const View one = view_of(1, "ABC");
    const View two = view_of(2, "ABC", {one});
    Change next = change(3, "CB",
                         {remembering(answer('C', two, one), {{1, 'A'}, {2, 'A'}, {3, 'C'}}),
                          remembering(answer('B', one, one), {{1, 'A'}, {3, 'C'}})});
    EXPECT_FALSE(next.has_quorum());
    EXPECT_EQ(next.forgetful()->id, node('B'));
    next.on_answer(remembering(answer('A', two, two), {{1, 'A'}, {2, 'A'}, {3, 'C'}}));
    EXPECT_FALSE(next.has_quorum()) << "it was not invited";

    Change whole = change(3, "CB",
                          {remembering(answer('C', two, one), {{1, 'A'}, {2, 'A'}, {3, 'C'}}),
                           remembering(answer('B', one, one), {{1, 'A'}, {2, 'A'}, {3, 'C'}})});
    EXPECT_TRUE(whole.has_quorum());
    EXPECT_FALSE(whole.forgetful());

    Change since =
        change(4, "CB",
               {remembering(answer('C', view_of(3, "ABC", {two}), two), {{1, 'A'}, {2, 'A'}, {3, 'A'}, {4, 'C'}}),
                remembering(answer('B', view_of(3, "ABC", {two}), two), {{1, 'A'}, {3, 'A'}, {4, 'C'}})});
    EXPECT_TRUE(since.has_quorum()) << "it accepted a newer view, so it holds all that was committed before";
}

// B, on its older disk, was asked for number 2 once more, by C, and promised it.
TEST(ViewNames, SoHasWhoPromisedTheSameNumberToAnother) {
    const View one = view_of(1, "ABC");
    const View two = view_of(2, "ABC", {one});
    Change next = change(3, "CB",
                         {remembering(answer('C', two, one), {{1, 'A'}, {2, 'A'}, {3, 'C'}}),
                          remembering(answer('B', one, one), {{1, 'A'}, {2, 'C'}, {3, 'C'}})});
    EXPECT_FALSE(next.has_quorum());
    ASSERT_TRUE(next.forgetful());
    EXPECT_EQ(next.forgetful()->id, node('B'));
}

}  // namespace
}  // namespace logstream::view
