// Parts of the producer that meet files and pipes of any kind.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "cmd/producer/failed_file.h"
#include "cmd/producer/line_source.h"

namespace logstream::producer {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using State = LineSource::State;

class Files : public ::testing::Test {
protected:
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::string path(std::string_view name) const { return folder_ + "/" + std::string(name); }
    void write(std::string_view name, std::string_view text) { std::ofstream(path(name)) << text; }
    std::string content(std::string_view name) {
        std::ostringstream text;
        text << std::ifstream(path(name)).rdbuf();
        return text.str();
    }
    std::size_t count() const {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
    }

    // Of its own: tests run beside each other.
    const std::string folder_ = [] {
        std::string pattern = ::testing::TempDir() + "producer_test.XXXXXX";
        return std::string(mkdtemp(pattern.data()));
    }();
};

TEST_F(Files, AreTheInputUnderEachOfTheirNames) {
    write("lines", "1\n2\n");
    write("other", "1\n2\n");
    std::filesystem::create_symlink(path("lines"), path("link"));
    std::filesystem::create_hard_link(path("lines"), path("second name"));
    const std::string roundabout = "../" + std::filesystem::path(folder_).filename().string() + "/lines";
    for (const std::string& name : {std::string("lines"), std::string("link"), std::string("second name"), roundabout})
        EXPECT_TRUE(is_input(path(name), path("lines"))) << name;
    EXPECT_TRUE(is_input(path("lines"), path("link")));
    EXPECT_FALSE(is_input(path("other"), path("lines")));
    EXPECT_FALSE(is_input(path("new"), path("lines")));
    EXPECT_FALSE(is_input("/dev/null", "/dev/null"));  // nothing to lose
}

TEST_F(Files, ReadFromStandardInputAreTheInput) {
    write("lines", "1\n");
    const int before = dup(STDIN_FILENO);
    const int fd = open(path("lines").c_str(), O_RDONLY);
    dup2(fd, STDIN_FILENO);
    EXPECT_TRUE(is_input(path("lines"), ""));
    EXPECT_FALSE(is_input(path("new"), ""));
    dup2(before, STDIN_FILENO);
    close(before);
    close(fd);
}

TEST_F(Files, OfFailedRecordsStayAsTheyAreUntilTheEnd) {
    write("failed", "of an earlier run\n");
    {
        auto file = FailedFile::open(path("failed"));
        ASSERT_TRUE(file);
        (*file)->write("unfinished\n");
        EXPECT_EQ(content("failed"), "of an earlier run\n");
    }
    EXPECT_EQ(content("failed"), "of an earlier run\n");
    EXPECT_EQ(count(), 1u) << "a draft stays";
    auto file = FailedFile::open(path("failed"));
    ASSERT_TRUE(file);
    (*file)->write("new\n");
    ASSERT_TRUE((*file)->finish());
    EXPECT_EQ(content("failed"), "new\n");
    EXPECT_EQ(content("failed~"), "of an earlier run\n");
    EXPECT_EQ(count(), 2u);
}

TEST_F(Files, OfFailedRecordsKeepTheirLinkAndMode) {
    write("target", "old");
    std::filesystem::create_symlink(path("target"), path("link"));
    chmod(path("target").c_str(), 0640);
    auto file = FailedFile::open(path("link"));
    ASSERT_TRUE(file);
    (*file)->write("new");
    ASSERT_TRUE((*file)->finish());
    EXPECT_TRUE(std::filesystem::is_symlink(path("link")));
    EXPECT_EQ(content("target"), "new");
    struct stat state{};
    ASSERT_EQ(stat(path("target").c_str(), &state), 0);
    EXPECT_EQ(state.st_mode & 07777, 0640u);
}

TEST_F(Files, OfFailedRecordsThatCannotBeWrittenAreAnError) {
    EXPECT_FALSE(FailedFile::open(path("nowhere/failed")));
    EXPECT_FALSE(FailedFile::open(folder_));
    auto full = FailedFile::open("/dev/full");
    ASSERT_TRUE(full);
    (*full)->write("lost");
    EXPECT_FALSE((*full)->finish());
}

// What a source gives that reads what `write` writes into a pipe: pieces of long lines in brackets.
class Lines : public ::testing::Test {
protected:
    static constexpr std::size_t kMostBytes = 300'000;  // more than a chunk

    Lines() {
        EXPECT_EQ(pipe(ends_), 0);
        source_ = std::make_unique<InputLines>(loop_, ends_[0], kMostBytes, [] {});
    }
    ~Lines() override {
        if (writer_.joinable()) writer_.join();
        source_.reset();
        close(ends_[0]);
    }
    void write_and_close(std::string text) {
        writer_ = std::jthread([this, text = std::move(text)] {
            for (std::size_t at = 0; at < text.size();) {
                const ssize_t size = ::write(ends_[1], text.data() + at, text.size() - at);
                if (size <= 0) break;
                at += static_cast<std::size_t>(size);
            }
            close(ends_[1]);
        });
    }
    LineSource::Next next() {
        LineSource::Next next = source_->next();
        while (next.state == State::kWait) {
            loop_.run_until([] { return false; }, 1ms);
            next = source_->next();
        }
        return next;
    }

    net::Loop loop_;
    int ends_[2]{};
    std::unique_ptr<InputLines> source_;
    std::jthread writer_;
};

TEST_F(Lines, OfAnyLengthUpToTheLimitAreWhole) {
    const std::string longest(kMostBytes, 'x');
    write_and_close("a\n\n" + longest + "\nlast");
    for (const auto& line : {"a"s, ""s, longest, "last"s}) {
        const auto found = next();
        EXPECT_EQ(found.state, State::kLine);
        EXPECT_EQ(found.line, line);
    }
    EXPECT_EQ(next().state, State::kEnd);
}

TEST_F(Lines, BeyondTheLimitComeInPiecesThatFitInIt) {
    const std::string line(3'000'000, 'x');
    write_and_close("before\n" + line + "\nafter\n" + line);
    EXPECT_EQ(next().line, "before");
    for (const bool at_end : {false, true}) {
        std::string whole;
        auto piece = next();
        for (; piece.state == State::kPiece; piece = next()) {
            EXPECT_LE(piece.line.size(), kMostBytes + runtime::InputReader::kChunkBytes);
            whole += piece.line;
        }
        EXPECT_EQ(piece.state, State::kLastPiece);
        whole += piece.line;
        EXPECT_EQ(whole, line);
        if (at_end) continue;
        const auto after = next();
        EXPECT_EQ(after.state, State::kLine);
        EXPECT_EQ(after.line, "after");
    }
    EXPECT_EQ(next().state, State::kEnd);
}

TEST_F(Lines, ThatAnInterruptCutsOffAreCounted) {
    ASSERT_EQ(::write(ends_[1], "whole\nhalf", 10), 10);
    EXPECT_EQ(next().line, "whole");
    source_->stop();
    EXPECT_EQ(next().state, State::kEnd);
    EXPECT_EQ(source_->cut_off_bytes(), 4u);
    close(ends_[1]);
}

}  // namespace
}  // namespace logstream::producer
