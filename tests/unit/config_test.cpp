// Every setting takes effect from every source that it has, and the sources override each other in order.
#include "internal/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>

#include "internal/config/data_folder.h"
#include "internal/config/setting.h"
#include "internal/config/sources.h"
#include "internal/config/yaml_file.h"

namespace logstream::config {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

// A value of a setting that is not its default, and what it does to a fresh config.
struct Sample {
    std::string text;
    std::function<void(Config&)> effect;
};

const std::map<std::string_view, Sample>& samples() {
    static const std::map<std::string_view, Sample> all{
        {"node.address", {"10.1.2.3:8005", [](Config& c) { c.node.address = {"10.1.2.3", 8005}; }}},
        {"node.interface", {"eth7", [](Config& c) { c.node.interface = "eth7"; }}},
        {"node.name", {"n1", [](Config& c) { c.node.name = "n1"; }}},
        {"cluster.name", {"blue", [](Config& c) { c.cluster.name = "blue"; }}},
        {"cluster.expect", {"3", [](Config& c) { c.cluster.expect = 3; }}},
        {"cluster.partition", {"primary", [](Config& c) { c.cluster.partition = PartitionPolicy::kPrimary; }}},
        {"failure.heartbeat", {"50ms", [](Config& c) { c.failure.heartbeat = 50ms; }}},
        {"failure.phi_suspect", {"5.5", [](Config& c) { c.failure.phi_suspect = 5.5; }}},
        {"failure.phi_fail", {"12", [](Config& c) { c.failure.phi_fail = 12; }}},
        {"failure.timeout", {"20s", [](Config& c) { c.failure.timeout = 20s; }}},
        {"replication.multicast", {"239.1.2.3:7000", [](Config& c) { c.replication.multicast = {0xef010203, 7000}; }}},
        {"replication.transport", {"tcp", [](Config& c) { c.replication.transport = Transport::kTcp; }}},
        {"replication.window", {"1MiB", [](Config& c) { c.replication.window_bytes = 1 << 20; }}},
        {"replication.mtu", {"9000", [](Config& c) { c.replication.mtu_bytes = 9000; }}},
        {"replication.slow_member_timeout", {"9s", [](Config& c) { c.replication.slow_member_timeout = 9s; }}},
        {"replication.min_in_sync", {"2", [](Config& c) { c.replication.min_in_sync = 2; }}},
        {"discovery.broadcast_port", {"8889", [](Config& c) { c.discovery.broadcast_port = 8889; }}},
        {"discovery.seeds",
         {"10.0.0.1:8001,b-2.lan:8002",
          [](Config& c) { c.discovery.seeds = {{"10.0.0.1", 8001}, {"b-2.lan", 8002}}; }}},
        {"discovery.timeout", {"300ms", [](Config& c) { c.discovery.timeout = 300ms; }}},
        {"storage.dir", {"/var/lib/log stream", [](Config& c) { c.storage.dir = "/var/lib/log stream"; }}},
        {"storage.identity", {"volume", [](Config& c) { c.storage.identity = IdentityPolicy::kVolume; }}},
        {"storage.fsync", {"interval", [](Config& c) { c.storage.fsync = FsyncPolicy::kInterval; }}},
        {"storage.fsync_interval", {"250ms", [](Config& c) { c.storage.fsync_interval = 250ms; }}},
        {"storage.segment_bytes", {"16MiB", [](Config& c) { c.storage.segment_bytes = 16 << 20; }}},
        {"storage.page_cache_bytes", {"unlimited", [](Config& c) { c.storage.page_cache_bytes.reset(); }}},
        {"storage.retention.time", {"7d", [](Config& c) { c.storage.retention.time = 7 * 24h; }}},
        {"storage.retention.bytes", {"10GB", [](Config& c) { c.storage.retention.bytes = 10'000'000'000; }}},
        {"topics.auto_create", {"false", [](Config& c) { c.topics.auto_create = false; }}},
        {"topics.partitions", {"4", [](Config& c) { c.topics.partitions = 4; }}},
        {"topics.timestamp_policy",
         {"refuse", [](Config& c) { c.topics.timestamp_policy = TimestampPolicy::kRefuse; }}},
        {"topics.timestamp_range", {"2h", [](Config& c) { c.topics.timestamp_range = 2h; }}},
        {"limits.connections", {"20", [](Config& c) { c.limits.connections = 20; }}},
        {"limits.record_bytes", {"2MiB", [](Config& c) { c.limits.record_bytes = 2 << 20; }}},
        {"limits.batch_bytes", {"8MiB", [](Config& c) { c.limits.batch_bytes = 8 << 20; }}},
        {"limits.streams", {"500", [](Config& c) { c.limits.streams = 500; }}},
        {"groups.retention", {"12h", [](Config& c) { c.groups.retention = 12h; }}},
        {"limits.groups", {"30", [](Config& c) { c.limits.groups = 30; }}},
        {"limits.producers", {"40", [](Config& c) { c.limits.producers = 40; }}},
        {"limits.pending_bytes", {"32MiB", [](Config& c) { c.limits.pending_bytes = 32 << 20; }}},
        {"limits.cache_bytes", {"0", [](Config& c) { c.limits.cache_bytes = 0; }}},
        {"limits.disk_reserve_bytes", {"1GiB", [](Config& c) { c.limits.disk_reserve_bytes = 1 << 30; }}},
        {"admin.http",
         {"127.0.0.1:9999", [](Config& c) { c.admin.http = {HttpAddress::Mode::kAt, {0x7f000001, 9999}}; }}},
        {"log.level", {"debug", [](Config& c) { c.log.level = spdlog::level::debug; }}},
        {"log.file", {"true", [](Config& c) { c.log.file = true; }}},
    };
    return all;
}

Config with(std::string_view key) {
    Config config;
    samples().at(key).effect(config);
    return config;
}

// "a.b.c: v" as a nested map; the value is quoted, as YAML has its own ideas of some.
std::string yaml_of(std::string_view key, std::string_view text) {
    std::string yaml, indent;
    for (auto dot = key.find('.'); dot != key.npos; dot = key.find('.')) {
        yaml += indent + std::string(key.substr(0, dot)) + ":\n";
        indent += "  ";
        key.remove_prefix(dot + 1);
    }
    return yaml + indent + std::string(key) + ": '" + std::string(text) + "'\n";
}

std::expected<Start, Stop> start(const std::vector<std::string>& arguments, const Environment& environment = {}) {
    std::vector<const char*> argv{"logstream"};
    for (const auto& argument : arguments) argv.push_back(argument.c_str());
    return parse_command_line(static_cast<int>(argv.size()), argv.data(), environment, "1.2.3");
}

class EverySetting : public ::testing::TestWithParam<std::string_view> {
protected:
    const Setting& setting() const { return *find_setting(GetParam()); }
    const std::string& text() const { return samples().at(GetParam()).text; }
};

class SettingWithVariable : public EverySetting {};
class SettingWithFlag : public EverySetting {};

TEST_P(EverySetting, TakesEffectFromTheFile) {
    Sources sources;
    const auto done = sources.set_from_yaml(yaml_of(GetParam(), text()), "f.yaml");
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(sources.config(), with(GetParam()));
}

TEST_P(SettingWithVariable, TakesEffectFromIt) {
    const auto started = start({}, {{std::string(setting().environment), text()}});
    ASSERT_TRUE(started) << started.error().text;
    EXPECT_EQ(started->config, with(GetParam()));
    EXPECT_TRUE(started->warnings.empty());
}

TEST_P(SettingWithFlag, TakesEffectFromIt) {
    std::vector<std::string> arguments{std::string(setting().flag)};
    if (!setting().placeholder.empty()) arguments.push_back(text());
    const auto started = start(arguments);
    ASSERT_TRUE(started) << started.error().text;
    EXPECT_EQ(started->config, with(GetParam()));
}

TEST_P(EverySetting, TakesEffectFromSet) {
    const auto started = start({"--set", std::string(GetParam()) + "=" + text()});
    ASSERT_TRUE(started) << started.error().text;
    EXPECT_EQ(started->config, with(GetParam()));
}

TEST_P(EverySetting, ShowsWhatItReadsBack) {
    for (Config config : {Config{}, with(GetParam())}) {
        const Config before = config;
        const auto shown = setting().show(config);
        ASSERT_TRUE(setting().parse(config, shown)) << shown;
        EXPECT_EQ(config, before) << shown;
    }
}

TEST_P(EverySetting, RefusesNonsenseAndStaysAsItWas) {
    // What is free text takes nearly anything; only control characters are nonsense everywhere.
    const std::string nonsense = "\x01/ \x7f,:" + std::string(5000, 'x');
    Config config;
    EXPECT_FALSE(setting().parse(config, nonsense));
    EXPECT_EQ(config, Config{});
}

template <class Predicate>
auto keys_of(Predicate wanted) {
    std::vector<std::string_view> keys;
    for (const auto& setting : settings())
        if (wanted(setting)) keys.push_back(setting.key);
    return ::testing::ValuesIn(keys);
}

std::string test_name(const ::testing::TestParamInfo<std::string_view>& info) {
    std::string name(info.param);
    std::ranges::replace(name, '.', '_');
    return name;
}

INSTANTIATE_TEST_SUITE_P(Config, EverySetting, keys_of([](const Setting&) { return true; }), test_name);
INSTANTIATE_TEST_SUITE_P(Config, SettingWithVariable, keys_of([](const Setting& s) { return !s.environment.empty(); }),
                         test_name);
INSTANTIATE_TEST_SUITE_P(Config, SettingWithFlag, keys_of([](const Setting& s) { return !s.flag.empty(); }), test_name);

TEST(ConfigTable, HasASampleOfEachSettingAndNamesNoneTwice) {
    std::set<std::string_view> names;
    for (const auto& setting : settings()) {
        EXPECT_TRUE(samples().contains(setting.key)) << setting.key;
        for (const auto name : {setting.key, setting.environment, setting.flag})
            EXPECT_TRUE(name.empty() || names.insert(name).second) << name;
    }
    EXPECT_EQ(samples().size(), settings().size());
}

// The contract with the user: names that may never change.
TEST(ConfigTable, HasTheFlagsAndVariablesOfTheContract) {
    const std::map<std::string_view, std::pair<std::string_view, std::string_view>> contract{
        {"node.address", {"--address", "NODE_ADDRESS"}},
        {"replication.multicast", {"--multicast", "MULTICAST_GROUP"}},
        {"discovery.broadcast_port", {"--broadcast-port", "BROADCAST_PORT"}},
        {"node.interface", {"--interface", "NODE_INTERFACE"}},
        {"discovery.seeds", {"--seeds", "SEEDS"}},
        {"storage.dir", {"--data", "DATA_DIR"}},
        {"node.name", {"--name", "NODE_NAME"}},
        {"cluster.name", {"--cluster", "CLUSTER_NAME"}},
        {"admin.http", {"--http", "HTTP_ADDRESS"}},
        {"log.level", {"--log-level", "LOG_LEVEL"}},
        {"log.file", {"--log-file", ""}},
    };
    for (const auto& setting : settings()) {
        const auto found = contract.find(setting.key);
        EXPECT_EQ(setting.flag, found == contract.end() ? "" : found->second.first) << setting.key;
        EXPECT_EQ(setting.environment, found == contract.end() ? "" : found->second.second) << setting.key;
    }
}

class ConfigFile : public ::testing::Test {
protected:
    void TearDown() override { std::remove(path_.c_str()); }

    const std::string& write(std::string_view text) {
        std::ofstream(path_) << text;
        return path_;
    }

private:
    const std::string path_ = ::testing::TempDir() + "config_test_" +
                              ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".yaml";
};

TEST_F(ConfigFile, IsOverriddenByTheEnvironmentAndThatByFlags) {
    const auto path = write("cluster: {name: file}\nnode: {name: file}\nstorage: {dir: file}\n");
    const auto started =
        start({"--config", path, "--cluster", "flag"}, {{"CLUSTER_NAME", "env"}, {"NODE_NAME", "env"}});
    ASSERT_TRUE(started) << started.error().text;
    EXPECT_EQ(started->config.cluster.name, "flag");
    EXPECT_EQ(started->config.node.name, "env");
    EXPECT_EQ(started->config.storage.dir, "file");
}

TEST_F(ConfigFile, MakesARefusalNameFileAndLine) {
    const auto path = write("storage:\n  dir: /tmp\n  fsync: sometimes\n");
    const auto started = start({"--config", path});
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().exit_code, 1);
    EXPECT_EQ(started.error().text,
              "logstream: " + path + ":3: storage.fsync: expected one of group, interval, never, got 'sometimes'\n");
}

TEST_F(ConfigFile, ThatIsMissingOrAFolderIsRefused) {
    auto started = start({"--config", "/nowhere/x.yaml"});
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().exit_code, 1);
    EXPECT_EQ(started.error().text, "logstream: /nowhere/x.yaml: cannot be read: No such file or directory\n");
    started = start({"--config", ::testing::TempDir()});
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().text, HasSubstr("cannot be read: Is a directory"));
}

TEST_F(ConfigFile, LargerThanAConfigurationIsRefused) {
    const auto started = start({"--config", write(std::string((1 << 20) + 1, '#'))});
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().text, HasSubstr("at most 1 MiB"));
}

