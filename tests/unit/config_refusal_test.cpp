// What is misspelt, out of range or can't go together is refused, with where it stands and what was expected.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "internal/config/config.h"
#include "internal/config/nearest.h"
#include "internal/config/setting.h"
#include "internal/config/sources.h"

namespace logstream::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string refusal_of_yaml(std::string_view yaml) {
    Sources sources;
    auto done = sources.set_from_yaml(yaml, "f.yaml");
    if (done) done = sources.check();
    return done ? "accepted" : done.error().message;
}

Stop stop_of(const std::vector<std::string>& arguments, const Environment& environment = {}) {
    std::vector<const char*> argv{"logstream"};
    for (const auto& argument : arguments) argv.push_back(argument.c_str());
    auto started = parse_command_line(static_cast<int>(argv.size()), argv.data(), environment, "0");
    return started ? Stop{-1, "accepted"} : started.error();
}

struct Case {
    std::string_view yaml;
    std::string_view message;
};

// ctest's list of tests does not stand brackets; the comparison shows the message, which names the setting.
void PrintTo(const Case& tried, std::ostream* out) { *out << tried.yaml.size() << " bytes of YAML"; }

class RefusedFile : public ::testing::TestWithParam<Case> {};

TEST_P(RefusedFile, SaysWhereAndWhatWasExpected) { EXPECT_EQ(refusal_of_yaml(GetParam().yaml), GetParam().message); }

