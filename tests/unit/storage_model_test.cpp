// The store against a model that is obviously right: a vector of batches per stream. Random appends, flushes, reads,
// cuts, retention, clean stops and crashes on a fake disk; whatever a crash leaves must be a beginning of what was
// appended, no shorter than what was acknowledged, with the tables that its batches make.
#include <algorithm>
#include <map>
#include <random>

#include "internal/storage/entry.h"
#include "internal/storage/orphan_file.h"
#include "tests/unit/storage_testing.h"

namespace logstream::storage {
namespace {

struct ModelBatch {
    BatchInfo info;
    Bytes bytes;
};

struct ModelStream {
    Offset start;                     // log_start
    LogTables at_start;               // tables there
    std::vector<ModelBatch> batches;  // [start, end)
    Offset acknowledged;              // a flush that called back covers it
    std::optional<Offset> cutting;    // a truncate that has not called back
    bool resetting{false};
    int cuts{0};  // a flush that began before the last one says nothing

    Offset end() const { return batches.empty() ? start : batches.back().info.next; }
};

class ModelRun {
public:
    ModelRun(std::uint64_t seed, FsyncPolicy policy) : random_(seed), disk_(seed * 31 + 1) {
        options_.dir = "/data";
        options_.fsync = policy;
        options_.segment_bytes = 200 + draw(3000);
        options_.index_interval_bytes = static_cast<std::uint32_t>(50 + draw(500));
        options_.snapshot_bytes = 300 + draw(4000);
        options_.cache_bytes = draw(3000);
        options_.group_bytes = 200 + draw(3000);
        options_.max_producers = 3;
    }

    void go(int steps) {
        open();
        for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) step();
        if (!::testing::Test::HasFailure()) crash(draw(2) == 0 ? FakeDisk::Crash::kMachine : FakeDisk::Crash::kProcess);
    }

private:
    std::uint64_t draw(std::uint64_t below) { return below == 0 ? 0 : random_() % below; }
    StreamId stream() { return {protocol::TopicId{100 + draw(3)}, 0}; }

    void open() {
        auto store = Store::open(disk_, options_, quiet());
        ASSERT_TRUE(store) << store.error().message;
        store_ = std::move(*store);
        ++life_;
    }

    void step() {
        switch (draw(20)) {
            case 0:
            case 1:
            case 2:
            case 3:
            case 4:
            case 5:
                return append();
            case 6:
            case 7:
                return flush();
            case 8:
            case 9:
                return read();
            case 10:
                return truncate();
            case 11:
                return retain();
            case 12:
                if (draw(4) == 0) return reset();
                return;
            case 13:
                if (draw(8) == 0) return crash(FakeDisk::Crash::kMachine);
                return;
            case 14:
                if (draw(8) == 0) return crash(FakeDisk::Crash::kProcess);
                return;
            case 15:
                if (draw(8) == 0) return close();
                return;
            case 16:
                now_ += std::chrono::milliseconds(draw(2000));
                return store_->tick(now_);
            case 17:
                return save_state();
            default:
                for (std::uint64_t i = draw(10); i-- > 0;) disk_.step_any();
        }
    }

    ModelStream fresh() const {
        ModelStream m;
        m.at_start = LogTables(TableLimits{options_.max_producers, options_.max_orphan_keys});
        return m;
    }

    StreamLog* log(StreamId id) {
        auto found = store_->create(id);
        EXPECT_TRUE(found);
        if (!model_.contains(id)) model_[id] = fresh();
        return *found;
    }