TEST(CommandLine, WithoutAnythingIsAllDefaults) {
    const auto started = start({});
    ASSERT_TRUE(started);
    EXPECT_EQ(started->config, Config{});
    EXPECT_TRUE(started->warnings.empty());
}

TEST(CommandLine, AnEmptyVariableCountsAsNotSet) {
    const auto started = start({}, {{"NODE_NAME", ""}, {"BROADCAST_PORT", ""}});
    ASSERT_TRUE(started);
    EXPECT_EQ(started->config, Config{});
}

TEST(CommandLine, TheLastOfARepeatedSettingWins) {
    const auto started =
        start({"--name", "a", "--set", "node.name=b", "--set=node.name=c", "--set", "cluster.name=d", "--cluster=e"});
    ASSERT_TRUE(started) << started.error().text;
    EXPECT_EQ(started->config.node.name, "c");
    EXPECT_EQ(started->config.cluster.name, "e");
}

TEST(CommandLine, TheAddressMayStandAlone) {
    const auto started = start({"8002", "--data", "x"});
    ASSERT_TRUE(started) << started.error().text;
    EXPECT_EQ(started->config.node.address, (HostPort{"", 8002}));
}

TEST(CommandLine, ABareFlagAndItsNegation) {
    EXPECT_TRUE(start({"--log-file"})->config.log.file);
    EXPECT_FALSE(start({})->declared.moved || start({})->declared.new_identity);
    EXPECT_TRUE(start({"--moved"})->declared.moved);
    EXPECT_TRUE(start({"--new-identity"})->declared.new_identity);
    EXPECT_FALSE(start({"--moved", "--new-identity"}));
    EXPECT_FALSE(start({"--set", "log.file=true", "--log-file=false"})->config.log.file);
}

