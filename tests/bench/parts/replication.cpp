// A follower's receive window: frames of a session in order, and with some of them lost and sent again.
#include <benchmark/benchmark.h>

#include <random>

#include "internal/replication/frame_packer.h"
#include "internal/replication/receive_window.h"

namespace {

using namespace logstream::replication;

struct Arrival {
    Sequence sequence;
    std::uint8_t flags{};
    Bytes payload;
};

// As an owner would send 16 MiB of batches by datagrams of 1,472 bytes.
std::vector<Arrival> session() {
    constexpr std::size_t kDatagramBytes = 1472;
    constexpr std::size_t kBatchBytes = 256 << 10;
    constexpr int kBatches = 64;
    std::deque<PackedFrame> packed;
    FramePacker packer(kDatagramBytes, Sequence{1});
    for (int i = 0; i < kBatches; ++i)
        packer.add({logstream::protocol::TopicId{1}, 0}, Sequence{0}, 0, Bytes::copy_of(std::string(kBatchBytes, 'b')),
                   packed);
    packer.flush(packed);
    std::vector<Arrival> arrivals;
    for (const PackedFrame& each : packed) {
        std::string payload(each.frame.head.view().substr(logstream::protocol::kFrameHeaderBytes));
        payload += each.frame.tail.view();
        arrivals.push_back({each.sequence, each.flags, Bytes::copy_of(payload)});
    }
    return arrivals;
}

// Of a hundred frames `percent` come 50 frames late: what a NACK and its answer take at some hundred MB/s.
std::vector<Arrival> with_loss(std::vector<Arrival> arrivals, int percent) {
    constexpr std::size_t kLate = 50;
    std::mt19937 chance(1);
    std::vector<Arrival> out;
    std::deque<std::pair<std::size_t, Arrival>> late;
    for (std::size_t i = 0; i < arrivals.size(); ++i) {
        for (; !late.empty() && late.front().first <= i; late.pop_front()) out.push_back(late.front().second);
        if (static_cast<int>(chance() % 100) < percent) {
            late.emplace_back(i + kLate, std::move(arrivals[i]));
        } else {
            out.push_back(std::move(arrivals[i]));
        }
    }
    for (auto& [when, arrival] : late) out.push_back(std::move(arrival));
    return out;
}

void ReceiveWindowUnderLoss(benchmark::State& state) {
    const std::vector<Arrival> arrivals = with_loss(session(), static_cast<int>(state.range(0)));
    std::uint64_t bytes = 0;
    for (auto _ : state) {
        ReceiveWindow window({});
        std::vector<DeliveredMessage> delivered;
        for (const Arrival& each : arrivals) {
            const auto taken = window.insert(each.sequence, each.flags, each.payload, delivered);
            if (!taken) state.SkipWithError("the window refuses a frame");
            delivered.clear();
        }
        bytes += window.counters().batch_bytes;
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * arrivals.size()));
    state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK(ReceiveWindowUnderLoss)->Arg(0)->Arg(1)->Arg(10)->Unit(benchmark::kMillisecond);

}  // namespace
