#include "tests/sim/transcript.h"

#include <spdlog/sinks/base_sink.h>

#include <cstdio>
#include <cstdlib>

namespace logstream::sim {

namespace {

class LineSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
public:
    explicit LineSink(std::function<void(std::string)> out) : out_(std::move(out)) {}

private:
    void sink_it_(const spdlog::details::log_msg& message) override {
        static constexpr char kLevels[] = "TDIWECO";
        out_(fmt::format("{} {} {}", std::string_view(message.logger_name.data(), message.logger_name.size()),
                         kLevels[message.level], std::string_view(message.payload.data(), message.payload.size())));
    }
    void flush_() override {}
    std::function<void(std::string)> out_;
};

}  // namespace

Transcript::Transcript(World& world, Detail detail, Sink sink)
    : world_(world), detail_(detail), sink_(std::move(sink)) {
    if (std::getenv("LOGSTREAM_SIM_TRACE") == nullptr) return;
    detail_ = Detail::kDebug;
    sink_ = [](const std::string& line) { std::puts(line.c_str()); };
}

std::string Transcript::stamp() const {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(world_.now().time_since_epoch()).count();
    return fmt::format("{:3}.{:06}", us / 1'000'000, us % 1'000'000);
}

std::shared_ptr<spdlog::logger> Transcript::logger(const std::string& name) {
    auto out = std::make_shared<spdlog::logger>(name, std::make_shared<LineSink>([this](const std::string& line) {
                                                    if (sink_) sink_(stamp() + " " + line);
                                                }));
    out->set_level(detail_ == Detail::kDebug  ? spdlog::level::debug
                   : detail_ == Detail::kInfo ? spdlog::level::info
                                              : spdlog::level::off);
    return out;
}

void Transcript::say(const std::string& who, const std::string& text) {
    if (on() && sink_) sink_(fmt::format("{} {} - {}", stamp(), who, text));
}

}  // namespace logstream::sim
