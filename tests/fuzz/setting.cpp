// One value, read by every setting: refused without a change, or shown as a text that is read as the same value.
#include "internal/config/setting.h"

#include "tests/fuzz/fuzz.h"

namespace logstream::fuzz {

void try_input(Input input) {
    const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
    for (const config::Setting& setting : config::settings()) {
        config::Config config;
        if (const auto parsed = setting.parse(config, text); !parsed) {
            LS_ASSERT(config == config::Config{} && !parsed.error().empty());
            continue;
        }
        config::Config again;
        LS_ASSERT(setting.parse(again, setting.show(config)).has_value() && again == config);
    }
}

}  // namespace logstream::fuzz