INSTANTIATE_TEST_SUITE_P(
    Config, RefusedFile,
    ::testing::Values(
        // Misspelt or misplaced.
        Case{"storage:\n  fsnyc: never", "f.yaml:2: unknown key 'storage.fsnyc'; did you mean 'storage.fsync'?"},
        Case{"node:\n  name: a\nsotrage:\n  dir: x", "f.yaml:3: unknown key 'sotrage'; did you mean 'storage'?"},
        Case{"failure:\n  min_in_sync: 2",
             "f.yaml:2: unknown key 'failure.min_in_sync'; did you mean 'replication.min_in_sync'?"},
        Case{"colour: red", "f.yaml:1: unknown key 'colour'"},
        Case{"storage:\n  retention: 7d",
             "f.yaml:2: storage.retention: expected settings under it (time, bytes), got a value"},
        Case{"topics: 3",
             "f.yaml:1: topics: expected settings under it (auto_create, partitions, timestamp_policy, "
             "timestamp_range), got a value"},
        Case{"node:\n  name: {a: b}", "f.yaml:2: node.name: expected one value, got a list or map"},
        Case{"node:\n  name: [a, b]", "f.yaml:2: node.name: expected one value, got a list or map"},
        Case{"discovery:\n  seeds: [[a]]", "f.yaml:2: discovery.seeds: expected a list of plain values"},
        Case{"node: {name: a}\ncluster: {name: b}\nnode: {name: c}",
             "f.yaml:3: node.name is given twice; first on line 1"},
        Case{"[1, 2]: x", "f.yaml:1: expected a setting's name, got a list or map"},
        // Not a configuration at all.
        Case{"- a\n- b", "f.yaml:1: expected settings like 'storage:' with 'dir: …' under it"},
        Case{"node: {name: a}\n---\nnode: {name: b}", "f.yaml:2: expected a single YAML document, got more"},
        Case{",", "f.yaml:1: expected a single YAML document, got more"},
        Case{"node:\n  name: [a", "f.yaml:2: not valid YAML: end of sequence flow not found"},
        // Bad values.
        Case{"node:\n  address: localhost",
             "f.yaml:2: node.address: expected IP:PORT or PORT, like 10.0.0.1:8001 or 8001 (IPv6: [fd00::1]:8001; or "
             "a name of this machine instead of IP), got 'localhost'"},
        Case{"node:\n  address: 10.0.0.1:0",
             "f.yaml:2: node.address: expected IP:PORT or PORT, like 10.0.0.1:8001 or 8001 (IPv6: [fd00::1]:8001; or "
             "a name of this machine instead of IP), got '10.0.0.1:0'"},
        Case{"node:\n  address: 70000",
             "f.yaml:2: node.address: expected IP:PORT or PORT, like 10.0.0.1:8001 or 8001 (IPv6: [fd00::1]:8001; or "
             "a name of this machine instead of IP), got '70000'"},
        Case{"node:\n  address: fd00::1:8001",
             "f.yaml:2: node.address: expected an IPv6 address in brackets, like [fd00::1]:8001, got 'fd00::1:8001'"},
        Case{"node:\n  address: '[::]:8001'",
             "f.yaml:2: node.address: expected an address of this machine that others can connect to, like "
             "10.0.0.1:8001 (PORT alone selects the first non-loopback interface), got '[::]:8001'"},
        Case{"node:\n  address: 0.0.0.0:8001",
             "f.yaml:2: node.address: expected an address of this machine that others can connect to, like "
             "10.0.0.1:8001 "
             "(PORT alone selects the first non-loopback interface), got '0.0.0.0:8001'"},
        Case{"node:\n  interface: a/b", "f.yaml:2: node.interface: expected an interface like eth0, got 'a/b'"},
        Case{"node:\n  name: ../x",
             "f.yaml:2: node.name: expected a name of 1 to 100 of a-z A-Z 0-9 . _ - (but not \".\" or \"..\"), got "
             "'../x'"},
        Case{"cluster:\n  name:",
             "f.yaml:2: cluster.name: expected a name of 1 to 100 of a-z A-Z 0-9 . _ - (but not \".\" or \"..\"), got "
             "''"},
        Case{"cluster:\n  expect: 0", "f.yaml:2: cluster.expect: expected a whole number from 1 to 32, got '0'"},
        Case{"cluster:\n  partition: available",
             "f.yaml:2: cluster.partition: expected primary ('available' is reserved for a later version), got "
             "'available'"},
        Case{"cluster:\n  partition: both", "f.yaml:2: cluster.partition: expected primary, got 'both'"},
        Case{"failure:\n  heartbeat: 100",
             "f.yaml:2: failure.heartbeat: expected a whole number with its unit, like 100ms, 15s, 5m, 2h or 7d, got "
             "'100'"},
        Case{"failure:\n  heartbeat: 1ms", "f.yaml:2: failure.heartbeat: expected 10ms to 10s, got '1ms'"},
        Case{"failure:\n  timeout: 2h", "f.yaml:2: failure.timeout: expected 100ms to 1h, got '2h'"},
        Case{"failure:\n  phi_fail: -1",
             "f.yaml:2: failure.phi_fail: expected a number above 0 and below 1000, got '-1'"},
        Case{"failure:\n  phi_suspect: nan",
             "f.yaml:2: failure.phi_suspect: expected a number above 0 and below 1000, got 'nan'"},
        Case{
            "replication:\n  multicast: 10.0.0.1:9999",
            "f.yaml:2: replication.multicast: expected GROUP:PORT with a group from 224.0.0.0 to 239.255.255.255, like "
            "239.0.0.1:9999, or of IPv6 from ff02:: up, like [ff02::ef00:1]:9999, got '10.0.0.1:9999'"},
        Case{
            "replication:\n  multicast: 240.0.0.1:9999",
            "f.yaml:2: replication.multicast: expected GROUP:PORT with a group from 224.0.0.0 to 239.255.255.255, like "
            "239.0.0.1:9999, or of IPv6 from ff02:: up, like [ff02::ef00:1]:9999, got '240.0.0.1:9999'"},
        Case{"replication:\n  transport: udp",
             "f.yaml:2: replication.transport: expected one of auto, multicast, tcp, got 'udp'"},
        Case{
            "replication:\n  window: 4MB/s",
            "f.yaml:2: replication.window: expected a size like 64MiB, 512KiB, 10GB or a number of bytes, got '4MB/s'"},
        Case{"replication:\n  window: 1KiB", "f.yaml:2: replication.window: expected 64KiB to 1GiB, got '1KiB'"},
        Case{"replication:\n  mtu: 100", "f.yaml:2: replication.mtu: expected auto or 576 to 65535 bytes, got '100'"},
        Case{"discovery:\n  broadcast_port: http",
             "f.yaml:2: discovery.broadcast_port: expected a port from 1 to 65535, got 'http'"},
        Case{"discovery:\n  seeds: [10.0.0.1]",
             "f.yaml:2: discovery.seeds: expected HOST:PORT,HOST:PORT,… like "
             "10.0.0.1:8001,[fd00::1]:8001,broker2:8001, got "
             "'10.0.0.1'"},
        Case{"discovery:\n  seeds: [fd00::1:8001]",
             "f.yaml:2: discovery.seeds: expected an IPv6 address in brackets, like [fd00::1]:8001, got "
             "'fd00::1:8001'"},
        Case{"storage:\n  retention:\n    time: always",
             "f.yaml:3: storage.retention.time: expected a whole number with its unit, like 100ms, 15s, 5m, 2h or 7d, "
             "or "
             "unlimited, got 'always'"},
        Case{"topics:\n  auto_create: maybe", "f.yaml:2: topics.auto_create: expected true or false, got 'maybe'"},
        Case{"topics:\n  partitions: 1.5",
             "f.yaml:2: topics.partitions: expected a whole number from 1 to 10000, got '1.5'"},
        Case{"admin:\n  http: 9001",
             "f.yaml:2: admin.http: expected IP:PORT or off, like 127.0.0.1:9001 or [::1]:9001, got "
             "'9001'"},
        Case{"log:\n  level: verbose",
             "f.yaml:2: log.level: expected one of trace, debug, info, warn, error, off, got 'verbose'"},
        // Each may be right alone.
        Case{"failure:\n  phi_suspect: 9\n  phi_fail: 8.5",
             "f.yaml:3: expected phi_suspect to be at most phi_fail, but failure.phi_suspect is 9 and failure.phi_fail "
             "is "
             "8.5"},
        Case{"failure:\n  heartbeat: 1s\n  timeout: 1s",
             "f.yaml:3: expected the timeout to be longer than the heartbeat (many times longer on a "
             "lossy network), "
             "but failure.heartbeat is 1s and failure.timeout is 1s"},
        Case{"failure:\n  heartbeat: 6s",
             "f.yaml:2: expected slow_member_timeout to be longer than the heartbeat, but failure.heartbeat is 6s and "
             "replication.slow_member_timeout is 5s"},
        Case{"storage:\n  segment_bytes: 1MiB",
             "f.yaml:2: expected a segment to hold at least one batch, but storage.segment_bytes is 1MiB and "
             "limits.batch_bytes is 4MiB"},
        Case{"limits:\n  record_bytes: 4MiB",
             "f.yaml:2: expected a batch to hold at least one record and 128 bytes of headers, but limits.batch_bytes "
             "is "
             "4MiB and limits.record_bytes is 4MiB"},
        Case{"limits:\n  pending_bytes: 3MiB",
             "f.yaml:2: expected pending_bytes to allow at least one batch, but limits.pending_bytes is 3MiB and "
             "limits.batch_bytes is 4MiB"},
        Case{"cluster:\n  expect: 3\nreplication:\n  min_in_sync: 4",
             "f.yaml:4: expected min_in_sync to be at most the number of brokers that the cluster starts with, but "
             "replication.min_in_sync is 4 and cluster.expect is 3"},
        Case{"limits:\n  streams: 3\ntopics:\n  partitions: 4",
             "f.yaml:4: expected limits.streams to allow at least one topic, but limits.streams is 3 and "
             "topics.partitions is 4"},
        Case{"discovery:\n  broadcast_port: 8001",
             "f.yaml:2: expected two different ports (both are used for UDP), but discovery.broadcast_port is 8001 and "
             "node.address is 8001"},
        Case{"replication:\n  multicast: 239.0.0.1:8888",
             "f.yaml:2: expected two different ports (both are used for UDP), but discovery.broadcast_port is 8888 and "
             "replication.multicast is 239.0.0.1:8888"},
        Case{
            "node:\n  address: 10.0.0.1:8001\nadmin:\n  http: 0.0.0.0:8001",
            "f.yaml:4: expected two different ports, but admin.http is 0.0.0.0:8001 and node.address is 10.0.0.1:8001"},
        Case{"node:\n  address: '[fd00::1]:8001'\nreplication:\n  multicast: 239.0.0.1:9999",
             "f.yaml:4: expected both IPv4 or both IPv6, but replication.multicast is 239.0.0.1:9999 and node.address "
             "is "
             "[fd00::1]:8001"},
        Case{"node:\n  address: 10.0.0.1:8001\ndiscovery:\n  seeds: ['[fd00::2]:8001', n2:8001]",
             "f.yaml:4: expected seeds of the same family as the address, all IPv4 or all IPv6, or names that "
             "resolve to such addresses, "
             "but discovery.seeds is [fd00::2]:8001,n2:8001 and node.address is 10.0.0.1:8001"},
        Case{"node:\n  address: 65000",
             "f.yaml:2: expected a port up to 64535 or an explicit admin.http (its default is the port + 1000), "
             "but "
             "node.address is 65000 and admin.http is "}),
    [](const auto& info) { return "Case" + std::to_string(info.index); });

