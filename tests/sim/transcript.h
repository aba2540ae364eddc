// What brokers and clients log, by virtual time: "12.345678 n3 W VIEW member=… is removed". Off, it costs nothing.
#pragma once

#include <spdlog/logger.h>

#include <functional>
#include <memory>
#include <string>

#include "tests/sim/world.h"

namespace logstream::sim {

class Transcript {
public:
    enum class Detail : std::uint8_t { kNone, kInfo, kDebug };
    using Sink = std::function<void(const std::string& line)>;

    // LOGSTREAM_SIM_TRACE=1 in the environment writes everything to stdout, whatever is asked for here.
    Transcript(World& world, Detail detail, Sink sink);

    std::shared_ptr<spdlog::logger> logger(const std::string& name);
    // What the simulator itself does.
    void say(const std::string& who, const std::string& text);
    bool on() const { return detail_ != Detail::kNone; }

private:
    std::string stamp() const;

    World& world_;
    Detail detail_;
    Sink sink_;
};

}  // namespace logstream::sim
