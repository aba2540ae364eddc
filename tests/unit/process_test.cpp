// What a program owes its surroundings, each in a process of its own.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/logger.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "internal/process/console_log.h"
#include "internal/process/log_file.h"
#include "internal/process/priority.h"
#include "internal/process/standard_streams.h"

namespace logstream::process {
namespace {

// The exit code of a child that runs `body`.
int in_a_child(const std::function<int()>& body) {
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) std::_Exit(body());
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void stdout_to(const char* path) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, STDOUT_FILENO);
    close(fd);
}

TEST(StandardStreams, ClosedOnesAreTakenSoThatNothingElseGetsTheirNumbers) {
    for (const int closed : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        EXPECT_EQ(in_a_child([closed] {
                      close(closed);
                      open_standard_streams();
                      return open("/dev/null", O_RDONLY) > STDERR_FILENO ? 0 : 1;
                  }),
                  0)
            << closed;
}

TEST(StandardStreams, ClosedOnesFailAsClosedOnesDo) {
    EXPECT_EQ(in_a_child([] {
                  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) close(fd);
                  open_standard_streams();
                  char byte = 0;
                  const bool reads = read(STDIN_FILENO, &byte, 1) >= 0 || errno != EBADF;
                  const bool writes = write(STDOUT_FILENO, &byte, 1) >= 0 || errno != EBADF;
                  return reads || writes ? 1 : 0;
              }),
              0);
}

TEST(StandardStreams, OpenOnesStayAsTheyAre) {
    EXPECT_EQ(in_a_child([] {
                  open_standard_streams();
                  std::printf("x");
                  return finish_output("test", 0);
              }),
              0);
}

bool may_take_precedence() {
    return in_a_child([] { return setpriority(PRIO_PROCESS, 0, -10); }) == 0;
}

TEST(Precedence, IsTakenWhereItIsAllowed) {
    const bool allowed = may_take_precedence();
    if (!allowed && getpriority(PRIO_PROCESS, 0) != 0) GTEST_SKIP() << "the tests run with another nice value";
    const Precedence expected = allowed ? Precedence::kTaken : Precedence::kNotPermitted;
    EXPECT_EQ(in_a_child([=] {
                  if (allowed) setpriority(PRIO_PROCESS, 0, 0);
                  if (take_precedence() != expected) return 100;
                  return 20 + getpriority(PRIO_PROCESS, 0);
              }),
              allowed ? 10 : 20);
}

TEST(Precedence, IsLeftAsTheCallerGaveIt) {
    const int other = getpriority(PRIO_PROCESS, 0) + 1;
    if (other == 0 || other > 19) GTEST_SKIP() << "there is no lower priority that could be told apart";
    EXPECT_EQ(in_a_child([=] {
                  setpriority(PRIO_PROCESS, 0, other);
                  if (take_precedence() != Precedence::kLeft) return 100;
                  return 20 + getpriority(PRIO_PROCESS, 0);
              }),
              20 + other);
}

// The kernel's words for the caller's session, as "/autogroup-25 nice -10".
bool session_is_raised() {
    std::ifstream file("/proc/self/autogroup");
    std::string group;
    std::string nice;
    int value = 0;
    return file >> group >> nice >> value && value == -10;
}

TEST(Precedence, RaisesASessionOfItsOwnAndNoOther) {
    if (!may_take_precedence() || !std::filesystem::exists("/proc/self/autogroup"))
        GTEST_SKIP() << "not permitted, or a kernel that does not group tasks by session";
    const auto raised = [](bool leads) {
        return in_a_child([=] {
            setsid();
            const auto look = [] {
                setpriority(PRIO_PROCESS, 0, 0);
                take_precedence();
                return session_is_raised() ? 1 : 0;
            };
            return leads ? look() : in_a_child(look);
        });
    };
    EXPECT_EQ(raised(true), 1);
    EXPECT_EQ(raised(false), 0);
}

TEST(Output, ThatCouldNotBeWrittenIsAFailure) {
    const auto ends_with = [](const char* path, int exit_code) {
        return in_a_child([=] {
            stdout_to(path);
            std::printf("something\n");
            return finish_output("test", exit_code);
        });
    };
    EXPECT_EQ(ends_with("/dev/full", 0), 1);
    EXPECT_EQ(ends_with("/dev/full", 2), 2);
    EXPECT_EQ(ends_with("/dev/null", 0), 0);
}

TEST(Output, ThatFailedBeforeTheEndIsAFailure) {
    EXPECT_EQ(in_a_child([] {
                  stdout_to("/dev/full");
                  std::printf("something\n");
                  std::fflush(stdout);
                  return finish_output("test", 0);
              }),
              1);
}

TEST(Output, ThatNobodyReadsAnyMoreIsNone) {
    EXPECT_EQ(in_a_child([] {
                  std::signal(SIGPIPE, SIG_IGN);
                  int ends[2];
                  if (pipe(ends) != 0) return 3;
                  close(ends[0]);
                  dup2(ends[1], STDOUT_FILENO);
                  std::printf("something\n");
                  return finish_output("test", 0);
              }),
              0);
}