TEST(CommandLine, HelpNamesEveryFlagAndVariableWithItsDefault) {
    const auto help = start({"--help"});
    ASSERT_FALSE(help);
    EXPECT_EQ(help.error().exit_code, 0);
    const Config defaults;
    for (const auto& setting : settings()) {
        if (setting.flag.empty()) continue;
        EXPECT_THAT(help.error().text, HasSubstr(std::string(setting.flag)));
        EXPECT_THAT(help.error().text, HasSubstr(std::string(setting.help)));
        if (setting.environment.empty()) continue;
        EXPECT_THAT(help.error().text, HasSubstr("$" + std::string(setting.environment)));
        const auto shown = setting.default_text.empty() ? setting.show(defaults) : std::string(setting.default_text);
        EXPECT_THAT(help.error().text, HasSubstr("[" + shown + "]"));
    }
    EXPECT_THAT(help.error().text, HasSubstr("Examples:"));
}

TEST(CommandLine, Version) {
    const auto version = start({"--version"});
    ASSERT_FALSE(version);
    EXPECT_EQ(version.error().exit_code, 0);
    EXPECT_EQ(version.error().text, "logstream 1.2.3\n");
}

TEST(CommandLine, AnEmptyValueIsWrongUsage) {
    for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{{"--config", ""},
                                                                                           {"--config="},
                                                                                           {"--data", ""},
                                                                                           {"--data=", "--name", "x"},
                                                                                           {"--name", ""},
                                                                                           {"--interface", ""},
                                                                                           {"--seeds", ""},
                                                                                           {"--http="},
                                                                                           {""},
                                                                                           {"--set", ""},
                                                                                           {"--set", "storage.dir="}}) {
        const auto started = start(arguments);
        ASSERT_FALSE(started) << arguments.front();
        EXPECT_EQ(started.error().exit_code, 2) << started.error().text;
    }
}

