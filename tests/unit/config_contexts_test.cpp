// The user's names for clusters.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "internal/config/contexts.h"

namespace logstream::config {
namespace {

using ::testing::HasSubstr;

class ContextsTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern = (std::filesystem::temp_directory_path() / "logstream-contexts-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        dir_ = pattern;
        path_ = dir_ + "/a/b/contexts.yaml";
    }
    void TearDown() override { std::filesystem::remove_all(dir_); }

    std::string refusal_of(std::string_view text) {
        std::filesystem::create_directories(dir_ + "/a/b");
        std::ofstream(path_) << text;
        const auto read = read_contexts(path_);
        return read ? "" : read.error().message;
    }

    std::string dir_;
    std::string path_;
};

TEST_F(ContextsTest, AreReadAsTheyWereWritten) {
    Contexts contexts;
    contexts.current = "prod: #1";
    contexts.all["prod: #1"] = {{"10.0.0.1:8001", "[fe80::1%eth0]:8001"}, "orders"};
    contexts.all["by broadcast"] = {{}, "caf\u00e9"};
    const auto store = [&](Contexts& stored) -> protocol::Result<void> {
        stored = contexts;
        return {};
    };
    ASSERT_TRUE(change_contexts(path_, store));
    const auto read = read_contexts(path_);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->current, "prod: #1");
    EXPECT_EQ(read->all.size(), 2U);
    EXPECT_EQ(read->all.at("prod: #1").brokers, contexts.all["prod: #1"].brokers);
    EXPECT_EQ(read->all.at("by broadcast").cluster, "caf\u00e9");
}

TEST_F(ContextsTest, NoFileHoldsNone) {
    const auto read = read_contexts(path_);
    ASSERT_TRUE(read);
    EXPECT_TRUE(read->all.empty());
    EXPECT_TRUE(read_contexts("")->all.empty());
    EXPECT_THAT(change_contexts("", [](Contexts&) { return protocol::Result<void>(); }).error().message,
                HasSubstr("neither XDG_CONFIG_HOME nor HOME is set"));
}

TEST_F(ContextsTest, ManyMayAddAtOnce) {
    std::vector<std::thread> all;
    for (int i = 0; i < 8; ++i)
        all.emplace_back([this, i] {
            for (int k = 0; k < 5; ++k)
                EXPECT_TRUE(change_contexts(path_, [&](Contexts& contexts) -> protocol::Result<void> {
                    contexts.all[fmt::format("{}-{}", i, k)] = {{"near:1"}, std::nullopt};
                    return {};
                }));
        });
    for (std::thread& each : all) each.join();
    EXPECT_EQ(read_contexts(path_)->all.size(), 40U);
}

TEST_F(ContextsTest, ALinkStaysOne) {
    std::filesystem::create_directories(dir_ + "/a/b");
    const std::string kept = dir_ + "/kept.yaml";
    std::ofstream(kept) << "contexts: {}";
    std::filesystem::permissions(kept, std::filesystem::perms(0640));
    std::filesystem::create_symlink(kept, path_);
    ASSERT_TRUE(change_contexts(path_, [](Contexts& contexts) -> protocol::Result<void> {
        contexts.all["x"] = {{"near:1"}, std::nullopt};
        return {};
    }));
    EXPECT_TRUE(std::filesystem::is_symlink(path_));
    EXPECT_EQ(read_contexts(kept)->all.size(), 1U);
    EXPECT_EQ(std::filesystem::status(kept).permissions(), std::filesystem::perms(0640));
}

TEST_F(ContextsTest, AFileThatIsWrongIsRefused) {
    EXPECT_THAT(refusal_of("contexts: ["), HasSubstr("contexts.yaml:"));
    EXPECT_THAT(refusal_of("contexts: {a: {brokers: [n1]}}"), HasSubstr("context 'a': expected HOST:PORT"));
    EXPECT_THAT(refusal_of("contexts: {a: {broker: n1}}"), HasSubstr("got 'broker'"));
    EXPECT_THAT(refusal_of("contexts: {a: 10.0.0.1:8001}"), HasSubstr("context 'a': expected brokers and cluster"));
    EXPECT_THAT(refusal_of("curent: a"), HasSubstr("got 'curent'"));
    EXPECT_THAT(refusal_of("contexts: 5"), HasSubstr("contexts to map"));
    EXPECT_THAT(refusal_of("5"), HasSubstr("expected current and contexts"));
    EXPECT_EQ(refusal_of(""), "");
}

TEST_F(ContextsTest, LieInTheUsersFolder) {
    EXPECT_EQ(contexts_path({{"HOME", "/home/u"}}), "/home/u/.config/logstream/contexts.yaml");
    EXPECT_EQ(contexts_path({{"HOME", "/home/u"}, {"XDG_CONFIG_HOME", "/c"}}), "/c/logstream/contexts.yaml");
    EXPECT_EQ(contexts_path({{"HOME", "/home/u"}, {"XDG_CONFIG_HOME", "not/absolute"}}),
              "/home/u/.config/logstream/contexts.yaml");
    EXPECT_EQ(contexts_path({}), "");
}

TEST_F(ContextsTest, OneThatIsNotThereIsAnsweredWithThoseThatAre) {
    Contexts contexts;
    EXPECT_THAT(find_context(contexts, "prod").error().message, HasSubstr("context add creates one"));
    contexts.all["prod"];
    EXPECT_TRUE(find_context(contexts, "prod"));
    EXPECT_THAT(find_context(contexts, "prdo").error().message, HasSubstr("known: prod; did you mean 'prod'?"));
}

}  // namespace
}  // namespace logstream::config
