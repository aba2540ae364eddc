// What the commands of logstreamctl share: one session, and ways to ask and wait.
#pragma once

#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cmd/logstreamctl/table.h"
#include "cmd/runtime/session.h"
#include "internal/client/owner_call.h"
#include "internal/client/partition_reader.h"
#include "internal/text/json.h"

namespace logstream::ctl {

using client::Broker;
using env::Endpoint;
using nlohmann::json;
using protocol::Duration;
using protocol::Error;
using protocol::ErrorCode;
using protocol::MessageType;
using protocol::Result;

inline constexpr Duration kAnswerLimit = std::chrono::seconds(2);
inline constexpr Duration kOwnerLimit = std::chrono::seconds(10);

// Flags that every command takes.
struct Common {
    runtime::ClientFlags client;
    bool json{};
};

inline int complain(const Error& error) { return runtime::complain("logstreamctl", error); }

inline void print(const json& value) { std::printf("%s\n", text::dump(value, 2).c_str()); }

// Opens a session and waits for a view.
Result<std::unique_ptr<runtime::Session>> connect(const Common& common,
                                                  const std::function<void(client::Router&)>& prepare = {});

// Asks the owner of a stream and waits for the answer. `tries` tells how often it was asked.
template <class Response, class Proto>
Result<Response> ask_owner(runtime::Session& session, protocol::StreamId stream, MessageType type, const Proto& request,
                           Duration limit = kOwnerLimit, int* tries = nullptr) {
    std::optional<Result<Response>> answer;
    const auto call = client::call_owner<Response>(session.router(), stream, type, request, limit,
                                                   [&answer, tries](Result<Response> response, int tried) {
                                                       answer = std::move(response);
                                                       if (tries != nullptr) *tries = tried;
                                                   });
    session.wait([&answer] { return answer.has_value(); });
    return *std::move(answer);
}

// Asks several brokers at once, each for what `request_of` makes for it, and waits for all answers.
template <class Response, class Proto>
std::map<Endpoint, Result<Response>> ask_all(runtime::Session& session, const std::vector<Endpoint>& brokers,
                                             MessageType type, const std::function<Proto(Endpoint)>& request_of,
                                             Duration limit = kAnswerLimit) {
    std::map<Endpoint, Result<Response>> answers;
    for (const Endpoint broker : brokers) {
        session.router().requests().send(broker, type, request_of(broker).SerializeAsString(), {}, limit,
                                         [&answers, broker](const Result<protocol::Message>& message) {
                                             answers.insert_or_assign(broker, client::read_response<Response>(message));
                                         });
    }
    session.wait([&] { return answers.size() == brokers.size(); });
    return answers;
}
template <class Response, class Proto>
Result<Response> ask(runtime::Session& session, Endpoint broker, MessageType type, const Proto& request,
                     Duration limit = kAnswerLimit) {
    return ask_all<Response, Proto>(
               session, {broker}, type, [&request](Endpoint) { return request; }, limit)
        .at(broker);
}

// Asks every address that HOST:PORT stands for at once; the answer of the first of them, in the name service's order,
// that gives one, and which it was.
template <class Response, class Proto>
Result<std::pair<Endpoint, Response>> ask_named(runtime::Session& session, const std::string& host_and_port,
                                                MessageType type, const Proto& request) {
    const auto endpoints = runtime::resolve_all(host_and_port);
    if (!endpoints) return std::unexpected(endpoints.error());
    const auto answers = ask_all<Response, Proto>(session, *endpoints, type, [&request](Endpoint) { return request; });
    for (const Endpoint endpoint : *endpoints)
        if (const auto& answer = answers.at(endpoint)) return std::pair(endpoint, *answer);
    return std::unexpected(answers.at(endpoints->front()).error());
}

// Where the log of a stream begins and ends, and with a time, in ms since 1970, which record is the first of then.
Result<proto::ListOffsetsResponse> ask_offsets(runtime::Session& session, protocol::StreamId stream,
                                               std::int64_t timestamp_ms = -1, Duration limit = kOwnerLimit);
// Asks who keeps the groups; the lineage is filled in.
Result<proto::GroupsResponse> ask_groups_owner(runtime::Session& session, proto::Groups request, int* tries = nullptr,
                                               Duration limit = kOwnerLimit);

// The members' addresses.
std::vector<Endpoint> members_of(const client::ClusterView& view);
// A member by id (16 hex digits), name or address.
Result<Broker> find_member(const client::ClusterView& view, const std::string& who);

// The commands; each returns the exit code.

struct StatusOptions {
    bool watch{};  // again and again, until it is interrupted
    Duration interval = std::chrono::seconds(1);
};
int status(const Common& common, const StatusOptions& options);
// A live screen, until q is typed.
int top(const Common& common, Duration interval);
int verify(const Common& common);
int views(const Common& common);
int ring(const Common& common, const std::string& topic);

struct TopicOptions {
    std::string name;
    std::uint32_t partitions{};  // 0: the broker's default
    std::int64_t retention_ms{};
    std::int64_t retention_bytes{};
    bool compact{};
};
int topics_list(const Common& common);
int topics_create(const Common& common, const TopicOptions& options);
// What is not there stays as it is.
struct AlterOptions {
    std::string name;
    std::optional<std::int64_t> retention_ms;
    std::optional<std::int64_t> retention_bytes;
    bool compact{};
};
int topics_alter(const Common& common, const AlterOptions& options);
int topics_delete(const Common& common, const std::string& name);
int topics_describe(const Common& common, const std::string& name);

int groups_list(const Common& common);
int groups_describe(const Common& common, const std::string& name);
int groups_delete(const Common& common, const std::string& name);
struct ResetOptions {
    std::string group;
    client::StartAt to;
    std::string topic;  // empty: all that the group has read
    std::optional<std::uint32_t> partition;
    bool yes{};  // else it only shows what would be
};
int groups_reset(const Common& common, const ResetOptions& options);

// Of the user's file; no cluster is asked.
int context_add(const Common& common, const std::string& name);
int context_use(const std::string& name);
int context_remove(const std::string& name);
int context_list(const Common& common);

struct AppendOptions {
    std::string topic;
    std::string content;
    std::optional<std::string> key;
    std::optional<std::uint32_t> partition;
    Duration timeout = std::chrono::seconds(10);
};
int append(const Common& common, const AppendOptions& options);

struct QueryOptions {
    std::string topic;
    std::optional<std::uint32_t> partition;
    std::int64_t from{};
    std::optional<std::uint64_t> count;
    std::string at;  // ask this broker what it holds, in place of the owner
};
int query(const Common& common, const QueryOptions& options);

struct TailOptions {
    std::string topic;
    std::uint64_t count = 10;  // of each partition
    bool follow{};
};
int tail(const Common& common, const TailOptions& options);

// Names for a shell to complete a command line with, one a line; nothing, and no word of why, when none can be had
// soon.
int complete(const Common& common, const std::string& source);

int elect(const Common& common);
int remove(const Common& common, const std::string& who);
int drain(const Common& common, const std::string& who);

struct RecoverOptions {
    std::vector<std::string> survivors;  // HOST:PORT
    bool yes{};
};
int recover(const Common& common, const RecoverOptions& options);

struct MergeOptions {
    std::vector<std::string> from;  // HOST:PORT
    bool keep{};                    // do not retire the brokers copied from
};
int merge(const Common& common, const MergeOptions& options);

}  // namespace logstream::ctl
