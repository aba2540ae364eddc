#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    logstream::fuzz::try_input(std::as_bytes(std::span(data, size)));
    return 0;
}
