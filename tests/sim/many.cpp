#include "tests/sim/many.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "tests/sim/simulation.h"

namespace logstream::sim {

namespace {

// A child process that runs some seeds, every `stride`th, and writes a line for each.
struct Worker {
    pid_t pid{-1};
    int from{-1};
    std::string received;
    std::uint64_t next{};  // the seed that it runs now
};

void write_line(int fd, std::string line) {
    line += '\n';
    for (std::size_t done = 0; done < line.size();) {
        const ssize_t written = write(fd, line.data() + done, line.size() - done);
        if (written <= 0) _exit(3);
        done += static_cast<std::size_t>(written);
    }
}

Worker start_worker(Options options, std::uint64_t first, std::uint64_t last, std::uint64_t stride) {
    int ends[2];
    LS_ASSERT(pipe(ends) == 0);
    std::fflush(nullptr);
    Worker out;
    out.pid = fork();
    LS_ASSERT(out.pid >= 0);
    if (out.pid == 0) {
        close(ends[0]);
        for (std::uint64_t seed = first; seed <= last; seed += stride) {
            options.seed = seed;
            write_line(ends[1], encode(Simulation(options, Transcript::Detail::kNone, nullptr).run()));
        }
        _exit(0);
    }
    close(ends[1]);
    out.from = ends[0];
    out.next = first;
    return out;
}

Report died(std::uint64_t seed) {
    Report out;
    out.seed = seed;
    out.violations.push_back({"assertion", "the process died (an assertion failed, or worse)", {}});
    return out;
}

class Tally {
public:
    Tally(const Options& options, std::uint64_t first, std::uint64_t last)
        : options_(options), first_(first), last_(last) {}

