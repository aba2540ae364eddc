// The log on this machine's disk: appends that are flushed, and fetches from memory and from the files.
//
// The folder is where TMPDIR says.
#include <benchmark/benchmark.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>

#include "internal/protocol/record_batch.h"
#include "internal/storage/posix_disk.h"
#include "internal/storage/store.h"

namespace {

using namespace logstream::storage;
using logstream::protocol::Bytes;
using logstream::protocol::Offset;
using logstream::protocol::ViewNumber;

constexpr std::size_t kBatchBytes = 256 << 10;
constexpr std::int64_t kRecordBytes = 1024;

// Runs what the disk's threads hand back.
class Loop {
public:
    void post(std::move_only_function<void()> task) {
        {
            const std::lock_guard lock(mutex_);
            tasks_.push_back(std::move(task));
        }
        wake_.notify_one();
    }
    template <class Done>
    void run_until(Done done) {
        while (!done()) {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return !tasks_.empty(); });
            auto task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            task();
        }
    }

private:
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::move_only_function<void()>> tasks_;
};

// A store with one stream in a folder of its own.
class Log {
public:
    explicit Log(std::uint64_t cache_bytes) {
        std::string pattern = std::filesystem::temp_directory_path() / "logstream-parts-XXXXXX";
        dir_ = mkdtemp(pattern.data());
        StoreOptions options;
        options.dir = dir_;
        options.cache_bytes = cache_bytes;
        store_ = std::move(*Store::open(disk_, options, log_));
        stream_ = *store_->create({logstream::protocol::TopicId{1}, 0});
    }
    ~Log() {
        store_.reset();
        std::filesystem::remove_all(dir_);
    }
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    StreamLog& stream() { return *stream_; }
    void append(const Bytes& records) {
        Bytes batch = Bytes::copy_of(records.span());  // the log fills in where it stands, and keeps it
        logstream::protocol::assign(batch, stream_->log_end(), ViewNumber{1});
        if (!stream_->append(std::move(batch), 1)) std::abort();
    }
    void flush() {
        bool done = false;
        store_->flush([&done](const auto&) { done = true; });
        loop_.run_until([&done] { return done; });
    }
    std::size_t read(Offset from) {
        std::size_t bytes = 0;
        bool done = false;
        stream_->read(from, stream_->log_end(), kBatchBytes, [&](const auto& batches) {
            for (const Bytes& batch : *batches) bytes += batch.size();
            done = true;
        });
        loop_.run_until([&done] { return done; });
        return bytes;
    }

private:
    std::string dir_;
    spdlog::logger log_{"parts", std::make_shared<spdlog::sinks::null_sink_mt>()};
    Loop loop_;
    PosixDisk disk_{[this](std::move_only_function<void()> task) { loop_.post(std::move(task)); }};
    std::unique_ptr<Store> store_;
    StreamLog* stream_{};
};

Bytes batch_of(std::size_t bytes) {
    logstream::protocol::BatchBuilder builder({});
    const std::string value(kRecordBytes, 'v');
    do builder.add(1000, std::nullopt, value);
    while (builder.estimated_bytes() < bytes);
    return *builder.finish();
}

// A batch and its flush, one after the other.
void LogAppend(benchmark::State& state) {
    Log log(64 << 20);
    const Bytes batch = batch_of(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) {
        log.append(batch);
        log.flush();
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * batch.size()));
}
BENCHMARK(LogAppend)->Arg(1)->Arg(kBatchBytes)->UseRealTime()->Unit(benchmark::kMicrosecond);

void fetch(benchmark::State& state, std::uint64_t cache_bytes) {
    constexpr int kBatches = 256;
    Log log(cache_bytes);
    const Bytes batch = batch_of(kBatchBytes);
    for (int i = 0; i < kBatches; ++i) {
        log.append(batch);
        log.flush();
    }
    const std::int64_t records = log.stream().log_end().value / kBatches;
    std::int64_t next = 0;
    std::size_t bytes = 0;
    for (auto _ : state) bytes += log.read(Offset{next++ % kBatches * records});
    state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
void FetchFromMemory(benchmark::State& state) { fetch(state, 256 << 20); }
void FetchFromFiles(benchmark::State& state) { fetch(state, 0); }
BENCHMARK(FetchFromMemory)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(FetchFromFiles)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