TEST(AcceptedFile, EmptyOrOnlySectionsOrComments) {
    for (const auto yaml : {"", "# nothing\n", "---\n", "node:\n  # name: x\nstorage:\n", "node: {}\n"})
        EXPECT_EQ(refusal_of_yaml(yaml), "accepted") << yaml;
}

TEST(AcceptedFile, MinInSyncNeedsNoExpectation) {
    EXPECT_EQ(refusal_of_yaml("replication: {min_in_sync: 2}"), "accepted");
}

TEST(EveryRule, IsAboutSettingsThatExistAndHoldsForTheDefaults) {
    for (const auto& rule : rules()) {
        for (const auto key : rule.keys) EXPECT_NE(find_setting(key), nullptr) << key;
        EXPECT_TRUE(rule.holds(Config{})) << rule.expected;
    }
}

TEST(RefusedVariable, IsNamed) {
    const auto stop = stop_of({}, {{"NODE_ADDRESS", "here"}});
    EXPECT_EQ(stop.exit_code, 1);
    EXPECT_EQ(stop.text,
              "logstream: environment NODE_ADDRESS: expected IP:PORT or PORT, like 10.0.0.1:8001 or 8001 (IPv6: "
              "[fd00::1]:8001; or a name of this machine instead of IP), got 'here'\n");
}

