#include "internal/net/machine.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <span>

#include "internal/protocol/checksum.h"
#include "internal/protocol/ids.h"

namespace logstream::net {

namespace {

// Files of /sys have no size that could be relied on.
std::string first_bytes_of(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "re");
    if (file == nullptr) return {};
    std::array<char, 4096> bytes{};
    const std::size_t length = std::fread(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
    return {bytes.data(), length};
}

std::string line_of(const std::string& path) {
    std::string text = first_bytes_of(path);
    std::erase_if(text, [](unsigned char c) { return std::isalnum(c) == 0 && c != '-'; });
    return text.substr(0, 64);
}

}  // namespace

std::string this_machine(const std::string& root) {
    std::string out = line_of(root + "/etc/machine-id");
    if (out.empty()) out = line_of(root + "/var/lib/dbus/machine-id");
    // QEMU's and KVM's "VM generation id".
    const std::string generation = first_bytes_of(root + "/sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_guid/raw");
    if (!out.empty() && !generation.empty())
        out += "/" + protocol::hex(protocol::crc32c(std::as_bytes(std::span(generation))));
    return out;
}

}  // namespace logstream::net
