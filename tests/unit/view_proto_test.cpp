// Views travel and are stored as Protobuf: nothing is lost, and nonsense is refused, never asserted on.
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <random>

#include "internal/view/record.h"
#include "tests/unit/view_cases.h"

namespace logstream::view {
namespace {

using protocol::ErrorCode;

View full_view() {
    View out = view_of(9, "BACD", {view_of(3, "AB"), view_of(7, "DEABC")});
    out.multicast = true;
    out.first_sequence = Sequence{41};
    return out;
}

TEST(ViewProto, ViewSurvivesTheRoundTrip) {
    const auto back = from_proto(to_proto(full_view()));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, full_view());
    EXPECT_EQ(*from_proto(to_proto(view_of(1, "A"))), view_of(1, "A"));
}

TEST(ViewProto, MemberSurvivesTheRoundTrip) { EXPECT_EQ(from_proto(to_proto(member('C', 5))), member('C', 5)); }

TEST(ViewProto, HoldingSurvivesTheRoundTrip) {
    StreamHolding in = holding(12, {{1, 0}, {4, 10}}, StreamId{protocol::TopicId{77}, 5});
    in.log_start = Offset{2};
    in.high_watermark = Offset{11};
    const StreamHolding back = holding_from_proto(to_proto(in));
    EXPECT_EQ(back.stream, in.stream);
    EXPECT_EQ(back.log_start, in.log_start);
    EXPECT_EQ(back.log_end, in.log_end);
    EXPECT_EQ(back.high_watermark, in.high_watermark);
    EXPECT_EQ(back.epochs, in.epochs);
    EXPECT_EQ(back.bytes, in.bytes);
}

TEST(ViewProto, PlanSurvivesTheRoundTrip) {
    const StreamPlan in{kStream, Offset{3}, Offset{20}, {{ViewNumber{2}, Offset{3}}}, {node('A'), node('C')}, 4711};
    const StreamPlan back = plan_from_proto(to_proto(in));
    EXPECT_EQ(back.stream, in.stream);
    EXPECT_EQ(back.log_start, in.log_start);
    EXPECT_EQ(back.log_end, in.log_end);
    EXPECT_EQ(back.epochs, in.epochs);
    EXPECT_EQ(back.sources, in.sources);
    EXPECT_EQ(back.bytes, in.bytes);
}

struct Nonsense {
    const char* name;
    std::function<void(proto::View&)> make;
};

TEST(ViewProto, NonsenseIsRefused) {
    const Nonsense cases[] = {
        {"no number", [](proto::View& v) { v.set_number(0); }},
        {"a number that no batch can carry", [](proto::View& v) { v.set_number(protocol::kMaxViewNumber.value + 1); }},
        {"no members", [](proto::View& v) { v.clear_members(); }},
        {"a coordinator that is no member", [](proto::View& v) { v.set_coordinator(99); }},
        {"members out of order", [](proto::View& v) { v.mutable_members()->SwapElements(0, 1); }},
        {"a member twice", [](proto::View& v) { *v.mutable_members(1) = v.members(0); }},
        {"a member without id", [](proto::View& v) { v.mutable_members(0)->set_id(0); }},
        {"too many members",
         [](proto::View& v) {
             for (std::uint64_t id = 100; id < 100 + kMaxMembers; ++id) v.add_members()->set_id(id);
         }},
        {"too many bases",
         [](proto::View& v) {
             while (v.bases_size() <= static_cast<int>(kMaxBases)) *v.add_bases() = v.bases(0);
         }},
        {"a base without members", [](proto::View& v) { v.mutable_bases(0)->clear_members(); }},
        {"a base without number", [](proto::View& v) { v.mutable_bases(0)->set_number(0); }},
        {"a base whose coordinator is no member of it",
         [](proto::View& v) { v.mutable_bases(0)->set_coordinator(99); }},
        {"a base whose members are out of order",
         [](proto::View& v) { v.mutable_bases(1)->mutable_members()->SwapElements(0, 1); }},
        {"a base of its own number", [](proto::View& v) { v.mutable_bases(1)->set_number(v.number()); }},
        {"bases out of order", [](proto::View& v) { v.mutable_bases()->SwapElements(0, 1); }},
        {"a base twice", [](proto::View& v) { *v.mutable_bases(1) = v.bases(0); }},
    };
    for (const Nonsense& nonsense : cases) {
        proto::View view = to_proto(full_view());
        nonsense.make(view);
        const auto refused = from_proto(view);
        ASSERT_FALSE(refused) << nonsense.name;
        EXPECT_EQ(refused.error().code, ErrorCode::kInvalid) << nonsense.name;
        EXPECT_FALSE(refused.error().message.empty());
    }
    EXPECT_FALSE(from_proto(proto::View{}));
}

// What random damage leaves of an encoded view is refused or is a view that can be encoded again; it never asserts.
TEST(ViewProto, DamagedBytesNeverAssert) {
    const google::protobuf::LogSilencer quiet;  // libprotobuf complains on stderr of names that are no UTF-8
    const std::string whole = to_proto(full_view()).SerializeAsString();
    std::mt19937_64 random(1);
    std::size_t refused = 0;
    for (int i = 0; i < 20000; ++i) {
        std::string bytes = whole;
        for (std::size_t n = 1 + random() % 3; n > 0; --n) bytes[random() % bytes.size()] = static_cast<char>(random());
        proto::View parsed;
        if (!parsed.ParseFromString(bytes)) continue;
        const auto view = from_proto(parsed);
        if (!view) {
            ++refused;
            continue;
        }
        const auto again = from_proto(to_proto(*view));
        ASSERT_TRUE(again);
        EXPECT_EQ(*again, *view);
    }
    EXPECT_GT(refused, 0u);
}

// An answer may say anything about its streams.
TEST(ViewProto, AbsurdHoldingsNeverAssert) {
    const View v1 = view_of(1, "AB");
    for (const std::int64_t extreme :
         {std::numeric_limits<std::int64_t>::min(), std::int64_t{-1}, std::numeric_limits<std::int64_t>::max()}) {
        StreamHolding absurd = holding(5, {{1, 0}});
        absurd.log_start = Offset{extreme};
        absurd.bytes = ~std::uint64_t{0};
        StreamHolding endless = absurd;
        endless.log_end = Offset{std::numeric_limits<std::int64_t>::max()};
        Change next =
            change(2, "AB", {answer('A', v1, v1, {absurd, absurd}), answer('B', v1, v1, {endless}), answer('D')});
        EXPECT_TRUE(next.has_quorum());
        EXPECT_FALSE(next.plan().view.members.empty());
    }
}

}  // namespace
}  // namespace logstream::view
