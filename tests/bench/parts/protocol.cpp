// Encoding, decoding and checksums: what every record and every datagram goes through.
#include <benchmark/benchmark.h>

#include "internal/protocol/checksum.h"
#include "internal/protocol/frame.h"
#include "internal/protocol/record_batch.h"
#include "internal/protocol/record_check.h"

namespace {

using namespace logstream::protocol;

constexpr std::size_t kBatchBytes = 256 << 10;

Bytes batch_of(std::size_t record_bytes) {
    BatchBuilder builder({.producer_id = ProducerId{7}, .producer_epoch = 0, .base_sequence = 0});
    const std::string value(record_bytes, 'v');
    while (builder.estimated_bytes() < kBatchBytes) builder.add(1000, std::nullopt, value);
    return *builder.finish();
}

void count_records(benchmark::State& state, const Bytes& batch) {
    const auto records = BatchView::parse(batch)->record_count();
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * records);
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * batch.size()));
}

void EncodeBatch(benchmark::State& state) {
    const auto record_bytes = static_cast<std::size_t>(state.range(0));
    Bytes batch;
    for (auto _ : state) benchmark::DoNotOptimize(batch = batch_of(record_bytes));
    count_records(state, batch);
}
BENCHMARK(EncodeBatch)->Arg(100)->Arg(1024);

void DecodeBatch(benchmark::State& state) {
    const Bytes batch = batch_of(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) {
        const auto view = BatchView::parse(batch);
        std::size_t bytes = 0;
        const auto read = view->for_each(kBatchBytes, [&bytes](const Record& record) {
            bytes += record.value->size();
            return true;
        });
        benchmark::DoNotOptimize(read);
        benchmark::DoNotOptimize(bytes);
    }
    count_records(state, batch);
}
BENCHMARK(DecodeBatch)->Arg(100)->Arg(1024);

// What each batch passes at the door; beside it the checksum alone, over the same bytes. Argument: bytes of a record.
void CheckBatch(benchmark::State& state) {
    const auto view = BatchView::parse(batch_of(static_cast<std::size_t>(state.range(0))));
    for (auto _ : state) benchmark::DoNotOptimize(check_batch(*view, OffsetRule::kDense, kBatchBytes));
    count_records(state, view->bytes());
}
BENCHMARK(CheckBatch)->Arg(10)->Arg(100)->Arg(1024);

void ChecksumOfBatch(benchmark::State& state) {
    const auto view = BatchView::parse(batch_of(static_cast<std::size_t>(state.range(0))));
    for (auto _ : state) benchmark::DoNotOptimize(view->crc_ok());
    count_records(state, view->bytes());
}
BENCHMARK(ChecksumOfBatch)->Arg(10)->Arg(100)->Arg(1024);

const FrameHeader kReplicate{MessageType::kReplicate, kFirstFragment, ClusterTag{1},
                             ViewNumber{3},           NodeId{9},      Sequence{77}};

void EncodeFrame(benchmark::State& state) {
    const std::vector<std::byte> payload(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) benchmark::DoNotOptimize(encode_frame_header(kReplicate, payload));
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * payload.size()));
}
BENCHMARK(EncodeFrame)->Arg(1432)->Arg(8932);

void DecodeFrame(benchmark::State& state) {
    const std::vector<std::byte> payload(static_cast<std::size_t>(state.range(0)));
    const Bytes frame = encode_frame(kReplicate, payload);
    for (auto _ : state) benchmark::DoNotOptimize(decode_frame(frame.span()));
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * payload.size()));
}
BENCHMARK(DecodeFrame)->Arg(1432)->Arg(8932);

void Crc32c(benchmark::State& state) {
    const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) benchmark::DoNotOptimize(crc32c(bytes));
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes.size()));
}
BENCHMARK(Crc32c)->Arg(64)->Arg(1432)->Arg(kBatchBytes);

}  // namespace
