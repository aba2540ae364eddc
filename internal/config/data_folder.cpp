#include "internal/config/data_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace logstream::config {

std::vector<std::string> data_folders(const std::string& parent) {
    std::vector<std::string> found;
    std::error_code error;
    for (std::filesystem::directory_iterator at(parent, error), end; !error && at != end; at.increment(error)) {
        std::error_code absent;
        // A store makes this file before any other.
        if (std::filesystem::exists(at->path() / "lock", absent)) found.push_back(at->path().filename().string());
    }
    std::ranges::sort(found);
    return found;
}

protocol::Result<std::string> data_folder_of(std::uint16_t port, std::string_view name_of_today,
                                             const std::vector<std::string>& existing) {
    const std::string by_port = std::to_string(port);
    const auto exists = [&](std::string_view name) { return std::ranges::find(existing, name) != existing.end(); };
    if (exists(by_port)) return by_port;
    if (exists(name_of_today)) return std::string(name_of_today);
    std::vector<std::string> by_host;
    for (const std::string& name : existing)
        if (name.ends_with("-" + by_port)) by_host.push_back(name);
    if (by_host.empty()) return by_port;
    if (by_host.size() == 1) return by_host.front();
    return protocol::fail(
        protocol::ErrorCode::kConfig,
        "several folders in ./data may belong to this broker ({}): choose one with --data ./data/NAME",
        fmt::join(by_host, ", "));
}

}  // namespace logstream::config
