// The broker: parse, configure, run.
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <future>
#include <utility>

#include "internal/admin/http_server.h"
#include "internal/boot/own_address.h"
#include "internal/boot/seeds.h"
#include "internal/config/config.h"
#include "internal/config/data_folder.h"
#include "internal/config/setting.h"
#include "internal/net/loop.h"
#include "internal/net/machine.h"
#include "internal/net/uv_env.h"
#include "internal/node/node.h"
#include "internal/process/console_log.h"
#include "internal/process/log_file.h"
#include "internal/process/priority.h"
#include "internal/process/standard_streams.h"
#include "internal/process/supervisor.h"
#include "internal/storage/posix_disk.h"
#include "internal/storage/store.h"

namespace {

using namespace logstream;

// One of the tests runs this broker beside one of the next version.
#ifdef LOGSTREAM_NEXT_VERSION
constexpr std::uint32_t kVersion = protocol::kProtocolVersion + 1;
#else
constexpr std::uint32_t kVersion = protocol::kProtocolVersion;
#endif
constexpr std::size_t kLogFileBytes = 32u << 20;
constexpr std::size_t kLogFiles = 5;
constexpr std::size_t kOtherDescriptors = 128;  // sockets, peers, log files

std::string host_name() {
    std::array<char, 256> name{};
    return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : "node";
}

int failed(const protocol::Error& error) {
    std::fprintf(stderr, "logstream: %s\n", error.message.c_str());
    return 1;
}

struct Log {
    std::shared_ptr<spdlog::logger> logger;
    std::shared_ptr<process::LogFile> file;  // null without log.file
};

protocol::Result<Log> make_log(const config::Config& config) {
    Log log;
    std::vector<spdlog::sink_ptr> sinks{std::make_shared<process::ConsoleLog>(stderr)};
    if (config.log.file) {
        auto file = process::LogFile::open(config.storage.dir + "/logstream.log", kLogFileBytes, kLogFiles);
        if (!file) return std::unexpected(file.error());
        log.file = *file;
        sinks.push_back(*file);
    }
    log.logger = std::make_shared<spdlog::logger>("logstream", sinks.begin(), sinks.end());
    log.logger->set_level(config.log.level);
    log.logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%L%$ %v");
    log.logger->flush_on(spdlog::level::info);
    return log;
}

// Reads the configuration as the start did.
using ReadConfig = std::function<std::expected<config::Start, config::Stop>()>;

// SIGHUP: opens the log file anew, and takes over what a running broker can of a configuration that was changed.
void reload(const Log& log, config::Config& given, const ReadConfig& read) {
    if (log.file)
        if (auto reopened = log.file->reopen(); !reopened) log.logger->error("LOG {}", reopened.error().message);
    const auto again = read();
    if (!again) {
        std::string why = again.error().text;
        why.resize(why.find('\n'));
        return log.logger->error("CONFIG is unchanged: {}", why);
    }
    log.logger->set_level(again->config.log.level);
    given.log.level = again->config.log.level;
    log.logger->info("CONFIG reloaded: log.level={}", config::find_setting("log.level")->show(given));
    for (const std::string_view key : config::changed_settings(given, again->config))
        log.logger->warn("CONFIG {} was changed: takes effect when this broker is restarted", key);
}

net::NetOptions net_options(const config::Config& config, const env::Endpoint& own) {
    net::NetOptions out;
    out.cluster = config.cluster.name;
    out.listen = own;
    out.interface = config.node.interface;
    out.broadcast_port = config.discovery.broadcast_port;
    out.listen_broadcast = true;
    if (config.replication.transport != config::Transport::kTcp) out.multicast = config.replication.multicast;
    out.mtu_bytes = config.replication.mtu_bytes;
    out.multicast_buffer_bytes = 2 * config.replication.window_bytes;
    out.max_connections = config.limits.connections;
    return out;
}

storage::StoreOptions store_options(const config::Config& config) {
    storage::StoreOptions out;
    out.dir = config.storage.dir;
    out.known_format = kVersion;
    out.fsync = config.storage.fsync;
    out.fsync_interval = config.storage.fsync_interval;
    out.segment_bytes = config.storage.segment_bytes;
    out.cache_bytes = config.limits.cache_bytes;
    out.reserve_bytes = config.limits.disk_reserve_bytes;
    out.max_producers = config.limits.producers;
    return out;
}

node::Settings node_settings(const config::Config& config, const env::Endpoint& own) {
    node::Settings out;
    out.protocol_version = kVersion;
    out.cluster = config.cluster.name;
    out.name = config.node.name;
    out.address = {own.ip, own.port};
    out.data_dir = config.storage.dir;
    out.fsync = config::to_string(config.storage.fsync);
    out.loses_unflushed = config.storage.fsync != config::FsyncPolicy::kGroup;
    out.identity = config.storage.identity;
    out.machine = net::this_machine();
    out.expect = config.cluster.expect;
    out.discovery_timeout = config.discovery.timeout;
    out.heartbeat = config.failure.heartbeat;
    out.phi_suspect = config.failure.phi_suspect;
    out.phi_fail = config.failure.phi_fail;
    out.failure_timeout = config.failure.timeout;
    out.transport = config.replication.transport;
    out.window_bytes = config.replication.window_bytes;
    out.slow_member_timeout = config.replication.slow_member_timeout;
    out.min_in_sync = config.replication.min_in_sync;
    out.auto_create = config.topics.auto_create;
    out.topic_defaults.set_partitions(config.topics.partitions);
    out.timestamp_policy = config.topics.timestamp_policy;
    out.timestamp_range = std::chrono::duration_cast<std::chrono::milliseconds>(config.topics.timestamp_range);
    out.record_bytes = config.limits.record_bytes;
    out.batch_bytes = config.limits.batch_bytes;
    out.max_streams = config.limits.streams;
    out.max_groups = config.limits.groups;
    out.group_retention = config.groups.retention;
    out.max_pending_bytes = config.limits.pending_bytes;
    if (config.storage.retention.time) out.retention_ms = config.storage.retention.time->count();
    if (config.storage.retention.bytes)
        out.retention_bytes = static_cast<std::int64_t>(*config.storage.retention.bytes);
    if (config.admin.http.mode == config::HttpAddress::Mode::kAt) {
        out.http_port = config.admin.http.at.port;
        out.page = fmt::format("http://{}/", env::to_string(config.admin.http.at));
    }
    return out;
}

// Shells usually set a soft limit of 1,024 descriptors, which a program may raise. Returns how many files the disk may
// keep open for writing.
std::size_t raise_descriptor_limit(const config::Config& config, spdlog::logger& logger) {
    using storage::PosixDisk;
    const rlim_t others =
        config.limits.connections + PosixDisk::kReadHandles + PosixDisk::kHeldFiles + kOtherDescriptors;
    const rlim_t needed = others + PosixDisk::kLeastWriteHandles;
    const rlim_t wanted = others + PosixDisk::kMostWriteHandles;
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return PosixDisk::kLeastWriteHandles;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = std::min(wanted, limit.rlim_max);
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < needed)
        logger.warn(
            "LIMIT of {} open files is too low for limits.connections: {}; allow {} (ulimit -Hn), or lower the setting",
            limit.rlim_cur, config.limits.connections, needed);
    return std::clamp(limit.rlim_cur, others + PosixDisk::kFewWriteHandles, wanted) - others;
}

