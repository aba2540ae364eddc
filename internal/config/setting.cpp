#include "internal/config/setting.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <vector>

#include "internal/config/value.h"

namespace logstream::config {

namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kKiB = 1ULL << 10;
constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kGiB = 1ULL << 30;
constexpr std::uint32_t kMaxMembers = 32;  // as many as a view can have
// A batch header is 61 bytes, a record's own fields below 40.
constexpr std::size_t kBatchOverheadBytes = 128;

// How a value of one kind is read and shown.
template <class T>
struct Kind {
    std::function<Parsed<T>(std::string_view)> parse;
    std::function<std::string(const T&)> show;
    std::vector<std::string> words{};  // NOLINT(readability-redundant-member-init): else every use has to name it
};

Kind<Duration> duration_between(Duration least, Duration most) {
    return {[=](std::string_view text) -> Parsed<Duration> {
                auto value = parse_duration(text);
                if (value && (*value < least || *value > most))
                    return std::unexpected(fmt::format("{} to {}", show_duration(least), show_duration(most)));
                return value;
            },
            show_duration};
}

Kind<std::size_t> size_between(std::uint64_t least, std::uint64_t most) {
    return {[=](std::string_view text) -> Parsed<std::size_t> { return parse_size_between(text, least, most); },
            show_size};
}

template <std::unsigned_integral T>
Kind<T> count_between(T least, T most) {
    return {[=](std::string_view text) { return parse_count_between<T>(text, least, most); },
            [](const T& value) { return fmt::format("{}", value); }};
}

template <class T>
struct Word {
    std::string_view text;
    T value;
};

template <class T, std::size_t N>
Kind<T> one_of(std::array<Word<T>, N> words) {
    std::vector<std::string> all;
    for (const auto& word : words) all.emplace_back(word.text);
    return {[=](std::string_view text) -> Parsed<T> {
                std::vector<std::string_view> known;
                for (const auto& word : words) {
                    if (word.text == text) return word.value;
                    known.push_back(word.text);
                }
                return std::unexpected(fmt::format("one of {}", fmt::join(known, ", ")));
            },
            [=](const T& value) {
                const auto found = std::ranges::find(words, value, &Word<T>::value);
                return std::string(found == words.end() ? "" : found->text);
            },
            std::move(all)};
}

// A word for "no value", else what `inner` reads.
template <class T, class Inner>
Kind<std::optional<T>> or_word(std::string_view word, const Kind<Inner>& inner) {
    return {[=](std::string_view text) -> Parsed<std::optional<T>> {
                if (text == word) return std::nullopt;
                auto value = inner.parse(text);
                if (!value) return std::unexpected(fmt::format("{}, or {}", value.error(), word));
                if constexpr (std::same_as<Inner, Duration>)
                    return std::chrono::duration_cast<T>(*value);
                else
                    return static_cast<T>(*value);
            },
            [=](const std::optional<T>& value) {
                return value ? inner.show(static_cast<Inner>(*value)) : std::string(word);
            }};
}

// Empty text is the default that `complete` replaces.
Kind<std::string> or_empty(const std::function<Parsed<std::string>(std::string_view)>& parse) {
    return {[=](std::string_view text) { return text.empty() ? Parsed<std::string>("") : parse(text); },
            [](const std::string& value) { return value; }};
}

Parsed<std::string> parse_path(std::string_view text) {
    if (text.size() > 4000 || text.find('\0') != text.npos) return std::unexpected("a folder");
    return std::string(text);
}

Parsed<std::string> parse_interface(std::string_view text) {
    const auto allowed = [](char c) { return c > ' ' && c != '/' && c < 127; };
    if (text.size() > 15 || !std::ranges::all_of(text, allowed)) return std::unexpected("an interface like eth0");
    return std::string(text);
}

Kind<double> phi() {
    return {[](std::string_view text) -> Parsed<double> {
                auto value = parse_number(text);
                if (!value || *value <= 0 || *value >= 1000) return std::unexpected("a number above 0 and below 1000");
                return value;
            },
            show_number};
}

Kind<std::size_t> mtu() {
    const auto bytes = size_between(576, 65535);
    return {[=](std::string_view text) -> Parsed<std::size_t> {
                if (text == "auto") return 0;
                const auto value = bytes.parse(text);
                if (!value) return std::unexpected("auto or 576 to 65535 bytes");
                return value;
            },
            [=](const std::size_t& value) { return value == 0 ? std::string("auto") : fmt::format("{}", value); }};
}

Kind<PartitionPolicy> partition() {
    return {[](std::string_view text) -> Parsed<PartitionPolicy> {
                if (text == "primary") return PartitionPolicy::kPrimary;
                if (text == "available")
                    return std::unexpected("primary ('available' is reserved for a later version)");
                return std::unexpected("primary");
            },
            [](const PartitionPolicy&) { return std::string("primary"); }};
}

constexpr std::array kTransports{Word{"auto", Transport::kAuto}, Word{"multicast", Transport::kMulticast},
                                 Word{"tcp", Transport::kTcp}};
constexpr std::array kFsyncPolicies{Word{"group", FsyncPolicy::kGroup}, Word{"interval", FsyncPolicy::kInterval},
                                    Word{"never", FsyncPolicy::kNever}};
constexpr std::array kTimestampPolicies{Word{"accept", TimestampPolicy::kAccept}, Word{"flag", TimestampPolicy::kFlag},
                                        Word{"refuse", TimestampPolicy::kRefuse}};
constexpr std::array kIdentityPolicies{Word{"machine", IdentityPolicy::kMachine},
                                       Word{"volume", IdentityPolicy::kVolume}};
constexpr std::array kLogLevels{Word{"trace", spdlog::level::trace}, Word{"debug", spdlog::level::debug},
                                Word{"info", spdlog::level::info},   Word{"warn", spdlog::level::warn},
                                Word{"error", spdlog::level::err},   Word{"off", spdlog::level::off}};

struct Names {
    // Without initializers the compiler wants every field at each use.
    // NOLINTBEGIN(readability-redundant-member-init)
    std::string_view key;
    std::string_view environment{};
    std::string_view flag{};
    std::string_view placeholder{};
    std::string_view help{};
    std::string_view default_text{};
    bool list{};
    // NOLINTEND(readability-redundant-member-init)
};

// `field` takes a Config, const or not, to the member that the setting lives in.
template <class T, class Field>
Setting setting(const Names& names, Field field, const Kind<T>& kind) {
    return {.key = names.key,
            .environment = names.environment,
            .flag = names.flag,
            .placeholder = names.placeholder,
            .help = names.help,
            .default_text = names.default_text,
            .list = names.list,
            .words = kind.words,
            .parse = [=](Config& config, std::string_view text) -> std::expected<void, std::string> {
                auto value = kind.parse(text);
                if (!value) return std::unexpected(std::move(value.error()));
                field(config) = std::move(*value);
                return {};
            },
            .show = [=](const Config& config) { return kind.show(field(config)); }};
}

#define LS_FIELD(member) ([](auto& config) -> auto& { return config.member; })

std::vector<Setting> make_settings() {
    const Kind<bool> boolean{parse_bool, [](const bool& value) { return std::string(value ? "true" : "false"); }};
    const Kind<std::string> name{parse_name, [](const std::string& value) { return value; }};
    const Kind<std::uint16_t> port{parse_port, [](const std::uint16_t& value) { return fmt::format("{}", value); }};

    return {
        setting<HostPort>({"node.address", "NODE_ADDRESS", "--address", "IP:PORT|PORT",
                           "where brokers and clients reach this broker; [IP]:PORT with IPv6, or a name in place of IP",
                           "first non-loopback interface, port 8001"},
                          LS_FIELD(node.address), {parse_node_address, show_node_address}),
        setting<env::Endpoint>({"replication.multicast", "MULTICAST_GROUP", "--multicast", "GROUP:PORT",
                                "multicast group for replication, of the same IP family as the address",
                                "239.0.0.1:9999, or [ff02::ef00:1]:9999"},
                               LS_FIELD(replication.multicast), {parse_multicast, show_multicast}),
        setting({"discovery.broadcast_port", "BROADCAST_PORT", "--broadcast-port", "PORT", "UDP port for discovery"},
                LS_FIELD(discovery.broadcast_port), port),
        setting({"node.interface", "NODE_INTERFACE", "--interface", "NAME", "network interface", "the address's own"},
                LS_FIELD(node.interface), or_empty(parse_interface)),
        setting<std::vector<HostPort>>({"discovery.seeds", "SEEDS", "--seeds", "HOST:PORT,...",
                                        "brokers to ask by TCP, for networks without broadcast", "none", true},
                                       LS_FIELD(discovery.seeds), {parse_seeds, show_seeds}),
        setting({"storage.dir", "DATA_DIR", "--data", "DIR", "data folder", "./data/<name given>, else ./data/<port>"},
                LS_FIELD(storage.dir), or_empty(parse_path)),
        setting({"node.name", "NODE_NAME", "--name", "NAME", "display name of this broker", "<host name>-<port>"},
                LS_FIELD(node.name), or_empty(parse_name)),
        setting({"cluster.name", "CLUSTER_NAME", "--cluster", "NAME",
                 "brokers with the same cluster name form one cluster"},
                LS_FIELD(cluster.name), name),
        setting<HttpAddress>({"admin.http", "HTTP_ADDRESS", "--http", "IP:PORT|off", "admin pages and metrics",
                              "the node's IP, its port + 1000"},
                             LS_FIELD(admin.http), {parse_http, show_http}),
        setting({"log.level", "LOG_LEVEL", "--log-level", "LEVEL", "trace, debug, info, warn, error or off"},
                LS_FIELD(log.level), one_of(kLogLevels)),
        setting({"log.file", "", "--log-file", "", "also log to <data folder>/logstream.log, rotated"},
                LS_FIELD(log.file), boolean),

        setting({"cluster.expect"}, LS_FIELD(cluster.expect), count_between(1u, kMaxMembers)),
        setting({"cluster.partition"}, LS_FIELD(cluster.partition), partition()),
        setting({"failure.heartbeat"}, LS_FIELD(failure.heartbeat), duration_between(10ms, 10s)),
        setting({"failure.phi_suspect"}, LS_FIELD(failure.phi_suspect), phi()),
        setting({"failure.phi_fail"}, LS_FIELD(failure.phi_fail), phi()),
        setting({"failure.timeout"}, LS_FIELD(failure.timeout), duration_between(100ms, 1h)),
        setting({"replication.transport"}, LS_FIELD(replication.transport), one_of(kTransports)),
        setting({"replication.window"}, LS_FIELD(replication.window_bytes), size_between(64 * kKiB, kGiB)),
        setting({"replication.mtu"}, LS_FIELD(replication.mtu_bytes), mtu()),
        setting({"replication.slow_member_timeout"}, LS_FIELD(replication.slow_member_timeout),
                duration_between(100ms, 1h)),
        setting({"replication.min_in_sync"}, LS_FIELD(replication.min_in_sync), count_between(1u, kMaxMembers)),
        setting({"discovery.timeout"}, LS_FIELD(discovery.timeout), duration_between(50ms, 5min)),
        setting({"storage.identity"}, LS_FIELD(storage.identity), one_of(kIdentityPolicies)),
        setting({"storage.fsync"}, LS_FIELD(storage.fsync), one_of(kFsyncPolicies)),
        setting({"storage.fsync_interval"}, LS_FIELD(storage.fsync_interval), duration_between(1ms, 1h)),
        setting({"storage.segment_bytes"}, LS_FIELD(storage.segment_bytes), size_between(64 * kKiB, kGiB)),
        setting({"storage.page_cache_bytes"}, LS_FIELD(storage.page_cache_bytes),
                or_word<std::uint64_t>("unlimited", size_between(0, 64 * kGiB))),
        setting({"storage.retention.time"}, LS_FIELD(storage.retention.time),
                or_word<std::chrono::milliseconds>("unlimited", duration_between(1s, 24h * 36500))),
        setting({"storage.retention.bytes"}, LS_FIELD(storage.retention.bytes),
                or_word<std::uint64_t>("unlimited", size_between(1, kGiB * kGiB))),
        setting({"topics.auto_create"}, LS_FIELD(topics.auto_create), boolean),
        setting({"topics.partitions"}, LS_FIELD(topics.partitions), count_between(1u, 10'000u)),
        setting({"topics.timestamp_policy"}, LS_FIELD(topics.timestamp_policy), one_of(kTimestampPolicies)),
        setting({"topics.timestamp_range"}, LS_FIELD(topics.timestamp_range), duration_between(1s, 24h * 36500)),
        setting({"groups.retention"}, LS_FIELD(groups.retention),
                or_word<std::chrono::milliseconds>("unlimited", duration_between(1s, 24h * 36500))),
        setting({"limits.connections"}, LS_FIELD(limits.connections), count_between<std::size_t>(1, 100'000)),
        setting({"limits.record_bytes"}, LS_FIELD(limits.record_bytes), size_between(kKiB, 64 * kMiB)),
        setting({"limits.batch_bytes"}, LS_FIELD(limits.batch_bytes), size_between(2 * kKiB, 64 * kMiB)),
        setting({"limits.streams"}, LS_FIELD(limits.streams), count_between<std::size_t>(1, 1'000'000)),
        setting({"limits.groups"}, LS_FIELD(limits.groups), count_between<std::size_t>(1, 1'000'000)),
        setting({"limits.producers"}, LS_FIELD(limits.producers), count_between<std::size_t>(1, 1'000'000)),
        setting({"limits.pending_bytes"}, LS_FIELD(limits.pending_bytes), size_between(64 * kKiB, 64 * kGiB)),
        setting({"limits.cache_bytes"}, LS_FIELD(limits.cache_bytes), size_between(0, kGiB * kKiB)),
        setting({"limits.disk_reserve_bytes"}, LS_FIELD(limits.disk_reserve_bytes), size_between(0, kGiB * kKiB)),
    };
}

#undef LS_FIELD

std::uint16_t port_of(const env::Endpoint& group) { return group.port == 0 ? kMulticastV4.port : group.port; }

std::vector<Rule> make_rules() {
    return {
        {{"failure.phi_suspect", "failure.phi_fail"},
         [](const Config& c) { return c.failure.phi_suspect <= c.failure.phi_fail; },
         "phi_suspect to be at most phi_fail"},
        {{"failure.heartbeat", "failure.timeout"},
         [](const Config& c) { return c.failure.heartbeat < c.failure.timeout; },
         "the timeout to be longer than the heartbeat (many times longer on a lossy network)"},
        {{"failure.heartbeat", "replication.slow_member_timeout"},
         [](const Config& c) { return c.failure.heartbeat < c.replication.slow_member_timeout; },
         "slow_member_timeout to be longer than the heartbeat"},
        {{"storage.segment_bytes", "limits.batch_bytes"},
         [](const Config& c) { return c.storage.segment_bytes >= c.limits.batch_bytes; },
         "a segment to hold at least one batch"},
        {{"limits.batch_bytes", "limits.record_bytes"},
         [](const Config& c) { return c.limits.batch_bytes >= c.limits.record_bytes + kBatchOverheadBytes; },
         "a batch to hold at least one record and 128 bytes of headers"},
        {{"limits.pending_bytes", "limits.batch_bytes"},
         [](const Config& c) { return c.limits.pending_bytes >= c.limits.batch_bytes; },
         "pending_bytes to allow at least one batch"},
        // An expectation of 1 is none: brokers may join later.
        {{"replication.min_in_sync", "cluster.expect"},
         [](const Config& c) { return c.cluster.expect == 1 || c.replication.min_in_sync <= c.cluster.expect; },
         "min_in_sync to be at most the number of brokers that the cluster starts with"},
        {{"limits.streams", "topics.partitions"},
         [](const Config& c) { return c.topics.partitions <= c.limits.streams; },
         "limits.streams to allow at least one topic"},
        {{"discovery.broadcast_port", "node.address"},
         [](const Config& c) { return c.discovery.broadcast_port != c.node.address.port; },
         "two different ports (both are used for UDP)"},
        {{"discovery.broadcast_port", "replication.multicast"},
         [](const Config& c) { return c.discovery.broadcast_port != port_of(c.replication.multicast); },
         "two different ports (both are used for UDP)"},
        {{"admin.http", "node.address"},
         [](const Config& c) {
             const auto& http = c.admin.http;
             const auto own = address_in(c.node.address.host);
             return http.mode != HttpAddress::Mode::kAt || http.at.port != c.node.address.port ||
                    (!http.at.ip.is_unspecified() && own && http.at.ip != *own);
         },
         "two different ports"},
        {{"replication.multicast", "node.address"},
         [](const Config& c) {
             const auto own = address_in(c.node.address.host);
             return c.replication.multicast.port == 0 || !own || own->is_v4() == c.replication.multicast.ip.is_v4();
         },
         "both IPv4 or both IPv6"},
        {{"discovery.seeds", "node.address"},
         [](const Config& c) {
             const auto own = address_in(c.node.address.host);
             return !own || std::ranges::none_of(c.discovery.seeds, [&](const HostPort& seed) {
                 const auto ip = address_in(seed.host);
                 return ip && ip->is_v4() != own->is_v4();
             });
         },
         "seeds of the same family as the address, all IPv4 or all IPv6, or names that resolve to such addresses"},
        {{"discovery.seeds", "replication.multicast"},
         [](const Config& c) {
             std::optional<bool> v4;
             if (c.replication.multicast.port != 0) v4 = c.replication.multicast.ip.is_v4();
             return std::ranges::all_of(c.discovery.seeds, [&](const HostPort& seed) {
                 const auto ip = address_in(seed.host);
                 if (!ip) return true;
                 if (!v4) v4 = ip->is_v4();
                 return *v4 == ip->is_v4();
             });
         },
         "seeds and group of the same family, all IPv4 or all IPv6"},
        {{"node.address", "admin.http"},
         [](const Config& c) {
             return c.admin.http.mode != HttpAddress::Mode::kDefault || c.node.address.port <= 64535;
         },
         "a port up to 64535 or an explicit admin.http (its default is the port + 1000)"},
    };
}

}  // namespace

std::span<const Setting> settings() {
    static const std::vector<Setting> table = make_settings();
    return table;
}

const Setting* find_setting(std::string_view key) {
    const auto all = settings();
    const auto found = std::ranges::find(all, key, &Setting::key);
    return found == all.end() ? nullptr : &*found;
}

std::span<const Rule> rules() {
    static const std::vector<Rule> table = make_rules();
    return table;
}

std::string_view to_string(FsyncPolicy policy) {
    return std::ranges::find(kFsyncPolicies, policy, &Word<FsyncPolicy>::value)->text;
}
std::string_view to_string(Transport transport) {
    return std::ranges::find(kTransports, transport, &Word<Transport>::value)->text;
}

}  // namespace logstream::config