TEST(ChangedSettings, AreNamed) {
    Config after;
    EXPECT_TRUE(changed_settings(Config{}, after).empty());
    after.log.level = spdlog::level::debug;
    after.topics.partitions = 3;
    EXPECT_THAT(changed_settings(Config{}, after), ::testing::ElementsAre("log.level", "topics.partitions"));
}

TEST(Complete, FillsInWhatDependsOnTheMachine) {
    Config config;
    config.node.address = {"127.0.0.1", 8002};
    ASSERT_TRUE(complete(config, "my host", {}));
    EXPECT_EQ(config.node.name, "my-host-8002");
    EXPECT_EQ(config.storage.dir, "./data/8002");
}

TEST(TakeAddress, FillsInWhatFollowsFromIt) {
    Config v4;
    take_address(v4, {0x7f000001, 8002});
    EXPECT_EQ(v4.admin.http, (HttpAddress{HttpAddress::Mode::kAt, {0x7f000001, 9002}}));
    EXPECT_EQ(env::to_string(v4.replication.multicast), "239.0.0.1:9999");
    Config v6;
    take_address(v6, *env::parse_endpoint("[fe80::1%2]:8002"));
    EXPECT_EQ(env::to_string(v6.admin.http.at), "[fe80::1%2]:9002");
    EXPECT_EQ(env::to_string(v6.replication.multicast), "[ff02::ef00:1]:9999");
}

