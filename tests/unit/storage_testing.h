// What the storage tests share: batches, a store on a fake disk, waiting for callbacks.
#pragma once

#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "internal/protocol/record_batch.h"
#include "internal/storage/fake_disk.h"
#include "internal/storage/store.h"

namespace logstream::storage {

inline constexpr StreamId kStream{protocol::TopicId{0x1234}, 0};
inline const std::string kDir = "/data/streams/0000000000001234-0";  // of that stream
inline const std::string kSegment = kDir + "/00000000000000000000.log";
inline constexpr std::int64_t kAppended = 5000;  // ms since 1970, where a test does not care

struct BatchSpec {
    Offset base;
    ViewNumber view{1};
    int records{1};
    std::string value{"value"};
    ProducerBatch producer{};
    std::int64_t timestamp_ms{1000};
};

inline Bytes make_batch(const BatchSpec& spec) {
    protocol::BatchBuilder builder(
        {protocol::Codec::kNone, spec.producer.producer, spec.producer.epoch, spec.producer.base_sequence});
    for (int i = 0; i < spec.records; ++i) {
        builder.add(spec.timestamp_ms, std::nullopt, spec.value + std::to_string(spec.base.value + i));
    }
    Bytes batch = *builder.finish();
    protocol::assign(batch, spec.base, spec.view);
    return batch;
}

inline Bytes concat(const std::vector<Bytes>& parts) {
    std::vector<std::byte> all;
    for (const Bytes& part : parts) all.insert(all.end(), part.span().begin(), part.span().end());
    return Bytes::copy_of(all);
}

inline spdlog::logger& quiet() {
    static spdlog::logger logger("test", std::make_shared<spdlog::sinks::null_sink_mt>());
    return logger;
}

// A store on a fake disk, with calls that run the disk until their callback has come.
class StoreFixture : public ::testing::Test {
protected:
    StoreOptions options_ = [] {
        StoreOptions options;
        options.dir = "/data";
        return options;
    }();
    FakeDisk disk_{1};
    std::unique_ptr<Store> store_;

    void open() {
        store_.reset();
        auto store = Store::open(disk_, options_, quiet());
        ASSERT_TRUE(store) << store.error().message;
        store_ = std::move(*store);
    }
    void crash(FakeDisk::Crash kind) {
        store_.reset();
        disk_.crash(kind);
    }
    void reopen_after(FakeDisk::Crash kind) {
        crash(kind);
        open();
    }
    void close() {
        ASSERT_TRUE(await([this](FlushCallback done) { store_->close(std::move(done)); }));
        crash(FakeDisk::Crash::kProcess);
    }
    Result<void> save_state(std::string_view text) {
        return await([&](FlushCallback done) { store_->save_state(Bytes::copy_of(text), std::move(done)); });
    }
    StreamLog& log(StreamId stream = kStream) {
        auto log = store_->create(stream);
        LS_ASSERT(log.has_value());
        return **log;
    }
    template <class Start>
    Result<void> await(Start start) {
        std::optional<Result<void>> result;
        start([&result](Result<void> r) { result = std::move(r); });
        disk_.run();
        if (!result) return protocol::fail(ErrorCode::kTimeout, "the callback never came");
        return *result;
    }
    Result<void> flush() {
        return await([this](FlushCallback done) { store_->flush(std::move(done)); });
    }
    Result<void> truncate(StreamLog& l, std::int64_t to) {
        return await([&](FlushCallback done) { l.truncate(Offset(to), std::move(done)); });
    }
    Result<StreamLog::StartTables> start_tables(StreamLog& l) {
        std::optional<Result<StreamLog::StartTables>> result;
        l.start_tables([&result](Result<StreamLog::StartTables> found) { result = std::move(found); });
        disk_.run();
        if (!result) return protocol::fail(ErrorCode::kTimeout, "the callback never came");
        return *std::move(result);
    }
    Result<Batches> read(StreamLog& l, std::int64_t from, std::optional<std::int64_t> limit = {},
                         std::size_t max_bytes = 1u << 20) {
        // Not an optional: GCC 12 takes its moves for uses of uninitialised memory.
        std::unique_ptr<Result<Batches>> result;
        l.read(Offset(from), limit ? Offset(*limit) : l.log_end(), max_bytes,
               [&result](Result<Batches> r) { result = std::make_unique<Result<Batches>>(std::move(r)); });
        disk_.run();
        if (!result) return protocol::fail(ErrorCode::kTimeout, "the callback never came");
        return std::move(*result);
    }
    // Everything in [from, log_end), one batch each.
    Result<Batches> read_all(StreamLog& l, std::optional<std::int64_t> from = {}) {
        Batches all;
        Offset at = from ? Offset(*from) : l.log_start();
        while (at < l.log_end()) {
            auto some = read(l, at.value);
            if (!some) return some;
            if (some->empty()) return protocol::fail(ErrorCode::kUnknown, "no progress at {}", at);
            for (Bytes& batch : *some) all.push_back(std::move(batch));
            at = protocol::BatchView::parse(all.back())->next_offset();
        }
        return all;
    }
    // Appends `count` batches of one record each.
    void append(StreamLog& l, int count, ViewNumber view = ViewNumber(1), const std::string& value = "value") {
        for (int i = 0; i < count; ++i) {
            auto ok = l.append(make_batch({l.log_end(), view, 1, value, {}, 1000 + l.log_end().value}), kAppended);
            ASSERT_TRUE(ok) << ok.error().message;
        }
    }
};

inline bool same_bytes(const Bytes& a, const Bytes& b) { return a.view() == b.view(); }

}  // namespace logstream::storage
