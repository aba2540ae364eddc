// logstreamctl complete: what shells offer for the rest of a command line.
#include "cmd/logstreamctl/command.h"
#include "internal/config/contexts.h"

namespace logstream::ctl {

namespace {

// A shell stands still meanwhile.
constexpr Duration kLimit = std::chrono::seconds(1);

// One a line; what a shell or a terminal would take for something else than a name is left out.
void offer(const std::string& name) {
    const auto control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
    if (std::ranges::none_of(name, control)) std::printf("%s\n", name.c_str());
}

void print_contexts() {
    const auto contexts = config::read_contexts(config::contexts_path(config::process_environment()));
    if (!contexts) return;
    for (const auto& [name, context] : contexts->all) offer(name);
}

void print_groups(runtime::Session& session) {
    proto::Groups request;
    request.set_action(proto::Groups::LIST);
    const auto response = ask_groups_owner(session, std::move(request), nullptr, kLimit);
    if (!response) return;
    for (const proto::GroupInfo& group : response->groups()) offer(group.group());
}

}  // namespace

int complete(const Common& common, const std::string& source) {
    if (source == "contexts") {
        print_contexts();
        return runtime::kDone;
    }
    auto session = runtime::Session::open("logstreamctl", common.client, kLimit);
    if (!session) return runtime::kFailed;
    (*session)->log().set_level(spdlog::level::off);
    client::Router& router = (*session)->router();
    if (source == "topics") router.want_all_topics();
    if (!(*session)->connect()) return runtime::kFailed;
    if (source == "topics")
        for (const client::Topic& topic : router.view().topics()) offer(topic.name);
    if (source == "members")
        for (const Broker& member : router.view().members) offer(member.name);
    if (source == "brokers")
        for (const Endpoint broker : members_of(router.view())) offer(env::to_string(broker));
    if (source == "groups") print_groups(**session);
    return runtime::kDone;
}

}  // namespace logstream::ctl
