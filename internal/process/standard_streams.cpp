#include "internal/process/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace logstream::process {

namespace {

// 0, or the errno of what could not be written; -1: it failed earlier, and nobody kept the reason.
int flush_stdout() {
    const bool failed_before = std::ferror(stdout) != 0;
    if (std::fflush(stdout) != 0) return errno;
    if (failed_before) return -1;
    // A network file system tells of a full disk when a descriptor is closed.
    const int copy = dup(STDOUT_FILENO);
    return copy >= 0 && close(copy) != 0 ? errno : 0;
}

}  // namespace

void open_standard_streams() {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        // The lowest free number is this one. Opened the wrong way round, reading and writing fail with EBADF.
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) std::abort();
    }
    // What is written at once is flushed at the end, where the reason of a failure is known.
    static std::array<char, 64u << 10> buffer;  // glibc makes none of the size that it is asked for
    if (isatty(STDOUT_FILENO) != 1) std::setvbuf(stdout, buffer.data(), _IOFBF, buffer.size());
}

int finish_output(std::string_view program, int exit_code) {
    const int failed = flush_stdout();
    if (failed == 0 || failed == EPIPE) return exit_code;
    std::fprintf(stderr, "%.*s: can't write to standard output%s%s\n", static_cast<int>(program.size()), program.data(),
                 failed > 0 ? ": " : "", failed > 0 ? std::strerror(failed) : "");
    return exit_code == 0 ? 1 : exit_code;
}

bool ignores(int signal) {
    struct sigaction now{};
    return sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

}  // namespace logstream::process