TEST(TakeAddress, LeavesWhatWasGiven) {
    Config config;
    config.admin.http.mode = HttpAddress::Mode::kOff;
    config.replication.multicast = {0xef000007, 7};
    const Config before = config;
    take_address(config, {0x7f000001, 8002});
    EXPECT_EQ(config, before);
}

TEST(Complete, KeepsTheDataOfABrokerWithANameUnderIt) {
    Config config;
    config.node.address = {"127.0.0.1", 8002};
    config.node.name = "n1";
    ASSERT_TRUE(complete(config, "host", {"8002", "host-8002"}));
    EXPECT_EQ(config.storage.dir, "./data/n1");
}

TEST(Complete, LeavesWhatWasGiven) {
    Config config;
    config.node.address = {"127.0.0.1", 8002};
    config.node.name = "n";
    config.storage.dir = "d";
    config.admin.http.mode = HttpAddress::Mode::kOff;
    const Config before = config;
    ASSERT_TRUE(complete(config, "host", {}));
    EXPECT_EQ(config, before);
}

// The host's name changes by itself (DHCP, a cloud, a container): the data stay where they are.
TEST(DataFolder, IsFoundWhateverTheHostIsCalledToday) {
    const std::vector<std::string> old{"db1-8001", "db1-8002", "n3"};
    EXPECT_EQ(*data_folder_of(8001, "db1-8001", {}), "8001");
    EXPECT_EQ(*data_folder_of(8001, "db1-8001", old), "db1-8001");
    EXPECT_EQ(*data_folder_of(8001, "other-8001", old), "db1-8001");
    EXPECT_EQ(*data_folder_of(8003, "other-8003", old), "8003");
    EXPECT_EQ(*data_folder_of(8001, "other-8001", {"8001", "db1-8001"}), "8001");
    EXPECT_EQ(*data_folder_of(8001, "a-8001", {"a-8001", "b-8001"}), "a-8001");
    const auto several = data_folder_of(8001, "c-8001", {"a-8001", "b-8001"});
    ASSERT_FALSE(several);
    EXPECT_THAT(several.error().message, HasSubstr("a-8001, b-8001"));
}