    void append() {
        const StreamId id = stream();
        StreamLog* l = log(id);
        ModelStream& m = model_[id];
        std::vector<Bytes> parts;
        std::vector<ModelBatch> batches;
        Offset at = m.end();
        for (std::uint64_t i = 1 + draw(3); i-- > 0;) {
            if (draw(10) == 0) ++view_;
            BatchSpec spec{at,
                           ViewNumber(view_),
                           1 + static_cast<int>(draw(4)),
                           std::string(draw(100), 'x') + std::to_string(random_()),
                           {},
                           1000};
            if (draw(2) == 0) {
                const auto producer = static_cast<std::int64_t>(1 + draw(5));
                auto& [epoch, sequence] = producers_[producer];
                if (draw(8) == 0) {
                    ++epoch;
                    sequence = 0;
                }
                if (draw(8) == 0) sequence += 3;  // a gap
                spec.producer = {ProducerId(producer), epoch, sequence, 0};
                sequence += spec.records;
            }
            Bytes bytes = make_batch(spec);
            const auto parsed = parse_batches(bytes);
            batches.push_back({parsed->front().info, bytes});
            at = batches.back().info.next;
            parts.push_back(std::move(bytes));
        }
        const Result<void> result = l->append(concat(parts), kAppended);
        if (m.cutting || m.resetting) {
            ASSERT_FALSE(result);
            ASSERT_EQ(result.error().code, ErrorCode::kBusy);
            return;
        }
        ASSERT_TRUE(result) << result.error().message;
        for (ModelBatch& batch : batches) m.batches.push_back(std::move(batch));
        ASSERT_EQ(l->log_end(), m.end());
        std::int64_t ends = 0;
        for (StreamId each : store_->streams()) ends += store_->find(each)->log_end().value;
        ASSERT_EQ(store_->log_end_total(), ends);
    }

    void flush() {
        std::map<StreamId, std::pair<Offset, int>> ends;
        for (auto& [id, m] : model_) {
            if (!m.cutting && !m.resetting && store_->find(id) != nullptr) ends[id] = {m.end(), m.cuts};
        }
        store_->flush([this, ends, life = life_](Result<void> result) {
            ASSERT_EQ(life, life_);
            ASSERT_TRUE(result) << result.error().message;
            for (const auto& [id, then] : ends) {
                const auto& [end, cuts] = then;
                ModelStream& m = model_[id];
                if (m.cuts != cuts) continue;
                m.acknowledged = std::max(m.acknowledged, end);
                const StreamLog* l = store_->find(id);
                ASSERT_NE(l, nullptr);
                ASSERT_GE(l->durable_end(), end);
            }
        });
    }

    void read() {
        const StreamId id = stream();
        StreamLog* l = log(id);
        ModelStream& m = model_[id];
        if (m.resetting) return;
        const Offset from =
            m.start + static_cast<std::int64_t>(draw(static_cast<std::uint64_t>(m.end() - m.start) + 2));
        const Offset limit =
            m.start + static_cast<std::int64_t>(draw(static_cast<std::uint64_t>(m.end() - m.start) + 5));
        l->read(from, limit, draw(2000), [this, id, from, limit](Result<Batches> result) {
            ModelStream& now = model_[id];
            if (!result) {
                ASSERT_EQ(result.error().code, ErrorCode::kOffsetOutOfRange) << result.error().message;
                ASSERT_TRUE(from < store_->find(id)->log_start() || from > store_->find(id)->log_end());
                return;
            }
            auto at = std::ranges::find_if(now.batches, [from](const ModelBatch& b) { return b.info.next > from; });
            if (result->empty()) {
                // Truncating, the log may already be shorter than the model.
                const bool none = at == now.batches.end() || from >= limit || at->info.next > limit || now.cutting;
                ASSERT_TRUE(none) << "from " << from.value << " limit " << limit.value;
            }
            for (const Bytes& batch : *result) {
                ASSERT_TRUE(at != now.batches.end());
                ASSERT_LE(at->info.next, limit);
                ASSERT_TRUE(same_bytes(batch, at->bytes)) << "at " << at->info.base.value;
                ++at;
            }
        });
    }

    void truncate() {
        const StreamId id = stream();
        StreamLog* l = log(id);
        ModelStream& m = model_[id];
        if (m.cutting || m.resetting) return;
        const std::size_t back = draw(std::min<std::size_t>(m.batches.size(), draw(4) == 0 ? 1000 : 6) + 1);
        const Offset to = back == 0 ? m.end() : m.batches[m.batches.size() - back].info.base;
        m.cutting = to;
        ++m.cuts;
        l->truncate(to, [this, id, to, life = life_](Result<void> result) {
            ASSERT_EQ(life, life_);
            ASSERT_TRUE(result) << result.error().message;
            ModelStream& now = model_[id];
            cut(now, to);
            now.cutting.reset();
            now.acknowledged = to;
            verify_tables(id);
        });
    }

    static void cut(ModelStream& m, Offset to) {
        while (!m.batches.empty() && m.batches.back().info.base >= to) m.batches.pop_back();
    }

