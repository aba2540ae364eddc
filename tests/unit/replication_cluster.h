// One sender and its receivers, joined by a network that loses, reorders, repeats and damages datagrams, in virtual
// time, all drawn from a seed. The parts are wired as the node wires them; what must always hold is checked at every
// step.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <queue>

#include "internal/replication/ack_coalescer.h"
#include "internal/replication/ack_tracker.h"
#include "internal/replication/commit_queue.h"
#include "internal/replication/loss_detector.h"
#include "internal/replication/pending_acks.h"
#include "internal/replication/retransmit_handler.h"
#include "tests/unit/replication_samples.h"

namespace logstream::replication::testing {

using namespace samples;

struct Faults {
    double loss{};
    double duplicate{};
    double damage{};  // one bit flips
    Duration min_delay = 50us;
    Duration max_delay = 50us;  // beyond min_delay: reordering
};

struct Plan {
    std::uint64_t seed = 1;
    std::size_t receivers = 2;
    std::size_t messages = 200;
    std::size_t max_message_bytes = 3000;
    std::size_t frame_bytes = 1472;
    SendRing::Window window{64u << 10, 64};
    Duration max_flush = 1ms;
    Duration max_pause = 500us;  // between two messages
    Faults faults = {};
};

// Runs callbacks in the order of their times.
class World {
public:
    explicit World(std::uint64_t seed) : random{seed} {}
    void after(Duration delay, std::function<void()> task) { at(now + delay, std::move(task)); }
    void at(TimePoint when, std::function<void()> task) {
        events_.push({std::max(when, now), ++count_, std::move(task)});
    }
    // Until `done`, at most to `deadline`. Returns whether it is done.
    bool run(TimePoint deadline, const std::function<bool()>& done) {
        while (!done()) {
            if (events_.empty() || events_.top().when > deadline) return false;
            Event next = events_.top();
            events_.pop();
            now = next.when;
            next.task();
            if (::testing::Test::HasFatalFailure()) return false;
        }
        return true;
    }
    Duration delay(Duration low, Duration high) {
        return Duration(static_cast<Duration::rep>(
            random.between(static_cast<std::uint64_t>(low.count()), static_cast<std::uint64_t>(high.count()))));
    }

    TimePoint now = kStart;
    Random random;

private:
    struct Event {
        TimePoint when;
        std::uint64_t order;
        std::function<void()> task;
        bool operator<(const Event& other) const {
            return when != other.when ? when > other.when : order > other.order;
        }
    };
    std::priority_queue<Event> events_;
    std::uint64_t count_{};
};

// A timer that runs at the earliest time it was set to, and is set anew by whoever it woke.
class Alarm {
public:
    Alarm(World& world, std::function<void()> task) : world_(world), task_(std::move(task)) {}
    void set(TimePoint when) {
        if (when >= next_) return;
        next_ = when;
        world_.at(when, [this, when] {
            if (next_ != when) return;
            next_ = TimePoint::max();
            task_();
        });
    }

private:
    World& world_;
    std::function<void()> task_;
    TimePoint next_ = TimePoint::max();
};

struct Stored {
    StreamId stream;
    Bytes batch;
};

class Receiver {
public:
    Receiver(World& world, const Plan& plan, NodeId node)
        : node(node),
          window({.max_frames = plan.window.frames,
                  .max_buffered_bytes = plan.window.bytes + plan.frame_bytes,
                  .max_message_bytes = plan.max_message_bytes}),
          world_(world),
          plan_(plan),
          loss_({}),
          commits_(1u << 20),
          coalescer_({.frames = std::max<std::size_t>(1, plan.window.frames / 4)}),
          alarm_(world, [this] { settle(); }) {}

    void on_datagram(const Bytes& datagram) {
        if (dead) return;
        const auto frame = protocol::decode_frame(datagram.span());
        if (!frame) return void(++damaged);
        delivered_.clear();
        const auto result =
            window.insert(frame->header.sequence, frame->header.flags, datagram.from(frame->payload_begin), delivered_);
        ASSERT_TRUE(result) << result.error().message;
        ASSERT_LE(window.buffered_frames(), plan_.window.frames);
        ASSERT_EQ(window.counters().beyond, 0u) << "the sender went beyond its window";
        for (DeliveredMessage& message : delivered_) store(std::move(message));
        settle();
    }