// As the C library reads it.
std::string host_of(const env::Endpoint& at) {
    return at.scope == 0 ? env::to_string(at.ip) : fmt::format("{}%{}", env::to_string(at.ip), at.scope);
}

// Runs `make` on the loop and waits for what it gives; empty when the loop is too busy to answer.
std::string ask_loop(net::Loop& loop, std::function<std::string()> make) {
    auto promise = std::make_shared<std::promise<std::string>>();
    std::future<std::string> answer = promise->get_future();
    loop.post([promise, make = std::move(make)] { promise->set_value(make()); });
    return answer.wait_for(std::chrono::seconds(1)) == std::future_status::ready ? answer.get() : std::string();
}

// One line for `systemctl status`.
std::string state_of(const node::Node& node) {
    if (const auto refused = node.refusal()) return refused->message;
    return fmt::format("view {}: {}, {} of {} members in reach", node.current_view()->number,
                       node.is_leader() ? "leader" : "follower", node.watch().in_reach(),
                       node.current_view()->members.size());
}

int run(config::Config config, const config::Declared& declared, const std::vector<std::string>& warnings,
        const ReadConfig& read) {
    config::Config given = config;
    if (auto completed = config::complete(config, host_name(), config::data_folders(std::string(config::kDataParent)));
        !completed)
        return failed(completed.error());

    std::error_code error;
    std::filesystem::create_directories(config.storage.dir, error);
    if (error)
        return failed({protocol::ErrorCode::kDisk,
                       fmt::format("the data folder {} cannot be created: {}; choose another with --data",
                                   config.storage.dir, error.message())});
    const auto log = make_log(config);
    if (!log) return failed(log.error());
    const std::shared_ptr<spdlog::logger>& logger = log->logger;
    for (const std::string& warning : warnings) logger->warn("{}", warning);
    const std::size_t write_handles = raise_descriptor_limit(config, *logger);

    if (process::take_precedence() == process::Precedence::kNotPermitted)
        logger->info(
            "the CPU priority is unchanged (nice -10 is not permitted): next to programs that use all CPU time, this "
            "broker may respond late and be declared dead");
    net::Loop loop;
    loop.on_signal(SIGHUP, [&](int) { reload(*log, given, read); });
    bool given_up = false;
    for (const int signal : {SIGTERM, SIGINT}) loop.on_signal(signal, [&](int) { given_up = true; });
    process::Supervisor supervisor;
    const auto own = boot::find_own_address(loop, config, *logger, [&] {
        supervisor.still_starting();
        return given_up;
    });
    if (!own) return failed(own.error());
    if (!*own) return 0;
    config::take_address(config, (*own)->at);

    storage::PosixDisk disk([&loop](std::move_only_function<void()> task) { loop.post(std::move(task)); },
                            config.storage.page_cache_bytes.value_or(storage::WrittenPages::kUnlimited), write_handles);
    auto store = storage::Store::open(disk, store_options(config), *logger);
    if (!store) return failed(store.error());
    auto env = net::UvEnv::open(loop, net_options(config, (*own)->at), logger);
    if (!env) return failed(env.error());
    node::Settings settings = node_settings(config, (*own)->at);
    boot::Seeds seeds(loop, **env, config, **own);
    settings.seeds = seeds.first();
    settings.seeds_pending = seeds.pending();
    if (given_up) return 0;
    settings.moved = declared.moved;
    settings.new_identity = declared.new_identity;

    int exit_code = 0;
    node::Node node(**env, **store, std::move(settings), [&](const protocol::Error& fatal) {
        logger->critical("FATAL {}", fatal.message);
        exit_code = 1;
        loop.stop();
    });
    seeds.follow([&node](std::vector<env::Endpoint> changed) { node.set_seeds(std::move(changed)); });
    (*env)->on_accept([&node](env::ConnectionId, env::Endpoint) { return node.on_accept(); });
    (*env)->on_frame([&node](const env::ReceivedFrame& frame) { node.on_frame(frame); });

    std::unique_ptr<admin::HttpServer> http;
    if (config.admin.http.mode == config::HttpAddress::Mode::kAt) {
        auto started = admin::HttpServer::start(
            host_of(config.admin.http.at), config.admin.http.at.port, [&](admin::HttpServer::Page page) {
                return ask_loop(loop, [&node, page] {
                    return page == admin::HttpServer::Page::kMetrics ? node.metrics_text() : node.status_json();
                });
            });
        if (!started) return failed(started.error());
        http = *std::move(started);
    }

    const auto leave = [&](int) {
        supervisor.stopping();
        node.leave([&loop] { loop.stop(); });
    };
    loop.on_signal(SIGTERM, leave);
    loop.on_signal(SIGINT, leave);
    node.start();
    (*env)->set_self(node.id());
    // The listeners are open. A broker may have to wait for others, for as long as it takes: that is a state, and no
    // start that hangs.
    supervisor.ready();
    supervisor.watch(**env, [&node] { return state_of(node); });
    loop.run();
    supervisor.stop_watching();
    http.reset();
    return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
    process::open_standard_streams();
    const ReadConfig read = [argc, argv] {
        return config::parse_command_line(argc, argv, config::process_environment(), LOGSTREAM_VERSION);
    };
    auto start = read();
    if (!start) {
        std::fputs(start.error().text.c_str(), start.error().exit_code == 0 ? stdout : stderr);
        return process::finish_output("logstream", start.error().exit_code);
    }
    return run(std::move(start->config), start->declared, start->warnings, read);
}