    void retain() {
        const StreamId id = stream();
        StreamLog* l = log(id);
        ModelStream& m = model_[id];
        if (m.cutting || m.resetting) return;
        l->settle(m.acknowledged);
        RetainLimits limits{.max_bytes = draw(10000)};
        if (draw(2) == 0) {
            const auto now_ms = kAppended + static_cast<std::int64_t>(draw(3000));
            limits = {.clock = WallClock{now_ms, TimePoint{std::chrono::milliseconds(now_ms)}},
                      .keep_ms = 1000,
                      .roll_after_ms = 500};
        }
        l->retain(m.acknowledged, limits);
        drop_front(m, l->log_start());
    }

    void drop_front(ModelStream& m, Offset start) {
        ASSERT_LE(start, std::max(m.acknowledged, m.start));
        while (!m.batches.empty() && m.batches.front().info.next <= start) {
            m.at_start.apply(m.batches.front().info);
            m.batches.erase(m.batches.begin());
        }
        m.start = start;
    }

    void reset() {
        const StreamId id = stream();
        StreamLog* l = log(id);
        ModelStream& m = model_[id];
        if (m.cutting || m.resetting) return;
        const Offset start = m.end() + static_cast<std::int64_t>(draw(100));
        ByteWriter tables;
        tables_of(m).encode(tables);
        m.resetting = true;
        ++m.cuts;
        l->reset(start, tables.take(), [this, id, start](Result<void> result) {
            ASSERT_TRUE(result) << result.error().message;
            ModelStream& now = model_[id];
            now.at_start = tables_of(now);
            now.batches.clear();
            now.start = now.acknowledged = start;
            now.resetting = false;
            verify_tables(id);
        });
    }

    void save_state() {
        const auto text = std::to_string(random_());
        saving_.push_back(text);
        store_->save_state(Bytes::copy_of(text), [this, text](Result<void> result) {
            ASSERT_TRUE(result);
            while (!saving_.empty() && saving_.front() != text) saving_.erase(saving_.begin());
        });
    }

    LogTables tables_of(const ModelStream& m) const {
        LogTables tables(TableLimits{options_.max_producers, options_.max_orphan_keys});
        ByteWriter encoded;
        m.at_start.encode(encoded);
        const Bytes bytes = encoded.take();
        ByteReader in(bytes.span());
        EXPECT_TRUE(tables.decode(in));
        for (const ModelBatch& batch : m.batches) tables.apply(batch.info);
        return tables;
    }

    void verify_tables(StreamId id) {
        const StreamLog* l = store_->find(id);
        const LogTables tables = tables_of(model_[id]);
        ASSERT_EQ(l->epochs(), tables.epochs);
        ASSERT_EQ(l->producers(), tables.producers);
    }

    void close() {
        bool closed = false;
        store_->close([&](Result<void> result) {
            ASSERT_TRUE(result);
            closed = true;
        });
        disk_.run();
        ASSERT_TRUE(closed);
        for (auto& [id, m] : model_) {
            ASSERT_FALSE(m.cutting || m.resetting);
            m.acknowledged = m.end();
        }
        store_.reset();
        disk_.stop();
        open();
        ASSERT_EQ(store_->last_stop(), LastStop::kClean);
        verify_recovered(false);
    }

    void crash(FakeDisk::Crash kind) {
        store_.reset();
        disk_.crash(kind);
        open();
        verify_recovered(kind == FakeDisk::Crash::kMachine && options_.fsync != FsyncPolicy::kGroup);
    }

    void verify_recovered(bool may_lose) {
        ASSERT_FALSE(store_->damaged());
        for (auto& [id, m] : model_) {
            StreamLog* l = store_->find(id);
            if (l == nullptr) {
                // It was made and not flushed, or reset and is new again.
                ASSERT_TRUE(may_lose || m.acknowledged == Offset(0) || m.resetting);
                m = fresh();
                continue;
            }
            recover_model(id, *l, m, may_lose);
            if (::testing::Test::HasFailure()) return;
            verify_tables(id);
            verify_content(*l, m);
        }
        if (!saving_.empty() && store_->state()) {
            const std::string text(store_->state()->view());
            while (!saving_.empty() && saving_.front() != text) saving_.erase(saving_.begin());
            ASSERT_FALSE(saving_.empty()) << "an older state came back";
        }
        ASSERT_TRUE(!store_->state_damaged() || !store_->state()) << "torn state";
    }

