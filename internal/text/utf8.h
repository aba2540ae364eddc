// Room `text`: bytes from outside (paths, names, keys, values), shown to people and scripts. They may be anything;
// nothing here throws on them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace logstream::text {

// Well-formed UTF-8 as Unicode defines it: no surrogates, nothing overlong, nothing above U+10FFFF.
bool is_utf8(std::string_view bytes);

// RFC 4648, with padding.
std::string base64(std::string_view bytes);
// The bytes; nullopt when it is not base64 as above.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace logstream::text
