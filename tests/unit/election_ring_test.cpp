#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "internal/election/lcr.h"

// Whole rings in a small network that reorders, duplicates, loses, and whose nodes die.
namespace logstream::election {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = Message::Kind;

constexpr NodeId peer(std::uint64_t value) { return NodeId{value}; }

std::vector<NodeId> first_nodes(std::size_t n) {
    std::vector<NodeId> nodes;
    for (std::size_t i = 1; i <= n; ++i) nodes.emplace_back(i * 10);
    return nodes;
}

// The world as the elections see it: messages in flight, delivered in any order, perhaps twice or never. A message to a
// dead peer is reported to its sender. After every step the safety claim is checked: an election id has one winner, and
// that is the greatest of its ring.
class Network {
public:
    struct Flight {
        NodeId from;
        Send send;
    };

    explicit Network(const std::vector<NodeId>& ids) {
        for (const NodeId id : ids) nodes_.emplace(id, Election(id));
    }

    void start(NodeId at, ElectionId id, const std::vector<NodeId>& reachable) {
        take(at, id, nodes_.at(at).start(id, reachable));
    }

    void deliver(std::size_t index) {
        const Flight flight = in_flight_[index];
        lose(index);
        if (dead_.contains(flight.send.to)) {
            if (!dead_.contains(flight.from)) {
                const ElectionId fresh{next_fresh_++};
                take(flight.from, fresh, nodes_.at(flight.from).successor_failed(flight.send.to, fresh));
            }
            return;
        }
        const Message& message = flight.send.message;
        history_[{flight.send.to, message.id}] +=
            fmt::format("{}{} ", message.kind == Kind::kVictory ? 'V' : 'E', message.candidate);
        take(flight.send.to, message.id, nodes_.at(flight.send.to).receive(message));
    }

    void lose(std::size_t index) { in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(index)); }
    void duplicate(std::size_t index) { in_flight_.push_back(Flight(in_flight_[index])); }
    void kill(NodeId id) { dead_.insert(id); }
    void abandon(NodeId at) { EXPECT_EQ(nodes_.at(at).abandon().outcome, Outcome::kNone); }

    // In random order, until all is quiet.
    void run(std::mt19937_64& random) {
        while (!in_flight_.empty()) {
            ASSERT_LT(++steps_, 200'000U) << "messages without end";
            deliver(random() % in_flight_.size());
        }
    }

    const std::vector<Flight>& in_flight() const { return in_flight_; }
    const Election& at(NodeId id) const { return nodes_.at(id); }
    bool dead(NodeId id) const { return dead_.contains(id); }
    std::size_t messages_sent() const { return messages_sent_; }

    // Who knows the election's winner, and whom each takes for it.
    std::map<NodeId, NodeId> winners_of(ElectionId id) const {
        const auto found = decided_.find(id);
        return found == decided_.end() ? std::map<NodeId, NodeId>{} : found->second;
    }
    const std::map<ElectionId, std::map<NodeId, NodeId>>& decided() const { return decided_; }

    // Everybody on `ring` knows `winner`, once, and `winner` itself won.
    void expect_decided(ElectionId id, const std::vector<NodeId>& ring, NodeId winner) const {
        std::map<NodeId, NodeId> expected;
        for (const NodeId member : ring) expected[member] = winner;
        EXPECT_EQ(winners_of(id), expected);
    }

    // Equal for two worlds from which the same can follow: what each peer received per election, in order, and what is
    // in flight. (A peer's elections do not influence each other while there are fewer than it remembers.)
    std::string key() const {
        std::string key;
        for (const auto& [where, what] : history_) key += fmt::format("{}/{}:{};", where.first, where.second, what);
        std::vector<std::string> flights;
        for (const Flight& flight : in_flight_) {
            const Message& message = flight.send.message;
            flights.push_back(fmt::format("{}<{} {} {}", flight.send.to, message.id, static_cast<int>(message.kind),
                                          message.candidate));
        }
        std::ranges::sort(flights);
        for (const auto& flight : flights) key += flight + "|";
        return key;
    }

private:
    void take(NodeId at, ElectionId id, const Output& output) {
        if (output.outcome == Outcome::kWon || output.outcome == Outcome::kLost) {
            EXPECT_EQ(output.outcome == Outcome::kWon, output.winner == at);
            auto& winners = decided_[id];
            EXPECT_TRUE(winners.emplace(at, output.winner).second) << "told twice";
            for (const auto& [other, winner] : winners) EXPECT_EQ(winner, output.winner) << "two winners";
        } else {
            EXPECT_EQ(output.winner, NodeId{});
        }
        if (output.outcome == Outcome::kRunning) {
            EXPECT_TRUE(nodes_.at(at).running());
        }
        for (const Send& send : output.sends) {
            EXPECT_NE(send.to, at);
            if (output.outcome == Outcome::kWon) {
                EXPECT_EQ(output.winner, send.message.ring.back());
            }
            in_flight_.push_back({at, send});
            ++messages_sent_;
        }
    }

    std::map<NodeId, Election> nodes_;
    std::set<NodeId> dead_;
    std::vector<Flight> in_flight_;
    std::map<ElectionId, std::map<NodeId, NodeId>> decided_;
    std::map<std::pair<NodeId, ElectionId>, std::string> history_;
    std::uint64_t next_fresh_ = 1'000'000;
    std::size_t messages_sent_ = 0;
    std::size_t steps_ = 0;
};

// Every order in which the messages in flight can arrive, `duplications` of them twice and `losses` never; `at_end`
// sees each world in which nothing is in flight any more.
class Explorer {
public:
    explicit Explorer(std::function<void(const Network&)> at_end) : at_end_(std::move(at_end)) {}

