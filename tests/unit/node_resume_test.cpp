// A named producer that resumes, on whole clusters: what is missing of what it sent is sent again, what is there is
// not.
#include <gtest/gtest.h>

#include "tests/sim/clients.h"
#include "tests/sim/cluster.h"

namespace logstream::sim {
namespace {

using namespace std::chrono_literals;

// One run of a producer that sends the lines of a file, each a batch.
class Import final : public ClientProcess {
public:
    enum class Mode : std::uint8_t { kAnew, kResume };
    Import(Cluster& cluster, std::uint32_t number, std::string name, Mode mode)
        : ClientProcess(cluster.world(), cluster.transcript(), Endpoint{0x0a010000 + number, 40000},
                        "p" + std::to_string(number)),
          cluster_(cluster) {
        connect();
        client::ProducerOptions options;
        options.topic = "t";
        options.name = std::move(name);
        options.resumes = mode == Mode::kResume;
        options.batch_bytes = 1;
        producer_ = std::make_unique<client::Producer>(*router_, options, [this](const client::BatchReport& report) {
            acknowledged_ += report.outcome ? report.records : 0;
        });
        producer_->start([this](const protocol::Result<void>& ready) { ready_ = ready; });
        cluster.world().run_until([this] { return ready_.has_value(); }, 10s);
    }
    ~Import() override {
        producer_.reset();
        world_.kill(host_);
    }

    const std::optional<protocol::Result<void>>& ready() const { return ready_; }
    void send(const std::string& line) { ASSERT_TRUE(producer_->send({.key = {}, .value = line})); }
    // All lines that are not there, as `producer --resume` does.
    void send_missing(const std::vector<std::string>& file) {
        const client::SentBefore& there = producer_->sent_before(0);
        for (std::size_t i = 0; i < file.size(); ++i)
            if (!there.has(static_cast<std::int64_t>(i))) send(file[i]);
        producer_->flush();
        EXPECT_TRUE(cluster_.world().run_until([this] { return producer_->idle(); }, 10s));
    }
    const client::SentBefore& there() const { return producer_->sent_before(0); }
    std::uint32_t acknowledged() const { return acknowledged_; }

private:
    Cluster& cluster_;
    std::unique_ptr<client::Producer> producer_;
    std::optional<protocol::Result<void>> ready_;
    std::uint32_t acknowledged_{};
};

class Resume : public testing::TestWithParam<std::uint64_t> {
protected:
    enum class Kind : bool { kLog, kTable };
    explicit Resume(Kind kind = Kind::kLog) : cluster_(GetParam(), 3) {
        for (std::size_t i = 0; i < cluster_.size(); ++i) {
            cluster_[i].options().store.max_producers = 4;
            cluster_[i].options().settings.topic_defaults.set_compact(kind == Kind::kTable);
        }
        cluster_.start_all();
        LS_ASSERT(cluster_.wait_for_one_view());
        stream_ = cluster_.make_topic("t");
        LS_ASSERT(cluster_.append_soon(stream_, "first"));
        alone_ = cluster_.owner(stream_)->index();
    }

    // The owner alone gets the next lines of an instance that dies with it; the other two go on without them.
    void send_to_the_owner_alone(const std::string& name, Import::Mode mode, const std::vector<std::string>& lines,
                                 std::size_t already) {
        Import import(cluster_, 1, name, mode);
        ASSERT_TRUE(import.ready() && *import.ready());
        for (std::size_t i = 0; i < already; ++i) import.send(lines[i]);
        ASSERT_TRUE(cluster_.world().run_until([&] { return import.acknowledged() == already; }, 10s));
        cluster_.isolate(alone_);
        const storage::StreamLog& log = *cluster_[alone_].node().core().streams.find(stream_)->log;
        const auto end = log.log_end() + static_cast<std::int64_t>(lines.size() - already);
        for (std::size_t i = already; i < lines.size(); ++i) {
            import.send(lines[i]);
            cluster_.world().run_for(10ms);
        }
        ASSERT_TRUE(cluster_.world().run_until([&] { return log.log_end() == end; }, 200ms));
    }
    void go_on_without() {
        ASSERT_TRUE(cluster_.world().run_until(
            [&] {
                Machine* owner = cluster_.owner(stream_);
                return owner != nullptr && owner->index() != alone_ && !owner->node().refusal();
            },
            5s));
        ASSERT_TRUE(cluster_.append_soon(stream_, "elsewhere"));
    }
    // A byte of this record rots on the disk of the one that is alone.
    void rot(const std::string& value) {
        cluster_[alone_].crash(storage::FakeDisk::Crash::kProcess);
        const std::string path = fmt::format("/data/streams/{:016x}-0/{:020}.log", stream_.topic.value, 0);
        const auto content = cluster_[alone_].disk().content(path);
        const auto at = std::ranges::search(content, std::as_bytes(std::span(std::string_view(value))));
        ASSERT_FALSE(at.empty());
        cluster_[alone_].disk().flip(path, static_cast<std::uint64_t>(at.begin() - content.begin()) * 8);
        cluster_[alone_].start();
    }
    void heal() {
        cluster_.world().heal();
        const auto settled = [&] {
            return cluster_.one_view() && cluster_[alone_].store().orphans().streams().empty();
        };
        ASSERT_TRUE(cluster_.world().run_until(settled, 20s));
    }
    // How often each value stands in every log.
    std::map<std::string, int> count() {
        const auto equal = [&] {
            for (std::size_t i = 1; i < cluster_.size(); ++i)
                if (cluster_.read(i, stream_) != cluster_.read(0, stream_)) return false;
            return true;
        };
        EXPECT_TRUE(cluster_.world().run_until(equal, 5s));
        std::map<std::string, int> out;
        for (const auto& [offset, value] : cluster_.read(0, stream_)) ++out[value];
        return out;
    }
    static std::vector<std::string> lines(int count, const std::string& what = "line") {
        std::vector<std::string> out;
        for (int i = 0; i < count; ++i) out.push_back(fmt::format("{} {:03}", what, i));
        return out;
    }

