#include "cmd/netdiag/report.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "internal/text/json.h"

namespace logstream::netdiag {

namespace {

struct Word {
    std::string_view text;
    std::string_view colour;
};

Word word_of(Level level) {
    switch (level) {
        case Level::kOk:
            return {"ok", "\033[32m"};
        case Level::kWarn:
            return {"warn", "\033[33m"};
        case Level::kFail:
            break;
    }
    return {"FAIL", "\033[31m"};
}

}  // namespace

bool any_failed(const Findings& findings) {
    return std::ranges::any_of(findings, [](const Finding& f) { return f.level == Level::kFail; });
}

void print_text(const Findings& findings) {
    const bool terminal = isatty(STDOUT_FILENO) != 0;
    for (const Finding& finding : findings) {
        const Word word = word_of(finding.level);
        std::printf("%s%-4s%s %s: %s\n", terminal ? word.colour.data() : "", word.text.data(),
                    terminal ? "\033[0m" : "", finding.what.c_str(), finding.text.c_str());
    }
}

void print_json(const Findings& findings) {
    nlohmann::json checks = nlohmann::json::array();
    for (const Finding& finding : findings) {
        nlohmann::json check = finding.data;
        check["level"] = word_of(finding.level).text;
        check["what"] = finding.what;
        check["text"] = finding.text;
        checks.push_back(std::move(check));
    }
    const nlohmann::json out{{"ok", !any_failed(findings)}, {"checks", std::move(checks)}};
    std::printf("%s\n", text::dump(out).c_str());
}

}  // namespace logstream::netdiag
