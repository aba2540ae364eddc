// logstreamctl context: names for clusters.
#include "internal/config/contexts.h"

#include "cmd/logstreamctl/command.h"
#include "internal/text/utf8.h"

namespace logstream::ctl {

namespace {

std::string path_of_contexts() { return config::contexts_path(config::process_environment()); }

// Changes the file, and says so.
int change(const std::function<Result<std::string>(config::Contexts&)>& edit) {
    std::string done;
    const auto changed = config::change_contexts(path_of_contexts(), [&](config::Contexts& contexts) -> Result<void> {
        auto edited = edit(contexts);
        if (!edited) return std::unexpected(edited.error());
        done = *std::move(edited);
        return {};
    });
    if (!changed) return complain(changed.error());
    std::printf("%s\n", done.c_str());
    return runtime::kDone;
}

}  // namespace

int context_add(const Common& common, const std::string& name) {
    const auto refuse = [](std::string_view why) {
        return runtime::wrong_usage("logstreamctl", why, "logstreamctl context add");
    };
    if (!text::is_utf8(name) || name.find_first_of("\n\r\t") != std::string::npos)
        return refuse("a context needs a name in UTF-8, on one line");
    if (common.client.cluster && !text::is_utf8(*common.client.cluster))
        return refuse("--cluster takes a name in UTF-8");
    if (common.client.brokers.empty() && !common.client.cluster)
        return refuse("a context needs --brokers, --cluster or both");
    return change([&](config::Contexts& contexts) -> Result<std::string> {
        const bool known = contexts.all.contains(name);
        contexts.all[name] = {common.client.brokers, common.client.cluster};
        if (contexts.current.empty()) contexts.current = name;
        return fmt::format("{} context {}{}", known ? "updated" : "added", name,
                           contexts.current == name ? ", which is the current one" : "");
    });
}

int context_use(const std::string& name) {
    return change([&](config::Contexts& contexts) -> Result<std::string> {
        if (const auto found = config::find_context(contexts, name); !found) return std::unexpected(found.error());
        contexts.current = name;
        return fmt::format("{} is the current context", name);
    });
}

int context_remove(const std::string& name) {
    return change([&](config::Contexts& contexts) -> Result<std::string> {
        if (const auto found = config::find_context(contexts, name); !found) return std::unexpected(found.error());
        contexts.all.erase(name);
        const bool was_current = contexts.current == name;
        if (was_current) contexts.current.clear();
        return fmt::format("removed context {}{}", name, was_current ? "; there is no current context now" : "");
    });
}

int context_list(const Common& common) {
    const auto contexts = config::read_contexts(path_of_contexts());
    if (!contexts) return complain(contexts.error());
    if (common.json) {
        json out{{"current", contexts->current.empty() ? json(nullptr) : json(contexts->current)},
                 {"contexts", json::array()}};
        for (const auto& [name, context] : contexts->all)
            out["contexts"].push_back({{"name", name},
                                       {"brokers", context.brokers},
                                       {"cluster", context.cluster ? json(*context.cluster) : json(nullptr)}});
        print(out);
        return runtime::kDone;
    }
    Table rows{{"", "NAME", "CLUSTER", "BROKERS"}};
    for (const auto& [name, context] : contexts->all)
        rows.push_back({name == contexts->current ? "*" : "", name, context.cluster.value_or("-"),
                        context.brokers.empty() ? "by broadcast" : fmt::format("{}", fmt::join(context.brokers, ","))});
    print_table(rows);
    return runtime::kDone;
}

}  // namespace logstream::ctl
