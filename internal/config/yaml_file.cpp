#include "internal/config/yaml_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>

#include "internal/config/nearest.h"
#include "internal/config/setting.h"

namespace logstream::config {

using protocol::ErrorCode;
using protocol::Result;

namespace {

constexpr std::size_t kMaxFileBytes = 1 << 20;

// "storage", "storage.retention": what has settings under it.
const std::set<std::string_view>& sections() {
    static const auto found = [] {
        std::set<std::string_view> names;
        for (const auto& setting : settings())
            for (auto dot = setting.key.find('.'); dot != setting.key.npos; dot = setting.key.find('.', dot + 1))
                names.insert(setting.key.substr(0, dot));
        return names;
    }();
    return found;
}

// The names that may stand directly under a section, for messages.
std::string members_of(std::string_view section) {
    std::vector<std::string_view> names;
    for (const auto& setting : settings()) {
        if (!setting.key.starts_with(section) || setting.key[section.size()] != '.') continue;
        auto name = setting.key.substr(section.size() + 1);
        name = name.substr(0, name.find('.'));
        if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
    return fmt::format("{}", fmt::join(names, ", "));
}

class Flattener {
public:
    explicit Flattener(std::string_view name) : name_(name) {}

    Result<void> add_section(const YAML::Node& map, const std::string& prefix) {
        for (const auto& item : map) {
            const int line = item.first.Mark().line + 1;
            if (!item.first.IsScalar()) return refuse(line, "expected a setting's name, got a list or map");
            const auto& name = item.first.Scalar();
            if (auto added = add(item.second, prefix.empty() ? name : fmt::format("{}.{}", prefix, name), line); !added)
                return added;
        }
        return {};
    }

    std::vector<YamlEntry> take() { return std::move(entries_); }

private:
    template <class... Args>
    std::unexpected<protocol::Error> refuse(int line, fmt::format_string<Args...> format, Args&&... args) const {
        return protocol::fail(ErrorCode::kConfig, "{}:{}: {}", name_, line,
                              fmt::format(format, std::forward<Args>(args)...));
    }

    Result<void> add(const YAML::Node& value, const std::string& key, int line) {
        if (sections().contains(key)) {
            if (value.IsNull()) return {};
            if (!value.IsMap())
                return refuse(line, "{}: expected settings under it ({}), got a value", key, members_of(key));
            return add_section(value, key);
        }
        const Setting* setting = find_setting(key);
        if (setting == nullptr) {
            std::vector<std::string_view> known(sections().begin(), sections().end());
            for (const auto& each : settings()) known.push_back(each.key);
            return refuse(line, "unknown key '{}'{}", key, did_you_mean(key, known));
        }
        if (const auto earlier = std::ranges::find(entries_, key, &YamlEntry::key); earlier != entries_.end())
            return refuse(line, "{} is given twice; first on line {}", key, earlier->line);
        auto text = text_of(value, *setting);
        if (!text) return refuse(line, "{}: expected {}", key, text.error());
        entries_.push_back({key, std::move(*text), line});
        return {};
    }

    static std::expected<std::string, std::string> text_of(const YAML::Node& value, const Setting& setting) {
        if (value.IsNull()) return "";
        if (value.IsScalar()) return value.Scalar();
        if (!setting.list || !value.IsSequence()) return std::unexpected("one value, got a list or map");
        std::vector<std::string> items;
        for (const auto& item : value) {
            if (!item.IsScalar()) return std::unexpected("a list of plain values");
            items.push_back(item.Scalar());
        }
        return fmt::format("{}", fmt::join(items, ","));
    }

    std::string_view name_;
    std::vector<YamlEntry> entries_;
};

// Hears where each document begins, and nothing else of it.
class DocumentStarts final : public YAML::EventHandler {
public:
    std::vector<int> lines;

    void OnDocumentStart(const YAML::Mark& mark) override { lines.push_back(mark.line); }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
    void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
    void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
    void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
    void OnSequenceEnd() override {}
    void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
    void OnMapEnd() override {}
};

// The line in which a second document begins, from 0. Not by YAML::LoadAll: of a text like "," yaml-cpp 0.7 makes empty
// documents without end.
std::optional<int> second_document(const std::string& text) {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    DocumentStarts starts;
    while (starts.lines.size() < 2)
        if (!parser.HandleNextDocument(starts)) return std::nullopt;
    return starts.lines[1];
}

}  // namespace

Result<std::vector<YamlEntry>> parse_yaml(std::string_view text, std::string_view name) {
    try {
        if (const auto second = second_document(std::string(text)))
            return protocol::fail(ErrorCode::kConfig, "{}:{}: expected a single YAML document, got more", name,
                                  *second + 1);
        const auto document = YAML::Load(std::string(text));
        if (document.IsNull()) return std::vector<YamlEntry>{};
        if (!document.IsMap())
            return protocol::fail(ErrorCode::kConfig, "{}:{}: expected settings like 'storage:' with 'dir: …' under it",
                                  name, document.Mark().line + 1);
        Flattener flattener(name);
        if (auto added = flattener.add_section(document, ""); !added) return std::unexpected(added.error());
        return flattener.take();
    } catch (const YAML::Exception& error) {
        return protocol::fail(ErrorCode::kConfig, "{}:{}: not valid YAML: {}", name, error.mark.line + 1, error.msg);
    }
}

Result<std::string> read_config_file(const std::string& path) {
    errno = 0;
    std::ifstream file(path, std::ios::binary);
    std::string text;
    if (file) {
        text.resize(kMaxFileBytes + 1);
        file.read(text.data(), static_cast<std::streamsize>(text.size()));
        text.resize(static_cast<std::size_t>(file.gcount()));
    }
    if (!file.is_open() || file.bad())
        return protocol::fail(ErrorCode::kConfig, "{}: cannot be read: {}", path,
                              std::strerror(errno == 0 ? EIO : errno));
    if (text.size() > kMaxFileBytes)
        return protocol::fail(ErrorCode::kConfig, "{}: expected a configuration file of at most 1 MiB", path);
    return text;
}

}  // namespace logstream::config
