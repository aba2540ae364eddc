#include <gtest/gtest.h>

#include <vector>

#include "internal/config/value.h"

namespace logstream::config {
namespace {

using namespace std::chrono_literals;

TEST(Durations, InEveryUnit) {
    EXPECT_EQ(parse_duration("1ns"), 1ns);
    EXPECT_EQ(parse_duration("20us"), 20us);
    EXPECT_EQ(parse_duration("100ms"), 100ms);
    EXPECT_EQ(parse_duration("15s"), 15s);
    EXPECT_EQ(parse_duration("3m"), 3min);
    EXPECT_EQ(parse_duration("2h"), 2h);
    EXPECT_EQ(parse_duration("7d"), 168h);
    EXPECT_EQ(parse_duration("0s"), 0s);
}

TEST(Durations, WithoutUnitOrNumberOrWithMoreAreRefused) {
    for (const auto text : {"", "15", "s", "-1s", "+1s", "1.5s", "1 s", "1s ", " 1s", "1h30m", "1S", "1w", "0x1s",
                            "106752d", "18446744073709551615d", "99999999999999999999s"})
        EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Durations, AreShownAsTheyCanBeRead) {
    EXPECT_EQ(show_duration(90s), "90s");
    EXPECT_EQ(show_duration(120s), "2m");
    EXPECT_EQ(show_duration(1500ms), "1500ms");
    EXPECT_EQ(show_duration(0s), "0s");
    for (const Duration each : std::vector<Duration>{0ns, 1ns, 999us, 100ms, 59s, 61min, 25h, 240h})
        EXPECT_EQ(parse_duration(show_duration(each)), each);
}

TEST(Times, AsDatesInUtcAsMillisecondsOrSoLongAgo) {
    constexpr std::int64_t kNow = 1'764'410'400'000;  // 2025-11-29T10:00:00Z
    EXPECT_EQ(parse_time("2025-11-29T10:00", kNow), kNow);
    EXPECT_EQ(parse_time("2025-11-29T10:00Z", kNow), kNow);
    EXPECT_EQ(parse_time("2025-11-29T10:00:07", kNow), kNow + 7000);
    EXPECT_EQ(parse_time("2025-11-29", kNow), kNow - 36'000'000);
    EXPECT_EQ(parse_time("2025-11-29T11:30+01:30", kNow), kNow);
    EXPECT_EQ(parse_time("2025-11-29T04:00:00-0600", kNow), kNow);
    EXPECT_EQ(parse_time("2024-02-29", kNow), 1'709'164'800'000);
    EXPECT_EQ(parse_time("1764410400000", kNow), kNow);
    EXPECT_EQ(parse_time("0", kNow), 0);
    EXPECT_EQ(parse_time("-15m", kNow), kNow - 900'000);
    EXPECT_EQ(parse_time("-106751d", kNow), 0) << "before 1970 there is nothing";
}

TEST(Times, AreShownAsTheyAreRead) {
    EXPECT_EQ(format_time(1'764'410'430'250), "2025-11-29T10:00:30.250Z");
    EXPECT_EQ(parse_time("2025-11-29T10:00:30.250Z", 0), 1'764'410'430'250);
    EXPECT_EQ(parse_time("2025-11-29T10:00:30.2509", 0), 1'764'410'430'250);
    EXPECT_FALSE(parse_time("2025-11-29T10:00:30.", 0));
    EXPECT_EQ(format_time(0), "1970-01-01T00:00:00.000Z");
    EXPECT_EQ(format_time(-1), "1969-12-31T23:59:59.999Z");
    EXPECT_EQ(format_time(253'402'300'799'999), "9999-12-31T23:59:59.999Z");
    for (const std::int64_t ms : {std::int64_t{253'402'300'800'000}, std::numeric_limits<std::int64_t>::min(),
                                  std::numeric_limits<std::int64_t>::max()})
        EXPECT_EQ(format_time(ms), std::to_string(ms));
}

TEST(Times, ThatAreNoneAreRefused) {
    for (const auto text : {"", "-", "yesterday", "2025-13-01", "2025-02-29", "2025-11-31T10:00", "2025-11-29 10:00",
                            "2025-11-29T10:00+1", "2025-11-29T25:00", "2025-11-29T10", "1969-12-31", "-15", "15m",
                            "1e9", "253402300800000", "-1"})
        EXPECT_FALSE(parse_time(text, 0)) << text;
}

TEST(Waits, InTheUnitAskedForOrTheirOwn) {
    EXPECT_EQ(parse_wait("0", 1ms), 0ms);
    EXPECT_EQ(parse_wait("1500", 1ms), 1500ms);
    EXPECT_EQ(parse_wait("0.5", 1ms), 500us);
    EXPECT_EQ(parse_wait("0.4", 1s), 400ms);
    EXPECT_EQ(parse_wait("30s", 1ms), 30s);
    EXPECT_EQ(parse_wait("7d", 1ms), 168h);
}

TEST(Waits, AreNeverLongerThanAClockCanCount) {
    for (const auto text : {"9223372036854", "9223372036855", "99999999999999", "18446744073709551616", "106751d",
                            "99999999999999999999999999999999999999999999"}) {
        EXPECT_EQ(parse_wait(text, 1ms), kLongestWait) << text;
        EXPECT_GT(Duration(std::chrono::hours(24 * 365 * 30)) + *parse_wait(text, 1s), 0s) << text;
    }
}

TEST(Waits, OfNoNumberNegativeOrShorterThanTheLeastAreRefused) {
    for (const auto text : {"", "-1", "-0.5", "nan", "inf", "1e13", "5 s", "s", "0x10", "1.5s"})
        EXPECT_FALSE(parse_wait(text, 1ms)) << text;
    EXPECT_FALSE(parse_wait("0.5", 1ms, 1ms));
    EXPECT_EQ(parse_wait("-1", 1ms).error(), "a number of ms, or a time with its unit like 500ms, 15s, 5m, 2h or 7d");
    EXPECT_EQ(parse_wait("0", 1s, 100ms).error(), "at least 100ms");
}

TEST(Counts, BetweenTheirBounds) {
    EXPECT_EQ(parse_count_between<std::uint32_t>("4294967295", 0, 4294967295), 4294967295u);
    EXPECT_EQ(parse_count_between<std::uint32_t>("5", 5, 5), 5u);
    for (const auto text : {"", "-1", "1.0", "4294967296", "18446744073709551616", "0x1", "1 "})
        EXPECT_FALSE(parse_count_between<std::uint32_t>(text, 0, 4294967295)) << text;
    EXPECT_EQ(parse_count_between<std::uint32_t>("0", 1, 9).error(), "a whole number from 1 to 9");
    EXPECT_EQ((parse_count_between<std::uint8_t>("256", 1, 255).error()), "a whole number from 1");
}

TEST(HostsAndPorts, AreBothThere) {
    EXPECT_EQ(parse_host_port("broker-2.lan:8001"), (HostPort{"broker-2.lan", 8001}));
    for (const auto text : {"", "a", "a:", ":1", "a:0", "a:65536", "a:-1", "a b:1", "a:1:"})
        EXPECT_FALSE(parse_host_port(text)) << text;
}

TEST(Sizes, InEveryUnit) {
    EXPECT_EQ(parse_size("0"), 0u);
    EXPECT_EQ(parse_size("4096"), 4096u);
    EXPECT_EQ(parse_size("7B"), 7u);
    EXPECT_EQ(parse_size("512KiB"), 512u << 10);
    EXPECT_EQ(parse_size("64MiB"), 64u << 20);
    EXPECT_EQ(parse_size("3GiB"), 3ULL << 30);
    EXPECT_EQ(parse_size("1TiB"), 1ULL << 40);
    EXPECT_EQ(parse_size("10GB"), 10'000'000'000u);
    EXPECT_EQ(parse_size("1kb"), 1000u);
    EXPECT_EQ(parse_size("1mib"), 1u << 20);
}

TEST(Sizes, WithAnUnknownUnitOrSignOrTooGreatAreRefused) {
    for (const auto text : {"", "MiB", "-1", "1.5GiB", "1 MiB", "1M", "1Mib/s", "8388608TiB", "99999999999999999999"})
        EXPECT_FALSE(parse_size(text)) << text;
}

TEST(Sizes, AreShownAsTheyCanBeRead) {
    EXPECT_EQ(show_size(64u << 20), "64MiB");
    EXPECT_EQ(show_size(1000), "1000");
    EXPECT_EQ(show_size(1536), "1536");
    for (const std::uint64_t each : {0ULL, 1ULL, 1000ULL, 1024ULL, 10'000'000'000ULL, 1ULL << 50})
        EXPECT_EQ(parse_size(show_size(each)), each);
}

TEST(Numbers, AndNothingElse) {
    EXPECT_EQ(parse_number("8"), 8.0);
    EXPECT_EQ(parse_number("8.25"), 8.25);
    for (const auto text : {"", "8,5", "8 ", "inf", "nan", "1e999", "x"}) EXPECT_FALSE(parse_number(text)) << text;
}

TEST(Numbers, AreShownAsTheyCanBeRead) {
    for (const auto value : {8.0, 8.25, 0.0000001, 5e-324, 999.9}) EXPECT_EQ(parse_number(show_number(value)), value);
    EXPECT_EQ(show_number(8), "8");
}

TEST(Booleans, AsYamlAndPeopleWriteThem) {
    for (const auto text : {"true", "yes", "on", "True"}) EXPECT_EQ(parse_bool(text), true) << text;
    for (const auto text : {"false", "no", "off", "FALSE"}) EXPECT_EQ(parse_bool(text), false) << text;
    for (const auto text : {"", "1", "0", "y"}) EXPECT_FALSE(parse_bool(text)) << text;
}

TEST(Seeds, AreAListThatMayHaveSpacesAndBeEmpty) {
    EXPECT_EQ(parse_seeds("")->size(), 0u);
    EXPECT_EQ(parse_seeds(" a:1 , b:2"), (std::vector<HostPort>{{"a", 1}, {"b", 2}}));
    for (const auto text : {"a", "a:", ":1", "a:1,", ",a:1", "a:1,,b:2", "a:0", "a b:1", "a:1;b:2", "a/b:1"})
        EXPECT_FALSE(parse_seeds(text)) << text;
    std::string many = "a:1";
    for (int i = 0; i < 64; ++i) many += ",a:1";
    EXPECT_FALSE(parse_seeds(many));
}

TEST(Hosts, AreNamesOrAddressesOfBothFamilies) {
    const auto host = [](std::string_view text) { return parse_host_port(text).value_or(HostPort{"refused", 0}).host; };
    EXPECT_EQ(host("10.0.0.1:8001"), "10.0.0.1");
    EXPECT_EQ(host("broker-2.lan:8001"), "broker-2.lan");
    EXPECT_EQ(host("broker-2.lan.:8001"), "broker-2.lan.");
    EXPECT_EQ(host("402651293476:8001"), "402651293476") << "a container's name";
    EXPECT_EQ(host("n1.7:8001"), "n1.7");
    EXPECT_EQ(host("[fd00:0::1]:8001"), "fd00::1");
    EXPECT_EQ(host("[fe80::1%eth0]:8001"), "fe80::1%eth0");
    EXPECT_EQ(host("[fe80::1%2]:8001"), "fe80::1%2");
    EXPECT_EQ(host("[::ffff:10.0.0.1]:8001"), "10.0.0.1") << "what it is";
    for (const auto text : {"[fd00::1]", "[fd00::1]8001", "[fd00::1%eth0]:8001", "[fe80::1%]:8001",
                            "[fe80::1%a/b]:8001", "[10.0.0.1]:8001", "[broker]:8001", "[]:8001", "256.0.0.1:8001",
                            "10.0.1:8001", "123:8001", "1.2.3.4.5:8001", "fe80::1:8001", "[::1:8001"})
        EXPECT_EQ(host(text), "refused") << text;
    EXPECT_EQ(parse_host_port("fd00::1:8001").error(), "an IPv6 address in brackets, like [fd00::1]:8001");
}

TEST(Hosts, AreShownAsTheyCanBeRead) {
    for (const auto text : {"10.0.0.1:8001", "n1:8001", "[fd00::1]:8001", "[fe80::1%eth0]:8001"})
        EXPECT_EQ(to_string(*parse_host_port(text)), text);
    EXPECT_EQ(show_seeds(*parse_seeds("[fd00::1]:1, [fe80::2%lo]:2,a:3")), "[fd00::1]:1,[fe80::2%lo]:2,a:3");
}

TEST(NodeAddresses, AreThoseThatOthersCanConnectTo) {
    EXPECT_EQ(*parse_node_address("8001"), (HostPort{"", 8001}));
    EXPECT_EQ(*parse_node_address("n1.lan:8001"), (HostPort{"n1.lan", 8001}));
    for (const auto text : {"0.0.0.0:8001", "[::]:8001", "[::ffff:0.0.0.0]:8001", "0.1.2.3:8001", "224.0.0.1:8001",
                            "255.255.255.255:8001", "[ff02::1]:8001", "::1:8001", "[::1]:0"})
        EXPECT_FALSE(parse_node_address(text)) << text;
}

TEST(Groups, AreOfEitherFamilyAndReachOtherMachines) {
    for (const auto text : {"239.0.0.1:9999", "224.1.1.1:1", "[ff02::ef00:1]:9999", "[ff05::1234]:9999", "[ff3e::1]:5"})
        EXPECT_EQ(show_multicast(*parse_multicast(text)), text);
    EXPECT_EQ(parse_multicast("")->port, 0);
    for (const auto text : {"[ff01::1]:9999", "[ff11::1]:9999", "[fe80::1]:9999", "[ff02::1%2]:9999", "ff02::1:9999",
                            "[ff02::1]:0", "name:9999", "240.0.0.1:1"})
        EXPECT_FALSE(parse_multicast(text)) << text;
}

TEST(HttpAddresses, OffOrAnAddressOrTheDefault) {
    EXPECT_EQ(parse_http("")->mode, HttpAddress::Mode::kDefault);
    EXPECT_EQ(parse_http("off")->mode, HttpAddress::Mode::kOff);
    EXPECT_EQ(parse_http("0.0.0.0:80")->at, (env::Endpoint{0, 80}));
    for (const auto text : {"80", "localhost:80", "1.2.3.4", "1.2.3.4:0"}) EXPECT_FALSE(parse_http(text)) << text;
}

}  // namespace
}  // namespace logstream::config