    void recover_model(StreamId id, StreamLog& l, ModelStream& m, bool may_lose) {
        if (m.resetting) {
            if (l.log_start() > m.end() || (l.log_start() == m.end() && l.log_end() == l.log_start())) {
                const LogTables tables = tables_of(m);
                m = fresh();
                m.at_start = tables;
                m.start = m.acknowledged = l.log_start();
                return;
            }
            if (l.log_start() == Offset(0) && l.log_end() == Offset(0)) {
                m = fresh();
                return;
            }
        }
        const Offset least = m.resetting ? m.start : m.cutting ? std::min(*m.cutting, m.acknowledged) : m.acknowledged;
        ASSERT_TRUE(may_lose || l.log_end() >= least)
            << to_string(id) << ": " << l.log_end().value << " of " << least.value;
        ASSERT_LE(l.log_end(), m.end());
        if (may_lose && l.log_end() < m.start) {
            m = fresh();  // all of it was new
            return;
        }
        // Retention that was not flushed may be undone.
        ASSERT_TRUE(l.log_start() <= m.start || may_lose);
        if (l.log_start() < m.start) return forget(l, m);
        cut(m, l.log_end());
        ASSERT_EQ(m.end(), l.log_end()) << "a batch was torn";
        m.acknowledged = l.durable_end();
        ASSERT_EQ(l.durable_end(), l.log_end());
        m.cutting.reset();
        m.resetting = false;
    }

    // Segments that retention dropped came back: take them over from the log, it was checked when they were written.
    void forget(StreamLog& l, ModelStream& m) {
        cut(m, l.log_end());
        ASSERT_EQ(m.end(), l.log_end());
        std::optional<Result<StreamLog::StartTables>> found;
        l.start_tables([&](Result<StreamLog::StartTables> tables) { found = std::move(tables); });
        disk_.run();
        ASSERT_TRUE(found && *found);
        m.at_start = LogTables(TableLimits{options_.max_producers, options_.max_orphan_keys});
        ByteReader in((*found)->tables.span());
        ASSERT_TRUE(m.at_start.decode(in));
        const std::vector<Bytes> old = contents(l, l.log_start(), m.start);
        std::vector<ModelBatch> front;
        for (const Bytes& bytes : old) front.push_back({parse_batches(bytes)->front().info, bytes});
        m.batches.insert(m.batches.begin(), front.begin(), front.end());
        m.start = l.log_start();
        m.acknowledged = l.log_end();
        m.cutting.reset();
        m.resetting = false;
    }

    std::vector<Bytes> contents(StreamLog& l, Offset from, Offset to) {
        std::vector<Bytes> all;
        while (from < to) {
            std::unique_ptr<Result<Batches>> result;
            l.read(from, to, 1u << 16,
                   [&](Result<Batches> r) { result = std::make_unique<Result<Batches>>(std::move(r)); });
            disk_.run();
            EXPECT_TRUE(result && *result) << (result ? result->error().message : "no answer");
            if (!result || !*result || (*result)->empty()) {
                ADD_FAILURE() << "nothing read at " << from.value;
                break;
            }
            for (const Bytes& batch : **result) {
                all.push_back(batch);
                from = protocol::BatchView::parse(batch)->next_offset();
            }
        }
        return all;
    }

    void verify_content(StreamLog& l, const ModelStream& m) {
        const std::vector<Bytes> all = contents(l, m.start, m.end());
        ASSERT_EQ(all.size(), m.batches.size());
        for (std::size_t i = 0; i < all.size(); ++i) ASSERT_TRUE(same_bytes(all[i], m.batches[i].bytes));
    }

    std::mt19937_64 random_;
    FakeDisk disk_;
    StoreOptions options_;
    std::unique_ptr<Store> store_;
    std::map<StreamId, ModelStream> model_;
    std::map<std::int64_t, std::pair<std::int16_t, std::int32_t>> producers_;
    std::vector<std::string> saving_;  // the last one known to be saved, and those after it
    std::uint64_t view_{1};
    TimePoint now_{};
    int life_{0};
};

class StorageModelTest : public ::testing::TestWithParam<FsyncPolicy> {};

TEST_P(StorageModelTest, WhatACrashLeavesIsWhatWasAppended) {
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        ModelRun(seed, GetParam()).go(300);
        if (HasFailure()) return;
    }
}

INSTANTIATE_TEST_SUITE_P(Policies, StorageModelTest,
                         ::testing::Values(FsyncPolicy::kGroup, FsyncPolicy::kInterval, FsyncPolicy::kNever));

}  // namespace
}  // namespace logstream::storage
