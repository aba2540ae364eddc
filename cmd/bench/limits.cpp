#include "cmd/bench/limits.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <thread>

namespace logstream::bench {

namespace {

// A file without a name: it is gone with the program, however that ends.
class File {
public:
    explicit File(const std::string& dir) {
        std::string path = dir + "/limits.XXXXXX";
        fd_ = need(mkstemp(path.data()), "mkstemp");
        unlink(path.c_str());
    }
    ~File() { close(fd_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    void write_at(std::size_t offset, const std::string& bytes) {
        need(pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset)), "write");
    }
    void flush() { need(fdatasync(fd_), "fdatasync"); }
    void append_flushed(const std::string& bytes) {
        write_at(end_, bytes);
        end_ += bytes.size();
        flush();
    }

private:
    int fd_;
    std::size_t end_{};
};

}  // namespace

void measure_disk(const std::string& dir, nlohmann::json& figures) {
    const std::string block(4096, 'b');
    {
        File file(dir);
        const auto append = [&] { file.append_flushed(block); };
        figures["flush_append_us"] = microseconds(time_each(append));
        figures["flush_append_paced_us"] = microseconds(time_each_paced(append));
    }
    {
        // Blocks that are written already: a flush has no length and no extent to write down beside them.
        constexpr std::size_t kBlocks = 4096;
        File file(dir);
        file.write_at(0, std::string(kBlocks * block.size(), '\0'));
        file.flush();
        std::size_t next = 0;
        figures["flush_in_place_us"] = microseconds(time_each([&] {
            file.write_at(next++ % kBlocks * block.size(), block);
            file.flush();
        }));
    }
    constexpr int kWriters = 3;
    double rates[kWriters]{};
    {
        std::vector<std::jthread> writers;
        for (double& rate : rates)
            writers.emplace_back([&] {
                const std::string batch(256 << 10, 'b');
                File file(dir);
                rate = bytes_per_second(batch.size(), [&] { file.append_flushed(batch); });
            });
    }
    figures["three_writers_mb_per_s"] = (rates[0] + rates[1] + rates[2]) / 1e6;
}

void measure_memory(nlohmann::json& figures) {
    // Larger than the caches.
    const std::string from(128 << 20, 'm');
    std::string to(from.size(), ' ');
    figures["memcpy_gb_per_s"] =
        bytes_per_second(from.size(), [&] { std::memcpy(to.data(), from.data(), from.size()); }) / 1e9;
}

int show_limits(const Options& options) {
    nlohmann::json figures = nlohmann::json::object();
    measure_network(options.network, figures);
    measure_disk(options.dir, figures);
    measure_memory(figures);
    if (options.json) {
        std::printf("%s\n", figures.dump().c_str());
        return runtime::kDone;
    }
    for (const auto& [name, figure] : figures.items()) {
        if (figure.is_object()) {
            std::printf("%-24s p50 %.1f, p99 %.1f, max %.1f\n", name.c_str(), figure["p50"].get<double>(),
                        figure["p99"].get<double>(), figure["max"].get<double>());
        } else {
            std::printf("%-24s %.1f\n", name.c_str(), figure.get<double>());
        }
    }
    return runtime::kDone;
}

}  // namespace logstream::bench
