#include "cmd/runtime/values.h"

#include <algorithm>

namespace logstream::runtime {

Parse<double> rate(double least) {
    return [least](std::string_view text) -> config::Parsed<double> {
        constexpr double kMost = 1e9;
        const auto value = config::parse_number(text);
        if (value && *value >= least && *value <= kMost) return *value;
        return std::unexpected(fmt::format("a number of records per second from {} to 1000000000", least));
    };
}

Parse<std::string> host_port() {
    return [](std::string_view text) -> config::Parsed<std::string> {
        if (const auto at = config::parse_host_port(text); !at) return std::unexpected(at.error());
        return std::string(text);
    };
}

CLI::Option* add_host_ports(CLI::App& app, const std::string& names, std::vector<std::string>& target,
                            const std::string& help) {
    const auto check = [](const std::string& text) {
        const auto list = config::parse_seeds(text);
        if (list && !list->empty()) return std::string();
        return fmt::format("expected {}, got '{}'", list ? "HOST:PORT" : list.error(), text);
    };
    const auto convert = [&target](const CLI::results_t& texts) {
        target.clear();
        for (const std::string& text : texts) {
            const auto list = config::parse_seeds(text);  // it passed the check
            for (const config::HostPort& at : *list) target.push_back(config::to_string(at));
        }
        return true;
    };
    return app.add_option(names, CLI::callback_t(convert), help)
        ->check(CLI::Validator(check, ""))
        ->type_name("HOST:PORT,…")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->allow_extra_args(false);
}

std::string_view to_string(proto::Acks acks) { return std::ranges::find(kAcks, acks, &Word<proto::Acks>::value)->text; }

}  // namespace logstream::runtime