    void on_heartbeat(Sequence last, Sequence committed) {
        if (dead) return;
        window.raise_highest(last);
        commit(committed);
        settle();
    }

    std::function<void(std::vector<SequenceRange>)> send_nack;
    std::function<void(AckCoalescer::Ack)> send_ack;

    const NodeId node;
    ReceiveWindow window;
    bool dead = false;
    std::uint64_t damaged{};
    std::vector<Stored> log;
    std::size_t durable_messages{};
    std::size_t committed_messages{};
    Sequence acknowledged;

private:
    void store(DeliveredMessage message) {
        log.push_back({message.stream, std::move(message.batch)});
        ASSERT_TRUE(commits_.push(message.last_frame, message.stream, Offset{static_cast<std::int64_t>(log.size())}));
        commit(message.committed);
    }
    void commit(Sequence committed) {
        commits_.advance(committed,
                         [this](StreamId, Offset end) { committed_messages = static_cast<std::size_t>(end.value); });
    }
    void settle() {
        coalescer_.received(window.received(), window.last_message_end(), window.highest_seen(), world_.now);
        if (window.last_message_end() > flush_asked_ && !flushing_) flush();
        if (auto ranges = loss_.poll(window, world_.now, world_.random()); !ranges.empty())
            send_nack(std::move(ranges));
        if (const auto ack = coalescer_.poll(world_.now)) {
            acknowledged = ack->durable;
            send_ack(*ack);
        }
        alarm_.set(std::min(loss_.next_deadline(), coalescer_.next_deadline()));
    }
    void flush() {
        flushing_ = true;
        flush_asked_ = window.last_message_end();
        world_.after(world_.delay({}, plan_.max_flush), [this, durable = flush_asked_, messages = log.size()] {
            flushing_ = false;
            if (dead) return;
            durable_messages = messages;
            coalescer_.durable(durable, world_.now);
            settle();
        });
    }

    World& world_;
    const Plan& plan_;
    LossDetector loss_;
    CommitQueue commits_;
    AckCoalescer coalescer_;
    std::vector<DeliveredMessage> delivered_;
    Sequence flush_asked_;
    bool flushing_ = false;
    Alarm alarm_;
};

class Sender {
public:
    Sender(World& world, const Plan& plan)
        : ring({kCluster, kView, kSender, Sequence{1}}, plan.window),
          retransmit({}, kStart),
          acks(members(plan), kSender, Sequence{1}),
          world_(world),
          plan_(plan),
          packer_(plan.frame_bytes, Sequence{1}),
          commits_(1u << 20),
          pending_(1u << 20),
          resend_alarm_(world, [this] { pump(); }) {}

    static std::vector<NodeId> members(const Plan& plan) {
        std::vector<NodeId> out{kSender};
        for (std::uint64_t i = 1; i <= plan.receivers; ++i) out.push_back(NodeId{i});
        return out;
    }

    void produce(StreamId stream, Bytes batch) {
        log.push_back({stream, batch});
        const Sequence end = packer_.add(stream, acks.committed(), 0, std::move(batch), queue_);
        ends.push_back(end);
        ASSERT_TRUE(commits_.push(end, stream, Offset{static_cast<std::int64_t>(log.size())}));
        const auto level = static_cast<AckLevel>(log.size() % kAckLevels);
        ASSERT_TRUE(pending_.add(level, end, Cookie{log.size() - 1}));
    }

    void pump() {
        packer_.flush(queue_);
        if (ends.size() > flush_asked_) flush();
        std::vector<OutFrame> frames;
        retransmit.poll(ring, world_.now, frames);
        while (!queue_.empty() && ring.can_send(queue_.front().frame.size())) {
            frames.push_back(ring.append(std::move(queue_.front())));
            queue_.pop_front();
        }
        acks.sent(ring.last_sent(), world_.now);
        for (const OutFrame& frame : frames) multicast(datagram(frame));
        resend_alarm_.set(retransmit.next_deadline());
    }