    void explore(const Network& network, int duplications, int losses) {
        if (::testing::Test::HasFailure()) return;
        if (!seen_.insert(fmt::format("{} {} {}", duplications, losses, network.key())).second) return;
        if (network.in_flight().empty()) {
            ++ends_;
            at_end_(network);
        }
        for (std::size_t i = 0; i < network.in_flight().size(); ++i) {
            branch(network, duplications, losses, [&](Network& next) { next.deliver(i); });
            if (duplications > 0) branch(network, duplications - 1, losses, [&](Network& next) { next.duplicate(i); });
            if (losses > 0) branch(network, duplications, losses - 1, [&](Network& next) { next.lose(i); });
        }
    }

    std::size_t ends() const { return ends_; }

private:
    void branch(const Network& from, int duplications, int losses, const std::function<void(Network&)>& step) {
        Network next = from;
        step(next);
        explore(next, duplications, losses);
    }

    std::function<void(const Network&)> at_end_;
    std::unordered_set<std::string> seen_;
    std::size_t ends_ = 0;
};

// The non-empty subsets of `nodes`, by their bits.
std::vector<NodeId> subset(const std::vector<NodeId>& nodes, std::size_t bits) {
    std::vector<NodeId> chosen;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        if ((bits >> i & 1) != 0) chosen.push_back(nodes[i]);
    }
    return chosen;
}

TEST(ElectionRing, AnnouncesTheVictoryRoundTheRingAndStopsAtTheWinner) {
    const auto nodes = first_nodes(3);
    Network network(nodes);
    network.start(peer(20), ElectionId{1}, nodes);
    std::vector<std::string> transcript;
    while (!network.in_flight().empty()) {
        ASSERT_THAT(network.in_flight(), SizeIs(1));
        const auto flight = network.in_flight().front();
        transcript.push_back(fmt::format("{} -> {}: {} {}", flight.from, flight.send.to,
                                         flight.send.message.kind == Kind::kElection ? "ELECTION" : "VICTORY",
                                         flight.send.message.candidate));
        network.deliver(0);
    }
    EXPECT_THAT(transcript, ElementsAre("20 -> 30: ELECTION 20", "30 -> 10: ELECTION 30", "10 -> 20: ELECTION 30",
                                        "20 -> 30: ELECTION 30", "30 -> 10: VICTORY 30", "10 -> 20: VICTORY 30",
                                        "20 -> 30: VICTORY 30"));
    network.expect_decided(ElectionId{1}, nodes, peer(30));
}

