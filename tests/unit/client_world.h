// A small world for the client's tests: virtual time, brokers that share one true log, and faults by hand.
#pragma once

#include <spdlog/sinks/ringbuffer_sink.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <tuple>
#include <vector>

#include "internal/client/cluster_view.h"
#include "internal/client/partition_sender.h"
#include "internal/env/env.h"
#include "internal/protocol/record_batch.h"

namespace logstream::client::test {

using namespace std::chrono_literals;
using env::ConnectionId;
using env::Endpoint;
using protocol::Bytes;
using protocol::Duration;
using protocol::Error;
using protocol::ErrorCode;
using protocol::Message;
using protocol::MessageType;
using protocol::Offset;
using protocol::TimePoint;

// Virtual time; messages take `kLatency` each way.
class FakeEnv final : public env::Env {
public:
    static constexpr Duration kLatency = 100us;
    using Deliver = std::function<void(ConnectionId, Message)>;

    // What a broker that listens at an endpoint does.
    struct Listener {
        bool up = true;       // else connects are refused
        bool silent = false;  // takes everything, answers nothing (stopped process, or cut cable)
        Deliver deliver;
    };

    TimePoint now() override { return now_; }
    std::int64_t wall_clock_ms() override { return 1'700'000'000'000 + now_.time_since_epoch() / 1ms; }
    std::uint64_t random() override { return seed_ = seed_ * 6364136223846793005ULL + 1442695040888963407ULL; }
    spdlog::logger& log() override { return log_; }

    env::TimerId set_timer(Duration after, std::move_only_function<void()> task) override {
        const env::TimerId id{++last_id_};
        timers_.emplace(std::pair(now_ + std::max(after, Duration{0}), id.value), std::move(task));
        return id;
    }
    void cancel_timer(env::TimerId timer) override {
        std::erase_if(timers_, [timer](const auto& entry) { return entry.first.second == timer.value; });
    }

    ConnectionId connect(Endpoint to, Duration timeout, env::ConnectionHandler& handler) override;
    env::SendStatus send(ConnectionId connection, protocol::OutMessage message) override;
    std::size_t queued_bytes(ConnectionId) override { return queued; }
    void pause_reading(ConnectionId) override {}
    void resume_reading(ConnectionId) override {}
    void close(ConnectionId connection) override { connections_.erase(connection); }
    Endpoint peer_of(ConnectionId connection) override { return connections_.at(connection).to; }
    void broadcast(env::OutFrame frame) override {
        if (on_broadcast) set_timer(kLatency, [this, frame] { on_broadcast(frame); });
    }
    void multicast(std::span<const env::OutFrame>) override {}
    void send_datagram(Endpoint, env::OutFrame) override {}
    env::DatagramLimits datagram_limits() override { return {}; }

    // The brokers' side.
    Listener& listener(Endpoint at) { return listeners_[at]; }
    void reply(ConnectionId connection, const protocol::OutMessage& message);
    // Ends every connection to `at`.
    void break_connections(Endpoint at);
    // What waits to be sent on each connection; with `drain` all of it goes.
    std::size_t queued = 0;
    void drain();
    std::function<void(env::OutFrame)> on_broadcast;
    // How many lines that hold `text` were logged.
    std::size_t said(std::string_view text) const;

    void run_for(Duration time);
    // Runs until `done`, at most `limit`; returns what it said last.
    bool run_until(const std::function<bool()>& done, Duration limit);

private:
    struct Connection {
        Endpoint to;
        env::ConnectionHandler* handler{};
        bool up{};
    };
    bool step(TimePoint limit);

    TimePoint now_{1h};
    std::uint64_t seed_{42};
    std::uint64_t last_id_{};
    std::map<std::pair<TimePoint, std::uint64_t>, std::move_only_function<void()>> timers_;
    std::map<ConnectionId, Connection> connections_;
    std::map<Endpoint, Listener> listeners_;
    std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt> lines_ =
        std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(256);
    spdlog::logger log_{"test", lines_};
};

// Brokers 1..n at 10.0.0.<n>:8001. The log is one and true: whoever owns a partition appends to it. Acknowledgements
// may be held back or lost, owners may change, requests may be refused; the log tells whether the client kept its
// promises.
class FakeCluster {
public:
    struct Stored {
        std::string value;
        std::optional<std::string> key;
    };
    struct Produced {
        int broker{};
        std::uint32_t partition{};
        std::int16_t epoch{};
        std::int32_t base_sequence{};
        std::int32_t records{};
    };

    FakeCluster(FakeEnv& env, int brokers, std::uint32_t partitions = 1);

    static Endpoint endpoint(int broker) { return {0x0a000000U + static_cast<std::uint32_t>(broker), 8001}; }
    std::vector<Endpoint> endpoints() const;
    // The broker (1..n) that owns the partition in the present view.
    int owner(std::uint32_t partition = 0) const;