    void on_nack(const std::vector<SequenceRange>& ranges) {
        // A receiver that lacks a frame has not acknowledged it, so it cannot be gone: only an old NACK asks for such.
        if (heeds_nacks) retransmit.on_nack(ranges, ring, world_.now);
        pump();
    }

    void on_ack(NodeId node, AckCoalescer::Ack ack) {
        ASSERT_NE(acks.update(node, ack.durable, ack.received, world_.now), AckTracker::Update::kInvalid);
        settle();
        pump();
    }

    bool idle() const { return queue_.empty() && ring.frames_in_flight() == 0 && pending_.size() == 0; }

    std::function<void(Bytes)> multicast;
    std::function<void(std::size_t message, AckLevel level)> answered;

    SendRing ring;
    RetransmitHandler retransmit;
    AckTracker acks;
    std::vector<Stored> log;
    std::vector<Sequence> ends;  // the frame in which each message ends
    std::size_t committed_messages{};
    bool heeds_nacks = true;

private:
    void flush() {
        flush_asked_ = ends.size();
        world_.after(world_.delay({}, plan_.max_flush), [this, durable = ends.back()] {
            acks.own_durable(durable, world_.now);
            settle();
            pump();
        });
    }
    void settle() {
        ring.release(acks.stable());
        commits_.advance(acks.committed(),
                         [this](StreamId, Offset end) { committed_messages = static_cast<std::size_t>(end.value); });
        for (const Cookie cookie : pending_.take_ready(acks.own(), acks.committed(), acks.stable())) {
            answered(cookie.value, static_cast<AckLevel>((cookie.value + 1) % kAckLevels));
        }
    }

    World& world_;
    const Plan& plan_;
    FramePacker packer_;
    std::deque<PackedFrame> queue_;
    CommitQueue commits_;
    PendingAcks pending_;
    std::size_t flush_asked_{};
    Alarm resend_alarm_;
};

class Cluster {
public:
    explicit Cluster(const Plan& p) : plan(p), world(p.seed), sender(world, plan) {
        for (std::uint64_t i = 1; i <= plan.receivers; ++i) {
            receivers.push_back(std::make_unique<Receiver>(world, plan, NodeId{i}));
        }
        sender.multicast = [this](const Bytes& bytes) {
            check_window();
            if (swallow && swallow(bytes)) return;
            for (auto& receiver : receivers) {
                transfer(bytes, [&receiver = *receiver](const Bytes& arrived) { receiver.on_datagram(arrived); });
            }
        };
        sender.answered = [this](std::size_t message, AckLevel level) { check_answer(message, level); };
        for (auto& receiver : receivers) {
            receiver->send_nack = [this](std::vector<SequenceRange> ranges) {
                ++nacks;
                const Faults& f = plan.faults;
                if (world.random.chance(f.loss)) return;
                world.after(world.delay(f.min_delay, f.max_delay), [this, ranges] { sender.on_nack(ranges); });
            };
            receiver->send_ack = [this, node = receiver->node, last = TimePoint{}](AckCoalescer::Ack ack) mutable {
                ++acks;
                last = std::max(last, world.now + world.delay(plan.faults.min_delay, plan.faults.max_delay));
                world.at(last, [this, node, ack] { sender.on_ack(node, ack); });  // TCP: in order, nothing lost
            };
        }
        heartbeat();
        produce();
    }

    // Until every living member has everything and the sender has answered all; false when that takes too long.
    bool run_until_done(Duration limit = 600s) {
        return world.run(world.now + limit, [this] { return produced == plan.messages && done(); });
    }
    void run_for(Duration time) {
        world.run(world.now + time, [] { return false; });
    }
    bool done() const {
        if (!sender.idle()) return false;
        for (const auto& receiver : receivers) {
            if (!receiver->dead && receiver->committed_messages < sender.log.size()) return false;
        }
        return true;
    }

    // For a person who asks why it is not done.
    std::string positions() const {
        std::string out;
        for (const auto& r : receivers) {
            out += fmt::format("{{received {} of {}, acknowledged {}, committed messages {} of {}}} ",
                               r->window.received(), r->window.highest_seen(), r->acknowledged, r->committed_messages,
                               sender.log.size());
        }
        return out;
    }

