// Flags of the tools: numbers, words and addresses are taken as they are meant, or not at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cmd/runtime/client_flags.h"
#include "cmd/runtime/record_json.h"
#include "cmd/runtime/values.h"
#include "internal/config/contexts.h"

namespace logstream::runtime {
namespace {

using namespace std::chrono_literals;

// Parses as a program does that has these flags: the exit code, or nullopt to go on.
class Flags : public ::testing::Test {
protected:
    Flags() {
        add_value(app_, "--count", count_, "", count_from<std::uint64_t>(0));
        add_value(app_, "--partition", partition_, "", count_from<std::uint32_t>(0));
        add_value(app_, "--rate", rate_, "", runtime::rate(0.5));
        add_value(app_, "--timeout", timeout_, "", wait_in(1ms));
        add_value(app_, "--acks", acks_, "", one_of(kAcks));
        add_value(app_, "--bytes", bytes_, "", size_between(1, 1 << 20));
        add_value(app_, "--peer", peer_, "", host_port());
        add_host_ports(app_, "--brokers", brokers_, "");
        app_.add_option("--file", file_);
        message_option_ = app_.add_option("--message", message_);
        auto* command = app_.add_subcommand("delete");
        command->add_option("name", name_);
    }

    std::optional<int> parse_words(std::vector<std::string> words) {
        words.insert(words.begin(), "test");
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        return parse(app_, static_cast<int>(argv.size()), argv.data(), {message_option_});
    }

