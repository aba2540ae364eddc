#include "internal/config/contexts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "internal/config/nearest.h"
#include "internal/config/value.h"
#include "internal/config/yaml_file.h"
#include "internal/process/draft_file.h"

namespace logstream::config {

using protocol::ErrorCode;
using protocol::Result;

namespace {

Result<Context> read_context(const YAML::Node& node, const std::string& name, const std::string& path) {
    Context out;
    if (!node.IsMap())
        return protocol::fail(ErrorCode::kConfig, "{}: context '{}': expected brokers and cluster", path, name);
    for (const auto& field : node) {
        const auto key = field.first.as<std::string>();
        if (key == "cluster") {
            out.cluster = field.second.as<std::string>();
        } else if (key == "brokers" && field.second.IsSequence()) {
            for (const YAML::Node& broker : field.second) {
                out.brokers.push_back(broker.as<std::string>());
                if (const auto at = parse_host_port(out.brokers.back()); !at)
                    return protocol::fail(ErrorCode::kConfig, "{}: context '{}': expected {}, got '{}'", path, name,
                                          at.error(), out.brokers.back());
            }
        } else {
            return protocol::fail(ErrorCode::kConfig,
                                  "{}: context '{}': expected brokers, a list of HOST:PORT, and cluster, got '{}'",
                                  path, name, key);
        }
    }
    return out;
}

}  // namespace

std::string contexts_path(const Environment& environment) {
    const auto at = [&environment](const char* name) {
        const auto found = environment.find(name);
        return found == environment.end() ? std::string() : found->second;
    };
    constexpr const char* kFile = "/logstream/contexts.yaml";
    if (const std::string folder = at("XDG_CONFIG_HOME"); folder.starts_with('/')) return folder + kFile;
    const std::string home = at("HOME");
    return home.empty() ? std::string() : home + "/.config" + kFile;
}

Result<Contexts> read_contexts(const std::string& path) {
    Contexts out;
    std::error_code unreadable;
    if (path.empty() || (!std::filesystem::exists(path, unreadable) && !unreadable)) return out;
    const auto text = read_config_file(path);
    if (!text) return std::unexpected(text.error());
    try {  // yaml-cpp's way to report; nothing of ours throws
        const YAML::Node file = YAML::Load(*text);
        if (!file.IsNull() && !file.IsMap())
            return protocol::fail(ErrorCode::kConfig, "{}: expected current and contexts", path);
        for (const auto& field : file)
            if (const auto key = field.first.as<std::string>(); key != "current" && key != "contexts")
                return protocol::fail(ErrorCode::kConfig, "{}: expected current and contexts, got '{}'", path, key);
        if (file["current"]) out.current = file["current"].as<std::string>();
        if (file["contexts"] && !file["contexts"].IsMap())
            return protocol::fail(ErrorCode::kConfig, "{}: expected contexts to map names to brokers and cluster",
                                  path);
        for (const auto& entry : file["contexts"]) {
            const auto name = entry.first.as<std::string>();
            auto context = read_context(entry.second, name, path);
            if (!context) return std::unexpected(context.error());
            out.all.emplace(name, *std::move(context));
        }
    } catch (const YAML::Exception& error) {
        return protocol::fail(ErrorCode::kConfig, "{}:{}: {}", path, error.mark.line + 1, error.msg);
    }
    return out;
}

namespace {

std::string to_yaml(const Contexts& contexts) {
    YAML::Emitter out;
    out << YAML::BeginMap;
    if (!contexts.current.empty()) out << YAML::Key << "current" << YAML::Value << contexts.current;
    out << YAML::Key << "contexts" << YAML::Value << YAML::BeginMap;
    for (const auto& [name, context] : contexts.all) {
        out << YAML::Key << name << YAML::Value << YAML::BeginMap;
        if (!context.brokers.empty()) out << YAML::Key << "brokers" << YAML::Value << YAML::Flow << context.brokers;
        if (context.cluster) out << YAML::Key << "cluster" << YAML::Value << *context.cluster;
        out << YAML::EndMap;
    }
    out << YAML::EndMap << YAML::EndMap;
    return std::string(out.c_str()) + "\n";
}

Result<void> replace(const std::string& path, const std::string& text) {
    const auto draft = process::DraftFile::open(path);
    if (!draft) return std::unexpected(draft.error());
    std::fwrite(text.data(), 1, text.size(), (*draft)->stream());
    if (auto complete = (*draft)->complete(); !complete) return complete;
    return (*draft)->put_in_place();
}

}  // namespace

Result<void> change_contexts(const std::string& path, const std::function<Result<void>(Contexts&)>& edit) {
    if (path.empty())
        return protocol::fail(ErrorCode::kConfig, "contexts cannot be stored: neither XDG_CONFIG_HOME nor HOME is set");
    std::error_code unresolved;
    const auto resolved = std::filesystem::weakly_canonical(path, unresolved);
    const std::string target = unresolved ? path : resolved.string();
    const std::string folder = std::filesystem::path(target).parent_path();
    std::filesystem::create_directories(folder, unresolved);
    const int lock = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0) return protocol::fail(ErrorCode::kConfig, "can't write {}: {}", target, std::strerror(errno));
    flock(lock, LOCK_EX);  // where that cannot be had, the last one to write counts
    auto contexts = read_contexts(target);
    Result<void> changed = contexts ? edit(*contexts) : std::unexpected(contexts.error());
    if (changed) changed = replace(target, to_yaml(*contexts));
    close(lock);
    return changed;
}

Result<Context> find_context(const Contexts& contexts, const std::string& name) {
    if (const auto found = contexts.all.find(name); found != contexts.all.end()) return found->second;
    std::vector<std::string_view> names;
    for (const auto& [each, context] : contexts.all) names.push_back(each);
    const std::string others =
        names.empty() ? "logstreamctl context add creates one" : fmt::format("known: {}", fmt::join(names, ", "));
    return protocol::fail(ErrorCode::kConfig, "there is no context '{}'; {}{}", name, others,
                          did_you_mean(name, names));
}

}  // namespace logstream::config
