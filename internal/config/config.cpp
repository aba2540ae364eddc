#include "internal/config/config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

namespace logstream::config {

namespace {

constexpr std::uint16_t kHttpPortDistance = 1000;

// A host name as it may stand in a broker's name.
std::string as_name(std::string_view host) {
    std::string name(host.substr(0, 80));
    std::ranges::replace_if(
        name, [](unsigned char c) { return std::isalnum(c) == 0 && c != '.' && c != '-' && c != '_'; }, '-');
    return name.empty() ? "broker" : name;
}

}  // namespace

void complete(Config& config, std::string_view host_name) {
    const auto& address = config.node.address;
    LS_ASSERT(address.ip != 0 && address.port != 0);
    if (config.node.name.empty()) config.node.name = fmt::format("{}-{}", as_name(host_name), address.port);
    if (config.storage.dir.empty()) config.storage.dir = fmt::format("./data/{}", config.node.name);
    auto& http = config.admin.http;
    if (http.mode == HttpAddress::Mode::kDefault) {
        // A rule of the settings' table keeps the sum below 65536.
        http = {HttpAddress::Mode::kAt, {address.ip, static_cast<std::uint16_t>(address.port + kHttpPortDistance)}};
    }
}

Environment process_environment() {
    Environment all;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string_view text(*entry);
        if (const auto equals = text.find('='); equals != text.npos)
            all.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    return all;
}

}  // namespace logstream::config