TEST(Signals, ThatTheCallerIgnoresAreKnown) {
    EXPECT_EQ(in_a_child([] {
                  const bool before = ignores(SIGHUP);
                  std::signal(SIGHUP, SIG_IGN);
                  return !before && ignores(SIGHUP) ? 0 : 1;
              }),
              0);
}

// The reader takes nothing until its end is full; then all, and one line more comes.
TEST(ConsoleLog, DoesNotWaitForAReaderAndSaysWhatIsMissing) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    std::FILE* const stream = fdopen(ends[1], "w");
    ASSERT_NE(stream, nullptr);
    spdlog::logger log("test", std::make_shared<ConsoleLog>(stream));
    log.set_pattern("%v");
    log.flush_on(spdlog::level::info);
    constexpr int kLines = 5000;
    const std::string line(100, 'x');
    for (int i = 0; i < kLines; ++i) log.info("{}", line);

    std::string text;
    const auto take = [&] {
        std::string part(1 << 20, '\0');
        const ssize_t bytes = read(ends[0], part.data(), part.size());
        ASSERT_GT(bytes, 0);
        text.append(part, 0, static_cast<std::size_t>(bytes));
    };
    take();
    log.info("last");
    take();
    fclose(stream);
    close(ends[0]);
    const auto whole = static_cast<int>(std::ranges::count(text, '\n')) - 2;
    EXPECT_GT(whole, 0);
    EXPECT_LT(whole, kLines);
    EXPECT_TRUE(text.ends_with(fmt::format(
        "\nLOG {} lines are missing here: the reader of this stream did not keep up\nlast\n", kLines - whole)))
        << text.substr(text.size() - 200);
}

class LogFiles : public ::testing::Test {
protected:
    void TearDown() override { std::filesystem::remove_all(folder_); }

    spdlog::logger logger_of(const std::shared_ptr<LogFile>& file) {
        spdlog::logger logger("test", file);
        logger.set_pattern("%v");
        logger.flush_on(spdlog::level::info);
        return logger;
    }
    std::string content(const std::string& path) {
        std::ostringstream text;
        text << std::ifstream(path).rdbuf();
        return text.str();
    }

    // Of its own: tests run beside each other.
    const std::string folder_ = [] {
        std::string pattern = ::testing::TempDir() + "process_test.XXXXXX";
        return std::string(mkdtemp(pattern.data()));
    }();
    const std::string path_ = folder_ + "/log";
};

TEST_F(LogFiles, AreOpenedAnewWhereTheyWereMovedAway) {
    auto file = LogFile::open(path_, 1 << 20, 3);
    ASSERT_TRUE(file);
    auto logger = logger_of(*file);
    logger.info("one");
    std::filesystem::rename(path_, path_ + ".moved");
    logger.info("two");
    ASSERT_TRUE((*file)->reopen());
    logger.info("three");
    EXPECT_EQ(content(path_ + ".moved"), "one\ntwo\n");
    EXPECT_EQ(content(path_), "three\n");
}

TEST_F(LogFiles, GoOnWhereTheyCannotBeOpenedAnew) {
    auto file = LogFile::open(path_, 1 << 20, 3);
    ASSERT_TRUE(file);
    auto logger = logger_of(*file);
    std::filesystem::rename(folder_, folder_ + ".moved");
    EXPECT_FALSE((*file)->reopen());
    logger.info("still here");
    EXPECT_EQ(content(folder_ + ".moved/log"), "still here\n");
    std::filesystem::remove_all(folder_ + ".moved");
}

TEST_F(LogFiles, AreNoPipes) {
    ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
    const auto file = LogFile::open(path_, 1 << 20, 3);
    ASSERT_FALSE(file);
    EXPECT_THAT(file.error().message, ::testing::HasSubstr("is not a regular file"));
}

TEST_F(LogFiles, AreRotatedAndTheOldestIsDropped) {
    auto file = LogFile::open(path_, 10, 2);
    ASSERT_TRUE(file);
    auto logger = logger_of(*file);
    for (const char* line : {"line one", "line two", "line 3", "line four"}) logger.info(line);
    EXPECT_EQ(content(path_), "line four\n");
    EXPECT_EQ(content(path_ + ".1"), "line 3\n");
    EXPECT_EQ(content(path_ + ".2"), "line two\n");
    EXPECT_FALSE(std::filesystem::exists(path_ + ".3"));
}

TEST_F(LogFiles, GoOnBehindWhatIsThere) {
    std::ofstream(path_) << "before\n";
    auto file = LogFile::open(path_, 1 << 20, 2);
    ASSERT_TRUE(file);
    logger_of(*file).info("after");
    EXPECT_EQ(content(path_), "before\nafter\n");
    EXPECT_FALSE(LogFile::open(folder_ + "/nowhere/log", 1, 1));
}

}  // namespace
}  // namespace logstream::process