TEST(RefusedVariable, ThatClashesWithTheFileOrADefaultIsTheOneNamed) {
    const auto stop = stop_of({}, {{"BROADCAST_PORT", "9999"}});
    EXPECT_EQ(stop.exit_code, 1);
    EXPECT_THAT(stop.text, HasSubstr("environment BROADCAST_PORT: expected two different ports"));
}

TEST(MisspeltVariable, IsWarnedOfButBelongsToSomebodyElsePerhaps) {
    EXPECT_THAT(misspelt_variables(
                    {{"NODE_ADRESS", "x"}, {"PATH", "y"}, {"NODE_PATH", "z"}, {"SEED", "1"}, {"NODE_NAME", "n"}}),
                ElementsAre("environment 'NODE_ADRESS' is not used; did you mean NODE_ADDRESS?"));
}

TEST(RefusedFlag, IsWrongUsage) {
    const auto stop = stop_of({"--log-level", "loud"});
    EXPECT_EQ(stop.exit_code, 2);
    EXPECT_EQ(stop.text,
              "logstream: --log-level: expected one of trace, debug, info, warn, error, off, got 'loud'\n"
              "Try 'logstream --help'.\n");
}

TEST(RefusedFlag, MisspeltIsAnsweredWithAGuess) {
    for (const auto& [flag, guess] : std::map<std::string, std::string>{{"--adress", "--address"},
                                                                        {"--log-fiel", "--log-file"},
                                                                        {"--confg=x", "--config"},
                                                                        {"--cluser", "--cluster"}}) {
        const auto stop = stop_of({flag});
        EXPECT_EQ(stop.exit_code, 2) << flag;
        EXPECT_THAT(stop.text, HasSubstr("did you mean '" + guess + "'?")) << flag;
    }
    EXPECT_THAT(stop_of({"--verbose"}).text, HasSubstr("unknown flag '--verbose'\n"));
}

TEST(RefusedFlag, WithoutItsValue) {
    const auto stop = stop_of({"--data"});
    EXPECT_EQ(stop.exit_code, 2);
    EXPECT_THAT(stop.text, HasSubstr("--data"));
}

TEST(RefusedFlag, AnArgumentTooMany) {
    EXPECT_EQ(stop_of({"8001", "start"}).exit_code, 2);
    EXPECT_EQ(stop_of({"start"}).exit_code, 2);
}

TEST(RefusedSet, NamesTheKey) {
    EXPECT_THAT(stop_of({"--set", "storage.fsnyc=never"}).text,
                HasSubstr("--set: unknown key 'storage.fsnyc'; did you mean 'storage.fsync'?"));
    EXPECT_THAT(stop_of({"--set", "storage.fsync=x"}).text, HasSubstr("--set: storage.fsync: expected one of"));
    EXPECT_THAT(stop_of({"--set", "storage.fsync"}).text, HasSubstr("--set: expected KEY=VALUE, got 'storage.fsync'"));
    EXPECT_EQ(stop_of({"--set", "=x"}).exit_code, 2);
}

TEST(Refusal, ShowsLongAndBinaryValuesInOneShortLine) {
    const auto stop = stop_of({}, {{"NODE_NAME", "a\nb\x1b[31m" + std::string(10'000, 'x')}});
    EXPECT_EQ(std::ranges::count(stop.text, '\n'), 1);
    EXPECT_LT(stop.text.size(), 300u);
    EXPECT_THAT(stop.text, HasSubstr("got 'a?b?[31mxxx"));
}

TEST(EditDistance, CountsInsertionsRemovalsReplacementsAndSwaps) {
    EXPECT_EQ(edit_distance("", ""), 0u);
    EXPECT_EQ(edit_distance("fsync", ""), 5u);
    EXPECT_EQ(edit_distance("fsync", "fsnyc"), 1u);
    EXPECT_EQ(edit_distance("fsync", "sync"), 1u);
    EXPECT_EQ(edit_distance("fsync", "fsyncs"), 1u);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(Nearest, DoesNotGuessWildly) {
    const std::vector<std::string_view> words{"node.name", "storage.dir"};
    EXPECT_EQ(nearest("node.nmae", words), "node.name");
    EXPECT_EQ(nearest("colour", words), "");
    EXPECT_EQ(nearest("", words), "");
    EXPECT_EQ(nearest(std::string(100'000, 'x'), words), "");
}

}  // namespace
}  // namespace logstream::config