    // Exactly once, in order, the same bytes.
    void check_logs() const {
        for (const auto& receiver : receivers) {
            ASSERT_EQ(receiver->log.size(), sender.log.size());
            for (std::size_t i = 0; i < sender.log.size(); ++i) {
                ASSERT_EQ(receiver->log[i].stream, sender.log[i].stream) << i;
                ASSERT_EQ(receiver->log[i].batch.view(), sender.log[i].batch.view()) << i;
            }
            ASSERT_EQ(receiver->window.buffered_frames(), 0u);
            ASSERT_EQ(receiver->window.buffered_bytes(), 0u);
        }
    }

    Plan plan;
    World world;
    Sender sender;
    std::vector<std::unique_ptr<Receiver>> receivers;
    std::function<bool(const Bytes& datagram)> swallow;  // true: nobody gets it
    bool heartbeats = true;
    std::size_t produced{};
    std::uint64_t nacks{};
    std::uint64_t acks{};

private:
    void transfer(const Bytes& bytes, const std::function<void(const Bytes&)>& deliver) {
        const Faults& f = plan.faults;
        if (world.random.chance(f.loss)) return;
        const int copies = world.random.chance(f.duplicate) ? 2 : 1;
        for (int i = 0; i < copies; ++i) {
            Bytes arrived = Bytes::copy_of(bytes.span());
            if (world.random.chance(f.damage)) {
                arrived.mutable_data()[world.random.below(arrived.size())] ^= std::byte(1u << world.random.below(8));
            }
            world.after(world.delay(f.min_delay, f.max_delay), [deliver, arrived] { deliver(arrived); });
        }
    }

    void heartbeat() {
        world.after(20ms, [this] {
            if (heartbeats) {
                const Sequence last = sender.ring.last_sent();
                const Sequence committed = sender.acks.committed();
                for (auto& receiver : receivers) {
                    if (world.random.chance(plan.faults.loss)) continue;
                    world.after(world.delay(plan.faults.min_delay, plan.faults.max_delay),
                                [&receiver = *receiver, last, committed] { receiver.on_heartbeat(last, committed); });
                }
            }
            heartbeat();
        });
    }

    void produce() {
        if (produced == plan.messages) return;
        world.after(world.delay({}, plan.max_pause), [this] {
            for (std::uint64_t burst = world.random.between(1, 8); burst > 0 && produced < plan.messages; --burst) {
                const std::size_t limit = world.random.chance(0.2) ? plan.max_message_bytes : 200;
                sender.produce(stream(world.random.below(5)), batch(world.random.between(1, limit), ++produced));
            }
            sender.pump();
            produce();
        });
    }

    void check_window() const {
        ASSERT_LE(sender.ring.frames_in_flight(), plan.window.frames);
        ASSERT_TRUE(sender.ring.bytes_in_flight() <= plan.window.bytes || sender.ring.frames_in_flight() == 1);
        for (const auto& receiver : receivers) {
            ASSERT_LE(sender.ring.last_sent() - receiver->acknowledged, plan.window.frames);
        }
    }

    // A producer is answered no earlier than its level promises; a member that acknowledged has it on its disk.
    void check_answer(std::size_t message, AckLevel level) const {
        const Sequence end = sender.ends[message];
        std::size_t holders = sender.acks.own() >= end ? 1 : 0;
        for (const auto& receiver : receivers) {
            if (receiver->acknowledged < end) continue;
            ++holders;
            ASSERT_GT(receiver->durable_messages, message);
        }
        const std::size_t members = receivers.size() + 1;
        ASSERT_GE(holders, level == AckLevel::kAll ? members : level == AckLevel::kQuorum ? members / 2 + 1 : 1);
        if (level == AckLevel::kOwner) {
            ASSERT_GE(sender.acks.own(), end);
        }
        for (const auto& receiver : receivers) ASSERT_LE(receiver->committed_messages, sender.committed_messages);
    }
};

}  // namespace logstream::replication::testing
