#include "internal/storage/disk.h"

namespace logstream::storage {

std::string parent_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

std::uint64_t size_of(const std::vector<Bytes>& pieces) {
    std::uint64_t total = 0;
    for (const Bytes& piece : pieces) total += piece.size();
    return total;
}

}  // namespace logstream::storage
