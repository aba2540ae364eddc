// What a broker is told, in one validated struct: defaults < YAML file < environment < flags.
//
// The table in setting.cpp is the one list of settings; the file, the environment, the flags, --help and the check of
// deploy/logstream.yaml are all made from it. This room reads the file and the environment it is given and knows
// nothing of sockets, interfaces or the rest of the broker: main.cpp hands each room its part.
#pragma once

#include <spdlog/common.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "internal/env/endpoint.h"
#include "internal/protocol/error.h"
#include "internal/protocol/policies.h"
#include "internal/protocol/time.h"

namespace logstream::config {

using protocol::Duration;
using protocol::FsyncPolicy;
using protocol::IdentityPolicy;
using protocol::TimestampPolicy;
using protocol::Transport;

// What a side without quorum may do. kPrimary: refuse writes.
enum class PartitionPolicy : std::uint8_t { kPrimary };

// A host name or an address, and a port; resolved by whoever connects.
struct HostPort {
    std::string host;  // an IPv6 address without brackets, with its zone if it has one: fe80::1%eth0
    std::uint16_t port{};
    bool operator==(const HostPort&) const = default;
};
std::string to_string(const HostPort& at);
// The address that a host is written as; nullopt: it is a name, or empty.
std::optional<protocol::IpAddress> address_in(std::string_view host);

// Where the admin pages listen.
struct HttpAddress {
    enum class Mode : std::uint8_t {
        kDefault,  // the node's IP, its port + 1000; replaced by `complete`
        kOff,
        kAt,
    };
    Mode mode{Mode::kDefault};
    env::Endpoint at;  // valid with kAt
    bool operator==(const HttpAddress&) const = default;
};

struct NodeConfig {
    // An empty host: the address of the first interface that is not loopback. `boot` finds out what it stands for.
    HostPort address{"", 8001};
    std::string interface;  // empty: the one that has the address
    std::string name;       // empty until `complete`: <host name>-<port>
    bool operator==(const NodeConfig&) const = default;
};

struct ClusterConfig {
    std::string name = "logstream";
    // A new cluster is bootstrapped only when this many new brokers have found each other; 1: no expectation.
    std::uint32_t expect = 1;
    PartitionPolicy partition = PartitionPolicy::kPrimary;
    bool operator==(const ClusterConfig&) const = default;
};

struct FailureConfig {
    Duration heartbeat = std::chrono::milliseconds(100);
    double phi_suspect = 8;  // 0 < phi_suspect <= phi_fail
    double phi_fail = 10;
    Duration timeout = std::chrono::seconds(15);  // a silent peer has failed after this, whatever phi says
    bool operator==(const FailureConfig&) const = default;
};

struct ReplicationConfig {
    env::Endpoint multicast;  // port 0 until `take_address`: the default of the address's family
    Transport transport = Transport::kAuto;
    std::size_t window_bytes = std::size_t{8} << 20;  // most that is sent and not acknowledged by all
    std::size_t mtu_bytes = 0;                        // IP and UDP headers included; 0: the interface's
    Duration slow_member_timeout = std::chrono::seconds(5);
    std::uint32_t min_in_sync = 1;  // a view smaller than this refuses writes
    bool operator==(const ReplicationConfig&) const = default;
};

struct DiscoveryConfig {
    std::uint16_t broadcast_port = 8888;
    std::vector<HostPort> seeds;
    Duration timeout = std::chrono::seconds(1);
    bool operator==(const DiscoveryConfig&) const = default;
};

// What may be deleted. nullopt: nothing, for ever.
struct RetentionConfig {
    std::optional<std::chrono::milliseconds> time;
    std::optional<std::uint64_t> bytes;  // of one stream
    bool operator==(const RetentionConfig&) const = default;
};

struct StorageConfig {
    std::string dir;  // empty until `complete`: ./data/<name>, or ./data/<port> when no name was given
    IdentityPolicy identity = IdentityPolicy::kMachine;
    FsyncPolicy fsync = FsyncPolicy::kGroup;
    Duration fsync_interval = std::chrono::seconds(1);
    std::size_t segment_bytes = std::size_t{64} << 20;
    std::optional<std::uint64_t> page_cache_bytes = std::uint64_t{256} << 20;  // none: unlimited
    RetentionConfig retention;
    bool operator==(const StorageConfig&) const = default;
};

// What a topic gets that is created without saying otherwise, and how its records' timestamps are judged.
struct TopicsConfig {
    bool auto_create = true;
    std::uint32_t partitions = 1;
    TimestampPolicy timestamp_policy = TimestampPolicy::kFlag;
    Duration timestamp_range = std::chrono::hours(24);  // from the broker's clock
    bool operator==(const TopicsConfig&) const = default;
};

struct GroupsConfig {
    // How long a consumer group without members is remembered. nullopt: for ever.
    std::optional<std::chrono::milliseconds> retention = std::chrono::days(7);
    bool operator==(const GroupsConfig&) const = default;
};

// Bounds. What comes beyond one is refused with an error that names it.
struct LimitsConfig {
    std::size_t connections = 1000;
    std::size_t record_bytes = std::size_t{1} << 20;
    std::size_t batch_bytes = std::size_t{4} << 20;
    std::size_t streams = 100'000;
    std::size_t groups = 10'000;
    std::size_t producers = 1024;                            // remembered per stream, to know their retries
    std::size_t pending_bytes = std::size_t{64} << 20;       // appended and not yet acknowledged, of all streams
    std::size_t cache_bytes = std::size_t{64} << 20;         // recent batches kept in memory for readers
    std::size_t disk_reserve_bytes = std::size_t{64} << 20;  // writes are refused when less is free
    bool operator==(const LimitsConfig&) const = default;
};

struct AdminConfig {
    HttpAddress http;
    bool operator==(const AdminConfig&) const = default;
};

struct LogConfig {
    spdlog::level::level_enum level = spdlog::level::info;
    bool file = false;  // also to <storage.dir>/logstream.log, rotated
    bool operator==(const LogConfig&) const = default;
};

struct Config {
    NodeConfig node;
    ClusterConfig cluster;
    FailureConfig failure;
    ReplicationConfig replication;
    DiscoveryConfig discovery;
    StorageConfig storage;
    TopicsConfig topics;
    GroupsConfig groups;
    LimitsConfig limits;
    AdminConfig admin;
    LogConfig log;
    bool operator==(const Config&) const = default;
};

// Folders of brokers that were not told where to keep their data are in here.
inline constexpr std::string_view kDataParent = "./data";

// Fills in what is left open until the machine is known: the name from the host's, and the data folder from a name that
// was given, else from the port (data_folder.h, with the folders in kDataParent). kConfig: it can't be told which data
// folder is meant.
protocol::Result<void> complete(Config& config, std::string_view host_name,
                                const std::vector<std::string>& data_folders);

// The groups of replication where none is given: 239.0.0.1, and the group of that number within an IPv6 link.
inline constexpr env::Endpoint kMulticastV4{0xef000001, 9999};
inline constexpr env::Endpoint kMulticastV6{{0xff02'0000'0000'0000, 0xef000001}, 9999};
// Fills in what follows from the address that the broker has: admin.http and replication.multicast.
void take_address(Config& config, const env::Endpoint& at);

// The keys of the settings that differ.
std::vector<std::string_view> changed_settings(const Config& before, const Config& after);

// "group", "interval", "never"; "auto", …: as in the file.
std::string_view to_string(FsyncPolicy policy);
std::string_view to_string(Transport transport);

using Environment = std::map<std::string, std::string, std::less<>>;
// The process's own.
Environment process_environment();

// Said for one start about the data folder; never in a file.
struct Declared {
    bool moved{};         // it came here from another machine for good
    bool new_identity{};  // it is a copy: this is another broker from now on
};

// A broker that may start.
struct Start {
    Config config;
    Declared declared;
    std::vector<std::string> warnings;  // to be logged once logging is set up
};

// A program that ends before it began: --help and --version, wrong usage, a setting that was refused.
struct Stop {
    int exit_code{};   // 0: `text` belongs on stdout; 1 (refused setting) and 2 (wrong usage): on stderr
    std::string text;  // ends with a newline
};

// The broker's whole start-up: flags, the file they name, the environment. Touches nothing but that file.
std::expected<Start, Stop> parse_command_line(int argc, const char* const* argv, const Environment& environment,
                                              std::string_view version);

}  // namespace logstream::config
