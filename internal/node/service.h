// Answers what comes in on accepted connections: clients' requests, and other brokers'.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "internal/node/core.h"
#include "internal/node/door.h"
#include "internal/node/groups.h"
#include "internal/protocol/lifetime.h"
#include "internal/protocol/record_batch.h"

namespace logstream::node {

class Node;

class Service : public env::ConnectionHandler {
public:
    explicit Service(Node& node);

    // Fetches that wait for records are answered as they are: the view is changing.
    void on_freeze();
    // About every 100 ms: who waits for records of an owner that has lost its quorum is told.
    void tick();

    // A message of a broker that is who it says it is.
    void on_broker(env::ConnectionId connection, const view::Member& from, Message message);
    void close(env::ConnectionId connection);

    void on_connected(env::ConnectionId) override {}
    void on_message(env::ConnectionId connection, Message message) override;
    void on_closed(env::ConnectionId connection, const Error& reason) override;

    std::size_t waiting_fetches() const { return waiting_fetches_; }
    std::size_t connections() const { return refused_.size(); }
    std::uint64_t timestamps_out_of_range() const { return door_.flagged(); }

private:
    // Where an answer goes.
    struct Caller {
        env::ConnectionId connection;
        MessageType type{};
        Correlation correlation;
    };
    struct WaitingFetch {
        Caller caller;
        Offset offset;
        std::size_t max_bytes{};
        bool any_replica{};
        protocol::TimePoint deadline;
        env::TimerId timer{};  // of the deadline
    };

    template <class Proto>
    void answer(const Caller& caller, const Proto& response, std::vector<protocol::Bytes> body = {});
    template <class Response>
    void refuse(const Caller& caller, const Error& error);
    void reassign(const Caller& caller, StreamId stream);
    std::optional<Error> wrong_cluster(std::uint64_t cluster_id) const;

    void on_client(const Caller& caller, Message& message);
    // What anybody may ask of a broker; false: it is none of that.
    bool on_question(const Caller& caller, Message& message);

    void on_metadata(const Caller& caller, proto::Metadata question);
    void on_produce(const Caller& caller, const proto::Produce& request, protocol::Bytes body);
    void on_orphan(const Caller& caller, const proto::Orphan& request, const protocol::Bytes& body);
    void on_fetch(const Caller& caller, const proto::Fetch& request);
    void on_catch_up(const Caller& caller, const proto::Fetch& request);
    void on_list_offsets(const Caller& caller, const proto::ListOffsets& request);
    void on_topics(const Caller& caller, const proto::Topics& request);
    void list_topics(const Caller& caller, const proto::Topics& request);
    void put_figures(proto::TopicsResponse& out);
    void on_producer_state(const Caller& caller, const proto::ProducerState& request);
    std::optional<Error> cannot_resume(StreamId id, protocol::ProducerId producer) const;
    void on_verify(const Caller& caller, const proto::Verify& request);
    void on_groups_owner(const Caller& caller, const Message& message);
    template <class Response, class Request>
    void on_group(const Caller& caller, const Message& message,
                  void (Groups::*handle)(const Request&, std::function<void(const Response&)>));
    void content_checksum(StreamId id, Offset to, std::function<void(Result<std::uint64_t>)> done);

    // As Node::history, for readers.
    std::optional<Error> history() const;
    // A topic is unknown for certain only when all that is committed of the metadata stream has been applied.
    Error unknown_topic() const;
    // May this broker serve the stream's records to a reader? Answers the caller if not.
    template <class Response>
    Stream* readable(const Caller& caller, std::uint64_t cluster_id, StreamId id, bool any_replica);
    // May this broker append to the stream? Answers the caller if not.
    template <class Response>
    Stream* writable(const Caller& caller, std::uint64_t cluster_id, StreamId id);
    void read(const WaitingFetch& fetch, StreamId id);
    void send_records(const WaitingFetch& fetch, const Stream& stream, std::vector<protocol::Bytes> batches);
    // Answers without records.
    void end_wait(const WaitingFetch& fetch, StreamId id);
    void waits_no_more(const WaitingFetch& fetch);
    void wake(Stream& stream);
    void expire(StreamId id);

    Node& node_;
    Core& core_;
    Door door_;
    std::unordered_map<StreamId, std::vector<WaitingFetch>> waiting_;
    std::size_t waiting_fetches_{};  // in all of it
    // Streams of which a batch without producer id was refused on this connection: what was pipelined behind it is
    // refused, too, or it would overtake.
    std::unordered_map<env::ConnectionId, std::set<StreamId>> refused_;
    protocol::Lifetime lifetime_;
};

}  // namespace logstream::node