    CLI::App app_{"", "test"};
    std::optional<std::uint64_t> count_;
    std::optional<std::uint32_t> partition_;
    std::optional<double> rate_;
    protocol::Duration timeout_{};
    proto::Acks acks_ = proto::ALL;
    std::size_t bytes_{};
    std::string peer_;
    std::vector<std::string> brokers_;
    std::string file_;
    std::string message_;
    CLI::Option* message_option_{};
    std::string name_;
};

struct Refused {
    std::vector<std::string> words;
};
void PrintTo(const Refused& refused, std::ostream* out) {
    for (const std::string& word : refused.words) *out << word.substr(0, 20) << ' ';
}
class WrongUsage : public Flags, public ::testing::WithParamInterface<Refused> {};

TEST_P(WrongUsage, IsRefused) { EXPECT_EQ(parse_words(GetParam().words), kUsage); }

INSTANTIATE_TEST_SUITE_P(
    Numbers, WrongUsage,
    ::testing::Values(Refused{{"--count", "-1"}}, Refused{{"--count", "1.5"}}, Refused{{"--count", "1e3"}},
                      Refused{{"--count", "0x10"}}, Refused{{"--count", "+1"}}, Refused{{"--count", " 1"}},
                      Refused{{"--count", "18446744073709551616"}}, Refused{{"--partition", "4294967296"}},
                      Refused{{"--partition", "-1"}}, Refused{{"--rate", "nan"}}, Refused{{"--rate", "inf"}},
                      Refused{{"--rate", "0"}}, Refused{{"--rate", "-5"}}, Refused{{"--rate", "1e300"}},
                      Refused{{"--rate", std::string(300, '9')}}, Refused{{"--timeout", "-1"}},
                      Refused{{"--timeout", "1e13"}}, Refused{{"--timeout", "nan"}}, Refused{{"--timeout", "5 s"}},
                      Refused{{"--bytes", "0"}}, Refused{{"--bytes", "2MiB"}}, Refused{{"--bytes", "-1"}}));

// The numbers that the enum has inside are no way to name its values: 2 and 3 are none of Kafka's either.
INSTANTIATE_TEST_SUITE_P(Acks, WrongUsage,
                         ::testing::Values(Refused{{"--acks", "2"}}, Refused{{"--acks", "3"}},
                                           Refused{{"--acks", "ALL"}}, Refused{{"--acks", "-2"}}));

INSTANTIATE_TEST_SUITE_P(Addresses, WrongUsage,
                         ::testing::Values(Refused{{"--peer", "n1"}}, Refused{{"--peer", "n1:65536"}},
                                           Refused{{"--peer", ":8001"}}, Refused{{"--brokers", "n1:8001,"}},
                                           Refused{{"--brokers", ","}}, Refused{{"--brokers", "n1:0"}}));

INSTANTIATE_TEST_SUITE_P(Empty, WrongUsage,
                         ::testing::Values(Refused{{"--file", ""}}, Refused{{"--file="}}, Refused{{"--count", ""}},
                                           Refused{{"--brokers", ""}}, Refused{{"--acks="}}, Refused{{"delete", ""}}));

TEST_F(Flags, AreTakenAsTheyAreMeant) {
    const std::vector<std::string> words{
        "--count", "18446744073709551615", "--partition", "3", "--rate", "0.5", "--bytes", "64KiB", "--peer",
        "n1:8001"};
    EXPECT_EQ(parse_words(words), std::nullopt);
    EXPECT_EQ(count_, std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(partition_, 3u);
    EXPECT_EQ(rate_, 0.5);
    EXPECT_EQ(bytes_, 64u << 10);
    EXPECT_EQ(peer_, "n1:8001");
}

TEST_F(Flags, TakeAListOfBrokersOnceOrSeveralTimes) {
    EXPECT_EQ(parse_words({"--brokers", "a:1,b:2", "--brokers=c:3"}), std::nullopt);
    EXPECT_EQ(brokers_, (std::vector<std::string>{"a:1", "b:2", "c:3"}));
}

TEST_F(Flags, MayHaveAnEmptyTextWhereThatIsOne) {
    message_ = "before";
    EXPECT_EQ(parse_words({"--message=", "--file", "x"}), std::nullopt);
    EXPECT_EQ(message_, "");
    EXPECT_EQ(file_, "x");
}

// CLI11 takes `--file=` for a flag without its value, and the next word for that.
TEST_F(Flags, WithNothingBehindTheEqualsSignSwallowNothing) {
    EXPECT_EQ(parse_words({"--file=", "--message", "x"}), kUsage);
    EXPECT_EQ(file_, "");
}

class KafkaAcks : public Flags, public ::testing::WithParamInterface<std::pair<std::string, proto::Acks>> {};

TEST_P(KafkaAcks, MeanWhatTheyMeanThere) {
    EXPECT_EQ(parse_words({"--acks", GetParam().first}), std::nullopt);
    EXPECT_EQ(acks_, GetParam().second);
}

INSTANTIATE_TEST_SUITE_P(Acks, KafkaAcks,
                         ::testing::Values(std::pair("none", proto::NONE), std::pair("owner", proto::OWNER),
                                           std::pair("quorum", proto::QUORUM), std::pair("all", proto::ALL),
                                           std::pair("0", proto::NONE), std::pair("1", proto::OWNER),
                                           std::pair("-1", proto::QUORUM)));

TEST_F(Flags, WaitAsLongAsCanBe) {
    EXPECT_EQ(parse_words({"--timeout", "99999999999999"}), std::nullopt);
    EXPECT_EQ(timeout_, config::kLongestWait);
}

TEST(JsonRecord, IsReadAsItIsWritten) {
    const std::vector<protocol::Header> headers{{"h", "v"}, {"none", std::nullopt}};
    std::string line;
    append_json(
        line, RecordPlace{"t", 3, protocol::Offset{7}},
        {.offset = {}, .timestamp_ms = 1234, .key = "k\xff", .value = std::string_view("a\0b", 3), .headers = headers});
    const auto read = parse_json_record(line);
    ASSERT_TRUE(read) << read.error();
    EXPECT_EQ(read->key, "k\xff");
    EXPECT_EQ(read->value, std::string("a\0b", 3));
    EXPECT_EQ(read->partition, 3U);
    EXPECT_EQ(read->timestamp_ms, 1234);
    ASSERT_EQ(read->headers.size(), 2U);
    EXPECT_EQ(read->headers[0], (std::pair<std::string, std::optional<std::string>>{"h", "v"}));
    EXPECT_EQ(read->headers[1].second, std::nullopt);
}

TEST(JsonRecord, NeedsOnlyAValue) {
    EXPECT_EQ(parse_json_record(R"({"value": "v"})")->value, "v");
    EXPECT_EQ(parse_json_record(R"({"value": null})")->value, std::nullopt);
    EXPECT_EQ(parse_json_record(R"({"value": [1, 2]})")->value, "[1, 2]");
    EXPECT_EQ(parse_json_record(R"({"key": 5, "value": ""})")->key, "5");
    EXPECT_EQ(parse_json_record(R"({"value": "", "headers": {"a": "b", "c": null}})")->headers.size(), 2U);
}

TEST(JsonRecord, KeepsWhatIsNoStringAsItIsWritten) {
    EXPECT_EQ(parse_json_record(R"({"value": {"b":1, "a" : [2,"}"]} })")->value, R"({"b":1, "a" : [2,"}"]})");
    EXPECT_EQ(parse_json_record(R"({"key":12345678901234567890123,"value":1e2})")->key, "12345678901234567890123");
    EXPECT_EQ(parse_json_record(R"({"key":12345678901234567890123,"value":1e2})")->value, "1e2");
    EXPECT_EQ(parse_json_record(R"({"headers":{"value":"no"},"value":true})")->value, "true");
    EXPECT_EQ(parse_json_record(R"({"key":"\"value\":1","value":  2  })")->value, "2");
    EXPECT_EQ(parse_json_record(R"({"value":1,"headers":{"sig":"a","sig_base64":"b"}})")->headers.size(), 2U);
}

TEST(JsonRecord, ThatIsNestedWithoutEndIsRefused) {
    const std::string deep(200'000, '[');
    for (const std::string& line : {R"({"value":)" + deep + std::string(deep.size(), ']') + "}",
                                    R"({"value":"","headers":[)" + deep + std::string(deep.size(), ']') + "]}"}) {
        const auto read = parse_json_record(line);
        ASSERT_FALSE(read);
        EXPECT_THAT(read.error(), ::testing::HasSubstr("at most 100 levels of nested arrays and objects"));
    }
    EXPECT_TRUE(parse_json_record(R"({"value":")" + deep + "\"}"));
}

TEST(ClientFlags, GoBeforeTheEnvironmentAndThatBeforeTheCurrentContext) {
    std::string dir = (std::filesystem::temp_directory_path() / "logstream-flags-XXXXXX").string();
    ASSERT_NE(::mkdtemp(dir.data()), nullptr);
    const config::Environment home{{"XDG_CONFIG_HOME", dir}};
    const auto two = [](config::Contexts& contexts) -> protocol::Result<void> {
        contexts.current = "near";
        contexts.all["near"] = {{"near:1"}, "n"};
        contexts.all["far"] = {{"far:1"}, std::nullopt};
        return {};
    };
    ASSERT_TRUE(config::change_contexts(config::contexts_path(home), two));
    const auto found = [&](const ClientFlags& flags, config::Environment more = {}) {
        more.insert(home.begin(), home.end());
        const auto completed = flags.completed(more);
        if (!completed) return completed.error().message;
        std::string out = completed->cluster.value_or("-");
        for (const std::string& broker : completed->brokers) out += " " + broker;
        return out;
    };
    ClientFlags none;
    EXPECT_EQ(found(none), "n near:1");
    EXPECT_EQ(found(none, {{"LOGSTREAM_CONTEXT", "far"}, {"CLUSTER_NAME", "c"}}), "- far:1");
    EXPECT_EQ(found(none, {{"BROKERS", "b:1"}, {"LOGSTREAM_CONTEXT", "far"}}), "- b:1");
    EXPECT_EQ(found(none, {{"LOGSTREAM_BROKERS", "l:1"}, {"BROKERS", "b:1"}, {"CLUSTER_NAME", "c"}}), "c l:1");
    EXPECT_EQ(found(none, {{"CLUSTER_NAME", "c"}}), "c");
    ClientFlags named;
    named.context = "far";
    EXPECT_EQ(found(named, {{"BROKERS", "b:1"}, {"CLUSTER_NAME", "c"}}), "- far:1");
    named.cluster = "flag";
    EXPECT_EQ(found(named), "flag far:1");
    ClientFlags cluster;
    cluster.cluster = "flag";
    EXPECT_EQ(found(cluster, {{"LOGSTREAM_CONTEXT", "far"}}), "flag");
    ClientFlags brokers;
    brokers.brokers = {"f:1"};
    EXPECT_EQ(found(brokers, {{"CLUSTER_NAME", "c"}, {"LOGSTREAM_CONTEXT", "far"}}), "c f:1");
    EXPECT_THAT(found(none, {{"BROKERS", "b"}}), ::testing::HasSubstr("BROKERS: expected HOST:PORT"));
    std::filesystem::remove_all(dir);
}

TEST(JsonRecord, ThatIsNoneIsRefused) {
    for (const auto& [line, expected] : std::vector<std::pair<const char*, const char*>>{
             {"", "expected a JSON object"},
             {"[]", "expected a JSON object"},
             {"{\"value\": \"v\"", "expected a JSON object"},
             {R"({"key": "k"})", "expected a value"},
             {R"({"vlaue": "k"})", "did you mean 'value'"},
             {R"({"value": "a", "value_base64": "YQ=="})", "got both"},
             {R"({"value_base64": "YQ"})", "base64 in value_base64"},
             {R"({"value_base64": 5})", "base64 in value_base64"},
             {R"({"value": "", "headers": "a=b"})", "an array or an object as headers"},
             {R"({"value": "", "headers": [{"value": "b"}]})", "a header with a key"},
             {R"({"value": "", "partition": 4294967296})", "as partition"},
             {R"({"value": "", "partition": 1.5})", "as partition"},
             {R"({"value": "", "timestamp": -1})", "as timestamp"},
             {R"({"value": "", "timestamp": 1e300})", "as timestamp"},
             {R"({"value": "", "timestamp": 18446744073709551615})", "as timestamp"},
         }) {
        const auto read = parse_json_record(line);
        ASSERT_FALSE(read) << line;
        EXPECT_THAT(read.error(), ::testing::HasSubstr(expected)) << line;
    }
}

}  // namespace
}  // namespace logstream::runtime
