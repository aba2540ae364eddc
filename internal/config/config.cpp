#include "internal/config/config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "internal/config/data_folder.h"
#include "internal/config/setting.h"

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

protocol::Result<void> complete(Config& config, std::string_view host_name,
                                const std::vector<std::string>& data_folders) {
    const auto& address = config.node.address;
    const bool named = !config.node.name.empty();
    if (!named) config.node.name = fmt::format("{}-{}", as_name(host_name), address.port);
    if (config.storage.dir.empty()) {
        const auto folder = named ? protocol::Result<std::string>(config.node.name)
                                  : data_folder_of(address.port, config.node.name, data_folders);
        if (!folder) return std::unexpected(folder.error());
        config.storage.dir = fmt::format("{}/{}", kDataParent, *folder);
    }
    return {};
}

void take_address(Config& config, const env::Endpoint& at) {
    auto& http = config.admin.http;
    if (http.mode == HttpAddress::Mode::kDefault) {
        http = {HttpAddress::Mode::kAt, at};
        // A rule of the settings' table keeps the sum below 65536.
        http.at.port = static_cast<std::uint16_t>(at.port + kHttpPortDistance);
    }
    auto& group = config.replication.multicast;
    if (group.port == 0) group = at.ip.is_v4() ? kMulticastV4 : kMulticastV6;
}

std::vector<std::string_view> changed_settings(const Config& before, const Config& after) {
    std::vector<std::string_view> keys;
    for (const Setting& setting : settings())
        if (setting.show(before) != setting.show(after)) keys.push_back(setting.key);
    return keys;
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