TEST(ElectionRing, EveryOrderOfUpToFiveNodesElectsTheGreatest) {
    for (std::size_t n = 2; n <= 5; ++n) {
        const auto nodes = first_nodes(n);
        for (std::size_t bits = 1; bits < (1U << n); ++bits) {
            const auto initiators = subset(nodes, bits);
            if (n == 5 && initiators.size() > 3) continue;  // too many worlds; random orders below
            Network network(nodes);
            for (const NodeId initiator : initiators) network.start(initiator, ElectionId{initiator.value}, nodes);
            Explorer explorer([&](const Network& end) {
                for (const NodeId initiator : initiators) {
                    end.expect_decided(ElectionId{initiator.value}, nodes, nodes.back());
                }
                for (const NodeId id : nodes) EXPECT_FALSE(end.at(id).running());
            });
            explorer.explore(network, 0, 0);
            EXPECT_GE(explorer.ends(), 1);
        }
    }
}

TEST(ElectionRing, EveryOrderWithDuplicatesElectsTheGreatestOnce) {
    for (std::size_t n = 2; n <= 5; ++n) {
        const auto nodes = first_nodes(n);
        for (const NodeId initiator : nodes) {
            Network network(nodes);
            network.start(initiator, ElectionId{1}, nodes);
            Explorer explorer([&](const Network& end) { end.expect_decided(ElectionId{1}, nodes, nodes.back()); });
            explorer.explore(network, 2, 0);
            EXPECT_GE(explorer.ends(), 1);
        }
    }
}

TEST(ElectionRing, EveryOrderWithLossAndDuplicatesHasAtMostOneWinner) {
    for (std::size_t n = 2; n <= 5; ++n) {
        const auto nodes = first_nodes(n);
        for (const NodeId initiator : nodes) {
            Network network(nodes);
            network.start(initiator, ElectionId{1}, nodes);
            Explorer explorer([&](const Network& end) {
                for (const auto& [who, winner] : end.winners_of(ElectionId{1})) EXPECT_EQ(winner, nodes.back());
            });
            explorer.explore(network, 2, 1);
            EXPECT_GE(explorer.ends(), 2);
        }
    }
}

TEST(ElectionRing, EverySetOfDeadIsSkippedAndTheGreatestOfTheLivingWins) {
    std::mt19937_64 random(1);
    for (std::size_t n = 2; n <= 5; ++n) {
        const auto nodes = first_nodes(n);
        for (std::size_t bits = 1; bits < (1U << n); ++bits) {
            const auto living = subset(nodes, bits);
            for (const NodeId initiator : living) {
                for (int order = 0; order < 5; ++order) {
                    Network network(nodes);
                    for (const NodeId id : nodes) {
                        if (!std::ranges::binary_search(living, id)) network.kill(id);
                    }
                    network.start(initiator, ElectionId{1}, nodes);
                    network.run(random);
                    ASSERT_THAT(network.decided(), SizeIs(1));
                    network.expect_decided(network.decided().begin()->first, living, living.back());
                }
            }
        }
    }
}

TEST(ElectionRing, LateMessagesOfAFinishedElectionChangeNothing) {
    const auto nodes = first_nodes(5);
    std::mt19937_64 random(3);
    Network network(nodes);
    network.start(peer(10), ElectionId{1}, nodes);
    std::vector<Message> all;
    std::vector<NodeId> receivers;
    while (!network.in_flight().empty()) {
        all.push_back(network.in_flight().front().send.message);
        receivers.push_back(network.in_flight().front().send.to);
        network.deliver(0);
    }
    std::map<NodeId, Election> finished;
    for (const NodeId id : nodes) finished.emplace(id, network.at(id));
    for (int round = 0; round < 200; ++round) {
        const std::size_t i = random() % all.size();
        const Output output = finished.at(receivers[i]).receive(all[i]);
        EXPECT_EQ(output.outcome, Outcome::kNone);
        EXPECT_THAT(output.sends, IsEmpty());
    }
}

