// What a broker's logic is told; `main.cpp` fills it from the configuration, a simulator from its seed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "internal/env/endpoint.h"
#include "internal/failure/phi_detector.h"
#include "internal/protocol/policies.h"
#include "internal/protocol/time.h"
#include "internal/protocol/version.h"
#include "logstream.pb.h"

namespace logstream::node {

using protocol::Duration;
using protocol::IdentityPolicy;
using protocol::TimePoint;
using protocol::TimestampPolicy;
using protocol::Transport;

struct Settings {
    std::uint32_t protocol_version = protocol::kProtocolVersion;  // the greatest that it speaks
    std::string cluster = "logstream";
    std::string name;
    env::Endpoint address;        // TCP and the node's own UDP socket
    std::uint16_t http_port{};    // 0: off
    std::string page;             // where a browser finds it; empty: nowhere
    std::string data_dir;         // to be shown only
    std::string fsync = "group";  // for status; the store does it
    bool loses_unflushed{};       // fsync is interval or never: an unclean machine restart may lose acknowledged bytes

    IdentityPolicy identity = IdentityPolicy::kMachine;
    std::string machine;  // this one; empty: not known
    bool moved{};         // an operator says that the data came here from another machine for good
    bool new_identity{};  // … or that they are a copy: this is another broker from now on

    std::uint32_t expect = 1;  // bootstrap waits for this many new brokers
    Duration discovery_timeout = std::chrono::seconds(1);
    std::vector<env::Endpoint> seeds;
    bool seeds_pending{};  // seeds are named, and no name stands for an address yet

    Duration heartbeat = std::chrono::milliseconds(100);
    double phi_suspect = 8;
    double phi_fail = 10;
    Duration failure_timeout = std::chrono::seconds(15);

    Transport transport = Transport::kAuto;
    std::size_t window_bytes = 8u << 20;  // upper limit; the kernel's receive buffers may allow less
    Duration slow_member_timeout = std::chrono::seconds(5);
    std::uint32_t min_in_sync = 1;

    bool auto_create = true;
    proto::TopicSettings topic_defaults;
    std::size_t record_bytes = 1u << 20;
    std::size_t batch_bytes = 4u << 20;
    std::size_t max_streams = 100'000;
    std::size_t max_groups = 10'000;                                 // that have members
    std::optional<Duration> group_retention = std::chrono::days(7);  // of groups without members; none: for ever
    std::size_t max_pending_bytes = 64u << 20;  // appended and not yet acknowledged, over all streams
    TimestampPolicy timestamp_policy = TimestampPolicy::kFlag;
    std::chrono::milliseconds timestamp_range = std::chrono::hours(24);
    std::int64_t retention_ms = -1;  // -1: for ever
    std::int64_t retention_bytes = -1;
};

}  // namespace logstream::node
