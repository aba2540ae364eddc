#include "internal/protocol/error.h"

#include <cstdio>
#include <cstdlib>

namespace logstream::protocol {

void assertion_failed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "logstream: assertion failed: %s (%s:%d)\n", expression, file, line);
    std::abort();
}

}  // namespace logstream::protocol