// Bigger rings, several initiators, some of which reach only a part; messages in any order and many times, none lost.
TEST(ElectionRing, WithoutLossEveryElectionIsWonByTheGreatestOfItsRing) {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        std::mt19937_64 random(seed);
        std::vector<NodeId> nodes;
        for (std::size_t i = 0, n = 2 + random() % 30; i < n; ++i) nodes.emplace_back(random());
        std::ranges::sort(nodes);
        Network network(nodes);
        std::map<ElectionId, std::vector<NodeId>> rings;
        std::size_t most_messages = 0;
        auto initiators = nodes;
        std::ranges::shuffle(initiators, random);
        initiators.resize(std::min<std::size_t>(nodes.size(), 1 + random() % 12));
        for (const NodeId initiator : initiators) {
            auto ring = nodes;
            if (random() % 2 == 0) std::erase_if(ring, [&](NodeId id) { return id != initiator && random() % 4 == 0; });
            const ElectionId id{random()};
            rings[id] = ring;
            most_messages += ring.size() * (ring.size() + 1);
            std::ranges::shuffle(ring, random);
            network.start(initiator, id, ring);
        }
        for (int duplicates = 200; !network.in_flight().empty();) {
            const std::size_t i = random() % network.in_flight().size();
            if (duplicates > 0 && random() % 3 == 0) {
                network.duplicate(i);
                --duplicates;
            }
            network.deliver(i);
        }
        for (const auto& [id, ring] : rings) network.expect_decided(id, ring, ring.back());
        EXPECT_LE(network.messages_sent(), most_messages);
        ASSERT_FALSE(HasFailure()) << "seed " << seed;
    }
}

// Loss, duplication, reordering, and nodes that die in the middle: one winner per id (checked by Network at every
// step). Then the network heals and the living try again, as the peer does when its timer expires: the greatest wins.
TEST(ElectionRing, UnderFaultsNeverTwoWinnersAndAfterHealingTheGreatestOfTheLiving) {
    for (std::uint64_t seed = 1; seed <= 500; ++seed) {
        std::mt19937_64 random(seed);
        std::vector<NodeId> nodes;
        for (std::size_t i = 0, n = 3 + random() % 10; i < n; ++i) nodes.emplace_back(random());
        std::ranges::sort(nodes);
        Network network(nodes);
        const std::uint64_t loss_percent = random() % 30;
        const std::uint64_t duplication_percent = random() % 30;
        auto living = nodes;
        for (std::size_t i = 0, n = 1 + random() % 8; i < n; ++i) {
            network.start(living[random() % living.size()], ElectionId{random()}, nodes);
        }
        for (int step = 0; !network.in_flight().empty() && step < 2000; ++step) {
            const std::size_t i = random() % network.in_flight().size();
            if (random() % 50 == 0 && living.size() > 1) {
                const NodeId victim = living[random() % living.size()];
                network.kill(victim);
                std::erase(living, victim);
            }
            if (random() % 100 < loss_percent) {
                network.lose(i);
                continue;
            }
            if (random() % 100 < duplication_percent) network.duplicate(i);
            network.deliver(i);
        }
        ASSERT_THAT(network.in_flight(), IsEmpty()) << "seed " << seed;

        for (const NodeId id : living) network.abandon(id);
        const ElectionId last{random()};
        network.start(living[random() % living.size()], last, living);
        network.run(random);
        network.expect_decided(last, living, living.back());
        ASSERT_FALSE(HasFailure()) << "seed " << seed;
    }
}

}  // namespace
}  // namespace logstream::election
