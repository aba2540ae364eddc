// What the kernel grants and knows: socket buffers and the clock.
#include <sys/socket.h>
#include <sys/timex.h>

#include <cstdio>
#include <fstream>

#include "cmd/netdiag/checks.h"
#include "cmd/netdiag/socket.h"
#include "internal/net/net_options.h"

namespace logstream::netdiag {

namespace {

// What the kernel reports is twice what holds datagrams.
std::size_t given_buffer(int option, std::size_t bytes) {
    const Socket socket = open_socket(SOCK_DGRAM, {});
    set_option(socket, SOL_SOCKET, option, static_cast<int>(bytes));
    int given = 0;
    socklen_t size = sizeof given;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &given, &size) != 0 || given < 0) return 0;
    return static_cast<std::size_t>(given) / 2;
}

std::string mib(std::size_t bytes) { return fmt::format("{:.3g} MiB", static_cast<double>(bytes) / (1 << 20)); }

}  // namespace

Findings check_buffers() {
    const std::size_t wanted = net::NetOptions{}.multicast_buffer_bytes;
    const std::size_t plain = given_buffer(SO_RCVBUF, wanted);
    const std::size_t given = std::max(plain, given_buffer(SO_RCVBUFFORCE, wanted));
    std::uint64_t limit = 0;
    std::ifstream("/proc/sys/net/core/rmem_max") >> limit;
    const nlohmann::json data{
        {"wanted_bytes", wanted}, {"given_bytes", given}, {"given_unprivileged_bytes", plain}, {"rmem_max", limit}};
    const std::string what =
        fmt::format("the kernel gives a socket {} of the {} that replication asks for", mib(given), mib(wanted));
    const std::string fix =
        fmt::format("sysctl -w net.core.rmem_max={} (and a line in /etc/sysctl.d to keep it)", wanted);
    if (given < wanted)
        return {warn(
            "buffers",
            fmt::format("{}, net.core.rmem_max is {}: replication works with a smaller window; {}", what, limit, fix),
            data)};
    if (plain < wanted)
        return {ok("buffers",
                   fmt::format("{}, because this user may exceed net.core.rmem_max ({}); a broker run by "
                               "another user gets {}, unless you run {}",
                               what, limit, mib(plain), fix),
                   data)};
    return {ok("buffers", what, data)};
}

Findings check_clock() {
    timex state{};
    const int answer = ::adjtimex(&state);
    if (answer < 0)
        return {warn("clock",
                     fmt::format("the kernel does not say whether the clock is synchronised ({})", os_message(errno)))};
    const bool synchronised = answer != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
    const nlohmann::json data{{"synchronised", synchronised}, {"estimated_error_us", state.esterror}};
    if (synchronised) return {ok("clock", fmt::format("synchronised, estimated error {} µs", state.esterror), data)};
    return {warn("clock",
                 "the kernel reports an unsynchronised clock; order and safety do not depend on it, but record "
                 "timestamps, time-based retention and comparing logs do: run an NTP client (apt-get install chrony)",
                 data)};
}

}  // namespace logstream::netdiag