    // Faults. `kill` ends its connections; it stays in the view until `remove` takes it out.
    void kill(int broker);
    void revive(int broker);
    void silence(int broker) { env_.listener(endpoint(broker)).silent = true; }
    void remove(int broker);  // from the view, which gets the next number
    // It sees no quorum and no records from here on, while the others go on.
    void leave_behind(int broker) { left_behind_[broker] = logs_.front().size(); }
    // A broker that is left behind before `remove` goes on telling of the view that it knew.
    void cut_off(int broker) {
        leave_behind(broker);
        old_view_ = view();
        remove(broker);
    }
    // The topic is deleted; made anew it has another id, and nothing in it.
    void delete_topic();
    void create_topic(std::uint32_t partitions);
    void add_partition() { logs_.emplace_back(); }
    std::uint32_t partitions() const { return static_cast<std::uint32_t>(logs_.size()); }
    // Answers PRODUCE with this error, before the append.
    std::function<std::optional<Error>(int broker, const protocol::BatchView& batch)> refuse;
    // It belongs to another lineage from now on; the others do not know yet, and see no quorum.
    void go_over(int broker) {
        gone_over_ = broker;
        quorum = false;
    }
    // False: the batch is appended and its answer is lost.
    std::function<bool(const protocol::BatchView& batch)> answers = [](const auto&) { return true; };

    const std::vector<Stored>& log(std::uint32_t partition = 0) const { return logs_[partition]; }
    std::vector<std::string> values(std::uint32_t partition = 0) const;
    void append(std::uint32_t partition, const std::string& value);
    // Takes the place of a record in the log.
    void append_control(std::uint32_t partition = 0) { logs_[partition].push_back({kControl, {}}); }

    // What a named producer is told that the log lacks of what it sent; taken first when it comes.
    std::vector<SequenceRange> missing;
    std::vector<Produced> produced;  // every batch that reached a broker, in order
    std::vector<std::pair<int, Offset>> fetched;
    std::vector<std::pair<int, bool>> asked_for_topics;  // by METADATA: the broker, and whether to make them
    bool quorum = true;
    bool disk_full = false;  // of every broker
    std::string no_quorum = "no quorum: view 1 has 1 of 3 members in reach";
    bool topic_exists = true;
    bool auto_create = true;
    std::int64_t log_start = 0;
    std::int64_t unreadable = -1;  // in its batch the last record cannot be decoded; its checksum is right
    std::uint64_t cluster_id = 0xc1;
    std::size_t max_batch_bytes = 1u << 20;
    std::size_t fetch_records = 10;  // of one answer
    bool unaware = false;            // who is left behind does not know it, and answers as if it had a quorum
    // For other requests (groups, …).
    std::function<std::optional<protocol::OutMessage>(int broker, const Message& message)> other;

private:
    struct ProducerRecord {
        std::int16_t epoch{};
        std::int32_t next_sequence{};
        std::map<std::int32_t, std::int64_t> offsets;  // of batches, by base sequence
    };
    void on_message(int broker, ConnectionId connection, const Message& message);
    protocol::OutMessage on_metadata(int broker, const Message& message);
    std::optional<protocol::OutMessage> on_produce(int broker, const Message& message);
    protocol::OutMessage on_fetch(int broker, const Message& message);
    protocol::OutMessage on_list_offsets(int broker, const Message& message);
    protocol::OutMessage on_producer_state(const Message& message);
    proto::View view() const;
    std::uint64_t lineage_of(int broker) const { return broker == gone_over_ ? cluster_id + 1 : cluster_id; }
    bool has_quorum(int broker) const { return quorum && (unaware || !left_behind_.contains(broker)); }
    template <class Response>
    std::optional<protocol::OutMessage> refuses_reader(int broker, const auto& request, const Message& message) const;
    void tell_history(int broker, proto::Failure& out) const;
    // What the broker knows to be committed.
    std::int64_t end(int broker, std::uint32_t partition) const;
    static constexpr const char* kControl = "\x01 control";
    template <class Response>
    std::optional<protocol::OutMessage> not_owner(int broker, std::uint32_t partition, const Message& message) const;

    FakeEnv& env_;
    void rebuild_ring();

    std::uint64_t topic_id_ = 77;
    std::tuple<bool, std::uint64_t, std::size_t> topics_told_;
    std::int64_t topics_as_of_ = 0;
    proto::View old_view_;  // which brokers that are left behind know
    std::vector<int> members_;
    int gone_over_{};
    std::map<int, std::size_t> left_behind_;  // and the records that each of them has
    ring::HashRing ring_;
    std::uint64_t view_number_{1};
    std::vector<std::vector<Stored>> logs_;
    std::map<std::pair<std::uint32_t, std::int64_t>, ProducerRecord> producers_;
};

}  // namespace logstream::client::test