    Cluster cluster_;
    protocol::StreamId stream_;
    std::size_t alone_{};
};
INSTANTIATE_TEST_SUITE_P(Node, Resume, testing::Range<std::uint64_t>(1, 6));

// Of five that only the owner had, one is lost to damage and the others come back: there is a hole.
TEST_P(Resume, SendsWhatIsMissingInTheMiddle) {
    const auto file = lines(12);
    send_to_the_owner_alone("import", Import::Mode::kResume, {file.begin(), file.begin() + 8}, 3);
    go_on_without();
    rot(file[5]);
    heal();
    ASSERT_EQ(count()[file[5]], 0);
    {
        Import import(cluster_, 2, "import", Import::Mode::kResume);
        ASSERT_TRUE(import.ready() && *import.ready());
        EXPECT_EQ(import.there().count(), 8);
        EXPECT_EQ(import.there().missing, (std::vector<client::SequenceRange>{{5, 5}}));
        import.send_missing(file);
    }
    auto found = count();
    for (const std::string& line : file) EXPECT_EQ(found[line], 1) << line;
    Import again(cluster_, 3, "import", Import::Mode::kResume);
    EXPECT_EQ(again.there().count(), 12);
    EXPECT_TRUE(again.there().missing.empty());
    std::uint64_t content = 0;
    for (std::size_t i = 0; i < file.size(); ++i)
        content += protocol::content_of(static_cast<std::int32_t>(i), std::nullopt, file[i]);
    EXPECT_EQ(again.there().content, content) << "whatever came when";
}

// In a compacted topic nobody can tell a record that was lost from one that a later one replaced.
class ResumeOfATable : public Resume {
protected:
    ResumeOfATable() : Resume(Kind::kTable) {}
};
INSTANTIATE_TEST_SUITE_P(Node, ResumeOfATable, testing::Range<std::uint64_t>(1, 3));
TEST_P(ResumeOfATable, IsRefusedWhenSomethingIsMissing) {
    const auto file = lines(8);
    send_to_the_owner_alone("import", Import::Mode::kResume, file, 3);
    go_on_without();
    rot(file[5]);
    heal();
    ASSERT_EQ(count()[file[5]], 0);
    Import import(cluster_, 2, "import", Import::Mode::kResume);
    ASSERT_TRUE(import.ready());
    ASSERT_FALSE(*import.ready());
    EXPECT_EQ(import.ready()->error().code, protocol::ErrorCode::kInvalid);
    EXPECT_NE(import.ready()->error().message.find("(the topic is compacted)"), std::string::npos)
        << import.ready()->error().message;
}

// Nobody remembers this producer when its orphans come back. The log tells that one between did not send them again.
TEST_P(Resume, OrphansOfSomethingElseComeBackThoughAllIsForgotten) {
    const auto old_file = lines(5, "old");
    const auto new_file = lines(5, "new");
    send_to_the_owner_alone("import", Import::Mode::kAnew, old_file, 0);
    go_on_without();
    Import(cluster_, 2, "import", Import::Mode::kAnew).send_missing({new_file.begin(), new_file.begin() + 3});
    Import(cluster_, 3, "import", Import::Mode::kResume).send_missing(new_file);
    for (std::uint32_t other = 0; other < 6; ++other)
        Import(cluster_, 10 + other, fmt::format("other {}", other), Import::Mode::kAnew).send_missing({"x"});
    heal();
    auto found = count();
    for (const std::string& line : old_file) EXPECT_EQ(found[line], 1) << line;
    for (const std::string& line : new_file) EXPECT_EQ(found[line], 1) << line;
}

TEST_P(Resume, OrphansThatWereSentAgainStandOnceThoughAllIsForgotten) {
    const auto file = lines(6);
    send_to_the_owner_alone("import", Import::Mode::kResume, file, 2);
    go_on_without();
    Import(cluster_, 2, "import", Import::Mode::kResume).send_missing(file);
    for (std::uint32_t other = 0; other < 6; ++other)
        Import(cluster_, 10 + other, fmt::format("other {}", other), Import::Mode::kAnew).send_missing({"x"});
    heal();
    auto found = count();
    for (const std::string& line : file) EXPECT_EQ(found[line], 1) << line;
}

// The same name, after all was forgotten: its numbers begin again, and are not those of the first life.
TEST_P(Resume, OrphansOfAnEarlierLifeOfANameComeBack) {
    const auto old_file = lines(4, "old");
    const auto new_file = lines(4, "new");
    send_to_the_owner_alone("import", Import::Mode::kAnew, old_file, 0);
    go_on_without();
    for (std::uint32_t other = 0; other < 6; ++other)
        Import(cluster_, 10 + other, fmt::format("other {}", other), Import::Mode::kAnew).send_missing({"x"});
    Import(cluster_, 2, "import", Import::Mode::kAnew).send_missing(new_file);
    heal();
    auto found = count();
    for (const std::string& line : old_file) EXPECT_EQ(found[line], 1) << line;
    for (const std::string& line : new_file) EXPECT_EQ(found[line], 1) << line;
}

}  // namespace
}  // namespace logstream::sim
