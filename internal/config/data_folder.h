// Where a broker keeps its data when nobody says where: below ./data, under a name that does not change by itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "internal/protocol/error.h"

namespace logstream::config {

// The names of the folders in `parent` that hold a broker's data; none when there is no such folder.
std::vector<std::string> data_folders(const std::string& parent);

// Which folder is that of the broker without a name on this port: <port>, or of `existing` one that an earlier version
// called <host name>-<port>, by whatever name the host had then. kConfig: several, and none by today's name.
protocol::Result<std::string> data_folder_of(std::uint16_t port, std::string_view name_of_today,
                                             const std::vector<std::string>& existing);

}  // namespace logstream::config
