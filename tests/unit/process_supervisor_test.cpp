// What a service manager hears, at the socket that it would listen on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "internal/net/uv_env.h"
#include "internal/process/supervisor.h"

namespace logstream::process {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

constexpr protocol::Duration kDeadline = 20s;

class SupervisorTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern = ::testing::TempDir() + "supervisor_test.XXXXXX";
        folder_ = mkdtemp(pattern.data());
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string path = folder_ + "/notify";
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        ASSERT_EQ(bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        setenv("NOTIFY_SOCKET", path.c_str(), 1);

        auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>());
        net::NetOptions options;
        options.cluster = "supervisor-test";
        auto opened = net::UvEnv::open(loop_, std::move(options), std::move(logger));
        ASSERT_TRUE(opened) << opened.error().message;
        env_ = *std::move(opened);
    }
    void TearDown() override {
        for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) unsetenv(name);
        close(socket_);
        std::filesystem::remove_all(folder_);
    }
    static void allow_silence(std::chrono::microseconds limit) {
        setenv("WATCHDOG_USEC", std::to_string(limit.count()).c_str(), 1);
    }

    const std::vector<std::string>& heard() {
        std::array<char, 1024> message{};
        for (ssize_t size = 0; (size = recv(socket_, message.data(), message.size(), 0)) > 0;)
            heard_.emplace_back(message.data(), static_cast<std::size_t>(size));
        return heard_;
    }
    std::size_t count(const std::string& message) {
        return static_cast<std::size_t>(std::ranges::count(heard(), message));
    }
    bool eventually(const std::function<bool()>& condition) { return loop_.run_until(condition, kDeadline); }

    std::string folder_;
    int socket_ = -1;
    std::vector<std::string> heard_;
    net::Loop loop_;
    std::unique_ptr<net::UvEnv> env_;
};

TEST_F(SupervisorTest, HearsOnceASecondThatAStartGoesOn) {
    Supervisor supervisor;
    for (int i = 0; i < 3; ++i) supervisor.still_starting();
    EXPECT_THAT(heard(), ElementsAre("EXTEND_TIMEOUT_USEC=30000000"));
}

TEST_F(SupervisorTest, HearsOfReadinessAndOfTheEnd) {
    Supervisor supervisor;
    supervisor.ready();
    supervisor.stopping();
    EXPECT_THAT(heard(), ElementsAre("READY=1", "STOPPING=1"));
}

TEST_F(SupervisorTest, HearsTheStateWhenItChangesAndOnlyThen) {
    allow_silence(20ms);  // so often is it looked at
    std::string state = "looking for its cluster";
    Supervisor supervisor;
    supervisor.watch(*env_, [&state] { return state; });
    ASSERT_TRUE(eventually([this] { return count("WATCHDOG=1") > 5; }));
    EXPECT_EQ(count("STATUS=looking for its cluster"), 1u);
    state = "view 1,\nleader";
    ASSERT_TRUE(eventually([this] { return count("STATUS=view 1, leader") == 1; }));
}

TEST_F(SupervisorTest, HearsThatTheLoopTurnsTwiceInTheSpanThatItAllows) {
    allow_silence(200ms);
    Supervisor supervisor;
    const auto begin = loop_.now();
    supervisor.watch(*env_, [] { return std::string(); });
    ASSERT_TRUE(eventually([this] { return count("WATCHDOG=1") >= 5; }));
    // Timers count in milliseconds, and are not early.
    EXPECT_GE(loop_.now() - begin, 4 * 99ms);
}

TEST_F(SupervisorTest, HearsNothingOfALoopThatHangs) {
    allow_silence(20ms);
    Supervisor supervisor;
    supervisor.watch(*env_, [] { return std::string(); });
    const std::size_t before = count("WATCHDOG=1");
    // This is how a loop looks that does not come back: nothing runs it.
    const auto begin = loop_.now();
    while (loop_.now() - begin < 60ms) continue;
    EXPECT_EQ(count("WATCHDOG=1"), before);
}

TEST_F(SupervisorTest, ThatWatchesAnotherProcessIsToldNothingOfThisOnesLoop) {
    allow_silence(20ms);
    setenv("WATCHDOG_PID", std::to_string(getpid() + 1).c_str(), 1);
    Supervisor supervisor;
    supervisor.watch(*env_, [] { return std::string("here"); });
    ASSERT_TRUE(eventually([this] { return count("STATUS=here") == 1; }));
    EXPECT_THAT(heard(), ::testing::Not(Contains("WATCHDOG=1")));
}

TEST_F(SupervisorTest, IsNotThereForAProcessStartedByHand) {
    unsetenv("NOTIFY_SOCKET");
    Supervisor supervisor;
    supervisor.ready();
    supervisor.watch(*env_, []() -> std::string {
        ADD_FAILURE() << "nobody asks for the state";
        return {};
    });
    supervisor.stopping();
    EXPECT_THAT(heard(), ElementsAre());
}

TEST_F(SupervisorTest, AfterItsEndTheLoopGoesOn) {
    allow_silence(20ms);
    {
        Supervisor supervisor;
        supervisor.watch(*env_, [] { return std::string(); });
    }
    const std::size_t before = count("WATCHDOG=1");
    loop_.run_until([] { return false; }, 60ms);
    EXPECT_EQ(count("WATCHDOG=1"), before);
}

}  // namespace
}  // namespace logstream::process