TEST(DataFolder, IsOneThatABrokerHasUsed) {
    const std::string parent = fmt::format("{}config_test_data_{}", ::testing::TempDir(), getpid());
    std::filesystem::create_directories(parent + "/db1-8001");
    std::filesystem::create_directories(parent + "/caf\xe9-8001");
    std::filesystem::create_directories(parent + "/other-8001");
    std::ofstream(parent + "/db1-8001/lock");
    std::ofstream(parent + "/caf\xe9-8001/lock");
    EXPECT_THAT(data_folders(parent), ::testing::ElementsAre("caf\xe9-8001", "db1-8001"));
    std::filesystem::remove_all(parent);
    EXPECT_TRUE(data_folders(parent).empty());
}

// deploy/logstream.yaml is what users start from: it names every setting once, explains it, and changes nothing.
class DeployedFile : public ::testing::Test {
protected:
    void SetUp() override {
        std::ifstream file(LOGSTREAM_SOURCE_DIR "/deploy/logstream.yaml");
        ASSERT_TRUE(file);
        for (std::string line; std::getline(file, line);) {
            text_ += line + "\n";
            lines_.push_back(line);
        }
    }
    std::string text_;
    std::vector<std::string> lines_;
};

TEST_F(DeployedFile, IsExactlyTheDefaults) {
    Sources sources;
    const auto done = sources.set_from_yaml(text_, "deploy/logstream.yaml");
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_TRUE(sources.check());
    EXPECT_EQ(sources.config(), Config{});
}

TEST_F(DeployedFile, NamesEverySettingOnceWithItsDefaultAsShown) {
    const auto entries = parse_yaml(text_, "deploy/logstream.yaml");
    ASSERT_TRUE(entries) << entries.error().message;
    std::map<std::string_view, std::string_view> found;
    for (const auto& entry : *entries) found.emplace(entry.key, entry.text);
    EXPECT_EQ(found.size(), settings().size());
    for (const auto& setting : settings()) {
        ASSERT_TRUE(found.contains(setting.key)) << setting.key;
        EXPECT_EQ(found.at(setting.key), setting.show(Config{})) << setting.key;
    }
}

TEST_F(DeployedFile, ExplainsEverySettingAndNamesItsOtherSources) {
    const auto entries = parse_yaml(text_, "deploy/logstream.yaml");
    ASSERT_TRUE(entries);
    for (const auto& entry : *entries) {
        std::string comment;
        for (int above = entry.line - 2; above >= 0; --above) {
            const auto& line = lines_[static_cast<std::size_t>(above)];
            const auto start = line.find_first_not_of(' ');
            // phi_fail shares the comment of phi_suspect, right above it.
            if (start == line.npos || (line[start] != '#' && !line.contains("phi_suspect"))) break;
            comment.insert(0, line);
        }
        EXPECT_THAT(comment, HasSubstr("#")) << entry.key;
        const Setting& setting = *find_setting(entry.key);
        EXPECT_THAT(comment, HasSubstr(std::string(setting.environment))) << entry.key;
        EXPECT_THAT(comment, HasSubstr(std::string(setting.flag))) << entry.key;
    }
}

}  // namespace
}  // namespace logstream::config
