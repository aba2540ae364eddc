// What the load clients of the peers share: the command line (see peer.py), the time that counts, what is printed.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

using Clock = std::chrono::steady_clock;

struct Load {
    std::string servers;
    bool flood{};
    double rate{};  // records per second; 0: one in flight, or flood
    std::size_t record_bytes{};
    Clock::time_point begin;  // of what counts
    Clock::time_point end;

    Load(int argc, char** argv) {
        if (argc != 6) {
            std::fprintf(stderr, "usage: %s SERVERS flood|one|RATE RECORD_BYTES SECONDS WARM_UP\n", argv[0]);
            std::exit(2);
        }
        const std::string what = argv[2];
        servers = argv[1];
        flood = what == "flood";
        rate = flood || what == "one" ? 0 : std::atof(argv[2]);
        record_bytes = static_cast<std::size_t>(std::atoi(argv[3]));
        const auto seconds = [](const char* text) {
            return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(std::atof(text)));
        };
        begin = Clock::now() + seconds(argv[5]);
        end = begin + seconds(argv[4]);
    }
    bool over() const { return Clock::now() >= end; }
    double seconds() const { return std::chrono::duration<double>(end - begin).count(); }
    // When the record of a paced load is due.
    Clock::time_point due(std::uint64_t record) const {
        return std::chrono::time_point_cast<Clock::duration>(
            start_ + std::chrono::duration<double>(static_cast<double>(record) / rate));
    }

private:
    Clock::time_point start_ = Clock::now();
};

inline std::int64_t nanoseconds(Clock::time_point time) { return time.time_since_epoch().count(); }

// Latencies and how many records they are of. Several threads may count at a time.
class Counted {
public:
    explicit Counted(const Load& load) : load_(load) {}

    void add(Clock::time_point since, std::uint64_t records) {
        const auto now = Clock::now();
        if (now < load_.begin || now >= load_.end) return;
        const std::lock_guard lock(mutex_);
        records_ += records;
        us_.push_back(std::chrono::duration_cast<std::chrono::microseconds>(now - since).count());
    }
    std::uint64_t records() const { return records_; }
    std::string json() {
        if (us_.empty()) return "{\"p50\":0,\"p99\":0,\"max\":0}";
        std::ranges::sort(us_);
        const auto quantile = [&](double q) {
            return std::to_string(us_[static_cast<std::size_t>(q * static_cast<double>(us_.size() - 1))]);
        };
        return "{\"p50\":" + quantile(0.5) + ",\"p99\":" + quantile(0.99) + ",\"max\":" + quantile(1) + "}";
    }

private:
    const Load& load_;
    std::mutex mutex_;
    std::uint64_t records_{};
    std::vector<std::int64_t> us_;
};

inline void print_result(const Load& load, Counted& acknowledged, Counted& delivered) {
    const double rate = static_cast<double>(acknowledged.records()) / load.seconds();
    std::printf("{\"records_per_s\":%.1f,\"mb_per_s\":%.3f,\"ack_us\":%s", rate,
                rate * static_cast<double>(load.record_bytes) / 1e6, acknowledged.json().c_str());
    if (delivered.records() > 0) std::printf(",\"deliver_us\":%s", delivered.json().c_str());
    std::printf("}\n");
}
