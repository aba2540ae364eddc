// Which broker owns a stream: asked for every request.
#include <benchmark/benchmark.h>

#include "internal/ring/hash_ring.h"

namespace {

using namespace logstream;

void RingLookUp(benchmark::State& state) {
    std::vector<protocol::NodeId> members;
    for (std::int64_t i = 1; i <= state.range(0); ++i)
        members.emplace_back(0x9e3779b97f4a7c15ULL * static_cast<std::uint64_t>(i));
    const ring::HashRing ring(members);
    std::uint64_t topic = 0;
    for (auto _ : state) benchmark::DoNotOptimize(ring.owner({protocol::TopicId{++topic}, 0}));
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(RingLookUp)->Arg(3)->Arg(7);

}  // namespace
