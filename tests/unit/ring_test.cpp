#include <gmock/gmock.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "internal/ring/hash_ring.h"

namespace logstream::ring {
namespace {

using protocol::TopicId;

std::vector<NodeId> random_members(std::mt19937_64& random, std::size_t n) {
    std::vector<NodeId> members;
    for (std::size_t i = 0; i < n; ++i) members.emplace_back(random());
    return members;
}

std::vector<StreamId> random_streams(std::mt19937_64& random, std::size_t n) {
    std::vector<StreamId> streams;
    for (std::size_t i = 0; i < n; ++i)
        streams.push_back({TopicId{random()}, static_cast<std::uint32_t>(random() % 4)});
    return streams;
}

std::uint64_t hash_of(std::uint64_t a, std::uint64_t b, std::uint64_t seed) {
    std::array<std::uint64_t, 2> words{a, b};  // the machines that run the tests are little-endian
    return XXH64(words.data(), sizeof words, seed);
}

// The members by the distance, clockwise, from the stream to the nearest of their points. No sorting of points, no
// search.
std::vector<NodeId> dumb_preference(const std::vector<NodeId>& members, StreamId stream) {
    std::vector<std::pair<std::uint64_t, NodeId>> by_distance;
    const std::uint64_t from = hash_of(stream.topic.value, stream.partition, 2);
    for (const NodeId member : members) {
        std::uint64_t nearest = std::numeric_limits<std::uint64_t>::max();
        for (std::uint64_t i = 0; i < 2048; ++i) nearest = std::min(nearest, hash_of(member.value, i, 1) - from);
        by_distance.emplace_back(nearest, member);
    }
    std::ranges::sort(by_distance);
    std::vector<NodeId> order;
    for (const auto& [distance, member] : by_distance) order.push_back(member);
    return order;
}

// The most loaded member's streams, in means.
double greatest_load(const HashRing& ring, const std::vector<StreamId>& streams) {
    std::map<NodeId, double> load;
    for (const StreamId stream : streams) ++load[ring.owner(stream)];
    const double greatest = std::ranges::max_element(load, {}, [](const auto& entry) { return entry.second; })->second;
    return greatest * static_cast<double>(ring.members().size()) / static_cast<double>(streams.size());
}

TEST(HashRing, AgreesWithTheDumbImplementation) {
    std::mt19937_64 random(1);
    for (std::size_t n = 1; n <= 9; ++n) {
        const auto members = random_members(random, n);
        const HashRing ring(members);
        for (const StreamId stream : random_streams(random, 100)) {
            const auto expected = dumb_preference(members, stream);
            EXPECT_EQ(ring.owner(stream), expected.front());
            EXPECT_EQ(ring.preference(stream, n), expected);
        }
    }
}

TEST(HashRing, OwnersAreTheSameInEveryVersion) {
    const std::vector<NodeId> members = {NodeId{1}, NodeId{2}, NodeId{3}, NodeId{0xfedcba9876543210}};
    const HashRing ring(members);
    std::vector<std::uint64_t> owners;
    for (std::uint64_t topic = 1; topic <= 8; ++topic) owners.push_back(ring.owner({TopicId{topic}, 0}).value);
    for (std::uint32_t partition = 1; partition <= 4; ++partition) {
        owners.push_back(ring.owner({TopicId{0x0123456789abcdef}, partition}).value);
    }
    // A change here is a change of the protocol: brokers and clients of two versions would disagree on owners.
    EXPECT_THAT(owners, ::testing::ElementsAre(0x3, 0x2, 0x1, 0x3, 0x2, 0x2, 0x2, 0xfedcba9876543210,
                                               0xfedcba9876543210, 0x1, 0xfedcba9876543210, 0x2));
}

TEST(HashRing, IsAFunctionOfTheSetOfMembers) {
    std::mt19937_64 random(2);
    auto members = random_members(random, 5);
    const auto streams = random_streams(random, 500);
    const HashRing ring(members);
    for (int round = 0; round < 10; ++round) {
        std::ranges::shuffle(members, random);
        members.push_back(members[round % 5]);
        const HashRing other(members);
        EXPECT_EQ(other.members().size(), 5);
        for (const StreamId stream : streams) ASSERT_EQ(other.owner(stream), ring.owner(stream));
    }
}

TEST(HashRing, EmptyRingHasNoOwner) {
    for (const HashRing& ring : {HashRing(), HashRing(std::span<const NodeId>{})}) {
        EXPECT_TRUE(ring.empty());
        EXPECT_EQ(ring.owner({TopicId{77}, 0}), NodeId{});
        EXPECT_TRUE(ring.preference({TopicId{77}, 0}, 3).empty());
    }
}

TEST(HashRing, OneMemberOwnsEverything) {
    const std::array members = {NodeId{42}};
    const HashRing ring(members);
    EXPECT_FALSE(ring.empty());
    std::mt19937_64 random(3);
    for (const StreamId stream : random_streams(random, 1000)) {
        ASSERT_EQ(ring.owner(stream), NodeId{42});
        ASSERT_THAT(ring.preference(stream, 3), ::testing::ElementsAre(NodeId{42}));
    }
}

TEST(HashRing, PreferenceBeginsWithTheOwnerAndNamesEachMemberOnce) {
    std::mt19937_64 random(4);
    const auto members = random_members(random, 7);
    const HashRing ring(members);
    for (const StreamId stream : random_streams(random, 300)) {
        const auto all = ring.preference(stream, 100);
        ASSERT_EQ(all.front(), ring.owner(stream));
        ASSERT_THAT(all, ::testing::UnorderedElementsAreArray(members));
        for (std::size_t n = 0; n <= 7; ++n) {
            ASSERT_EQ(ring.preference(stream, n),
                      std::vector(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n)));
        }
    }
}

TEST(HashRing, ARemovedMembersStreamsMoveToTheNextPreferredAndNoOthersMove) {
    std::mt19937_64 random(5);
    for (std::size_t n = 2; n <= 7; ++n) {
        const auto members = random_members(random, n);
        const HashRing ring(members);
        const auto streams = random_streams(random, 10'000);
        for (const NodeId removed : members) {
            auto rest = members;
            std::erase(rest, removed);
            const HashRing smaller(rest);
            std::size_t moved = 0;
            for (const StreamId stream : streams) {
                const NodeId before = ring.owner(stream);
                if (before == removed) {
                    ++moved;
                    ASSERT_EQ(smaller.owner(stream), ring.preference(stream, 2)[1]);
                } else {
                    ASSERT_EQ(smaller.owner(stream), before);
                }
            }
            EXPECT_NEAR(static_cast<double>(moved) * static_cast<double>(n) / 10'000, 1, 0.15);
        }
    }
}

// The streams themselves are a sample: with 7 members even a ring of perfectly equal arcs has a member above 1.3 means
// once in about 1,000 sets of 1,000 topics. So the claim is tested as it can hold: with margin for all but a few sets.
TEST(HashRing, TheMostLoadedOfThreeToSevenHasAtMost1Point3TimesTheMean) {
    for (std::size_t n = 3; n <= 7; ++n) {
        int above = 0;
        constexpr int kRings = 40;
        constexpr int kSetsPerRing = 25;
        for (int seed = 0; seed < kRings; ++seed) {
            std::mt19937_64 random(static_cast<std::uint64_t>(seed) * 100 + n);
            const HashRing ring(random_members(random, n));
            for (int set = 0; set < kSetsPerRing; ++set) {
                const double load = greatest_load(ring, random_streams(random, 1000));
                if (load > 1.3) ++above;
                ASSERT_LT(load, 1.4) << n << " members, seed " << seed;
            }
        }
        EXPECT_LE(above, n <= 5 ? 0 : 3) << n << " members, of " << kRings * kSetsPerRing;
    }
}

TEST(HashRing, ArcsAreNearlyEqual) {
    std::mt19937_64 random(6);
    for (int round = 0; round < 20; ++round) {
        const HashRing ring(random_members(random, 7));
        EXPECT_LT(greatest_load(ring, random_streams(random, 100'000)), 1.09);
    }
}

TEST(HashRing, NeighbouringIdsAndPartitionsSpreadLikeRandomOnes) {
    std::vector<NodeId> members;
    for (std::uint64_t i = 1; i <= 7; ++i) members.emplace_back(i);
    std::vector<StreamId> streams;
    for (std::uint32_t partition = 0; partition < 1000; ++partition) streams.push_back({TopicId{16}, partition});
    EXPECT_LT(greatest_load(HashRing(members), streams), 1.3);
}

}  // namespace
}  // namespace logstream::ring