    void add(const Report& report) {
        (report.passed() ? passed_ : failed_) += 1;
        virtual_seconds_ += report.virtual_seconds;
        for (const auto& [name, count] : report.counts) counts_[name] += count;
        if (report.passed()) return;
        Options failing = options_;
        failing.seed = report.seed;
        print_failure(failing, report);
    }
    // Whether every kind of thing happened is asked of runs that are long enough to expect it.
    int finish(std::uint64_t enough) {
        for (const auto& [name, count] : counts_)
            std::printf("%-24s %llu\n", name.c_str(), static_cast<unsigned long long>(count));
        std::printf("%-24s %.0f\n", "virtual seconds", virtual_seconds_);
        if (!options_.faults && !options_.nodes && last_ - first_ + 1 >= enough)
            for (const std::string& name : never_happened(counts_)) {
                std::printf("NEVER HAPPENED: %s\n", name.c_str());
                ++failed_;
            }
        std::printf("seeds %llu..%llu: %llu passed, %llu failed\n", static_cast<unsigned long long>(first_),
                    static_cast<unsigned long long>(last_), static_cast<unsigned long long>(passed_),
                    static_cast<unsigned long long>(failed_));
        return failed_ == 0 ? 0 : 1;
    }

private:
    Options options_;
    std::uint64_t first_;
    std::uint64_t last_;
    std::uint64_t passed_{};
    std::uint64_t failed_{};
    double virtual_seconds_{};
    Counts counts_;
};

// Takes the whole lines that have come; false when the worker is gone.
bool receive(Worker& worker, const std::function<void(const Report&)>& each) {
    char buffer[65536];
    const ssize_t got = read(worker.from, buffer, sizeof buffer);
    if (got <= 0) return false;
    worker.received.append(buffer, static_cast<std::size_t>(got));
    for (std::size_t end; (end = worker.received.find('\n')) != std::string::npos;) {
        Report report;
        if (decode(worker.received.substr(0, end), report)) each(report);
        worker.received.erase(0, end + 1);
    }
    return true;
}

void end(Worker& worker) {
    close(worker.from);
    waitpid(worker.pid, nullptr, 0);
}

}  // namespace

void print_failure(const Options& options, const Report& report) {
    std::printf("seed %llu FAILED\n", static_cast<unsigned long long>(report.seed));
    for (const Violation& violation : report.violations)
        std::printf("  %s at %.3f s: %s\n", violation.promise.c_str(),
                    std::chrono::duration<double>(violation.at.time_since_epoch()).count(), violation.text.c_str());
    std::string again = fmt::format("logstream-sim --seed {} --time {}s", report.seed,
                                    std::chrono::duration_cast<std::chrono::seconds>(options.time).count());
    if (options.nodes) again += fmt::format(" --nodes {}", *options.nodes);
    if (options.faults) {
        again += " --faults ";
        std::string list;
        for (Fault fault : *options.faults) list += (list.empty() ? "" : ",") + std::string(name_of(fault));
        again += list.empty() ? "none" : list;
    }
    std::printf("  again: %s --trace\n", again.c_str());
    std::fflush(stdout);
}

// The last line of a run of one seed, and its exit code.
int print_count(std::uint64_t seed, const Report& report) {
    std::printf("seed %llu: %d passed, %d failed\n", static_cast<unsigned long long>(seed), report.passed() ? 1 : 0,
                report.passed() ? 0 : 1);
    return report.passed() ? 0 : 1;
}

int run_one(const Options& options, Transcript::Detail detail) {
    std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
    std::fflush(stdout);
    Simulation simulation(options, detail, [](const std::string& line) { std::puts(line.c_str()); });
    std::printf("%s\n", simulation.swarm().describe().c_str());
    const Report report = simulation.run();
    for (const auto& [name, count] : report.counts)
        if (count > 0) std::printf("%-24s %llu\n", name.c_str(), static_cast<unsigned long long>(count));
    std::printf("%-24s %.3f\n%-24s %016llx\n", "virtual seconds", report.virtual_seconds, "fingerprint",
                static_cast<unsigned long long>(report.fingerprint));
    if (!report.passed()) print_failure(options, report);
    return print_count(options.seed, report);
}

void run_seeds(const Options& options, std::uint64_t first, std::uint64_t last, unsigned jobs,
               const std::function<bool(const Report&)>& each) {
    const std::uint64_t stride =
        std::min<std::uint64_t>(jobs != 0 ? jobs : std::max(1u, std::thread::hardware_concurrency()), last - first + 1);
    std::vector<Worker> workers;
    for (std::uint64_t i = 0; i < stride; ++i) workers.push_back(start_worker(options, first + i, last, stride));
    bool go_on = true;
    while (!workers.empty() && go_on) {
        std::vector<pollfd> waiting;
        for (const Worker& worker : workers) waiting.push_back({worker.from, POLLIN, 0});
        poll(waiting.data(), waiting.size(), -1);
        for (std::size_t i = waiting.size(); i-- > 0 && go_on;) {
            if (waiting[i].revents == 0) continue;
            Worker& worker = workers[i];
            if (receive(worker, [&](const Report& report) {
                    go_on = go_on && each(report);
                    worker.next = report.seed + stride;
                }))
                continue;
            end(worker);
            std::uint64_t next = worker.next;
            if (next <= last) {
                go_on = each(died(next));
                next += stride;
            }
            if (next > last || !go_on)
                workers.erase(workers.begin() + static_cast<std::ptrdiff_t>(i));
            else
                worker = start_worker(options, next, last, stride);
        }
    }
    for (Worker& worker : workers) {
        kill(worker.pid, SIGKILL);
        end(worker);
    }
}

int run_many(const Options& options, std::uint64_t first, std::uint64_t last, unsigned jobs) {
    constexpr std::uint64_t kEnough = 200;
    Tally tally(options, first, last);
    run_seeds(options, first, last, jobs, [&tally](const Report& report) {
        tally.add(report);
        return true;
    });
    return tally.finish(kEnough);
}

Report run_apart(const Options& options) {
    Report out = died(options.seed);
    Worker worker = start_worker(options, options.seed, options.seed, 1);
    while (receive(worker, [&](const Report& report) { out = report; })) {
    }
    end(worker);
    return out;
}

int minimize(Options options) {
    std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
    Report report = run_apart(options);
    if (report.passed()) {
        std::printf("there is nothing to minimize\n");
        return print_count(options.seed, report);
    }
    {
        const Simulation drawn(options, Transcript::Detail::kNone, nullptr);
        options.faults = drawn.swarm().faults;
        options.nodes = drawn.swarm().nodes;
    }
    const auto still_fails = [&](const Options& with_less) {
        const Report tried = run_apart(with_less);
        if (tried.passed()) return false;
        report = tried;
        options = with_less;
        return true;
    };
    for (bool smaller = true; smaller;) {
        smaller = false;
        for (Fault fault : std::set<Fault>(*options.faults)) {
            std::set<Fault> fewer = *options.faults;
            fewer.erase(fault);
            Options with_less = options;
            with_less.faults = std::move(fewer);
            smaller = still_fails(with_less) || smaller;
        }
        while (*options.nodes > 1) {
            Options with_less = options;
            --*with_less.nodes;
            if (!still_fails(with_less)) break;
            smaller = true;
        }
    }
    print_failure(options, report);
    return print_count(options.seed, report);
}

}  // namespace logstream::sim
