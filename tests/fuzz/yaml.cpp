// The configuration file: only known keys come out, and what a value is read as can be written and read again.
#include "internal/config/setting.h"
#include "internal/config/yaml_file.h"
#include "tests/fuzz/fuzz.h"

namespace logstream::fuzz {

void try_input(Input input) {
    const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
    const auto entries = config::parse_yaml(text, "fuzz.yaml");
    LS_ASSERT(entries || entries.error().message.starts_with("fuzz.yaml:"));
    if (!entries) return;
    config::Config config;
    for (const config::YamlEntry& entry : *entries) {
        const config::Setting* setting = config::find_setting(entry.key);
        LS_ASSERT(setting != nullptr && entry.line >= 1);
        if (!setting->parse(config, entry.text)) continue;
        config::Config again;
        LS_ASSERT(setting->parse(again, setting->show(config)).has_value());
        LS_ASSERT(setting->show(again) == setting->show(config));
    }
}

}  // namespace logstream::fuzz
