#include "cmd/runtime/session.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace logstream::runtime {

std::shared_ptr<spdlog::logger> make_logger(std::string_view program, bool verbose) {
    auto log =
        std::make_shared<spdlog::logger>(std::string(program), std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    log->set_pattern(verbose ? "%T.%e %n: %^%l%$: %v" : "%n: %^%l%$: %v");
    log->set_level(verbose ? spdlog::level::debug : spdlog::level::warn);
    return log;
}

protocol::Result<std::unique_ptr<Session>> Session::open(std::string_view program, const ClientFlags& flags,
                                                         protocol::Duration deadline) {
    client::Bootstrap bootstrap;
    // Addresses name the brokers well enough; only discovery needs the cluster's name.
    const std::string cluster = flags.cluster.value_or(flags.brokers.empty() ? "logstream" : "");
    bootstrap.cluster = cluster;
    bootstrap.deadline = deadline;
    for (const std::string& broker : flags.brokers) {
        auto endpoint = resolve(broker);
        if (!endpoint) return std::unexpected(endpoint.error());
        bootstrap.brokers.push_back(*endpoint);
    }
    std::unique_ptr<Session> session(new Session);
    session->log_ = make_logger(program, flags.verbose);
    net::NetOptions options;
    options.cluster = cluster;
    options.broadcast_port = flags.broadcast_port;
    options.interface = flags.interface;
    auto env = net::UvEnv::open(session->loop_, options, session->log_);
    if (!env) return std::unexpected(env.error());
    session->env_ = std::move(*env);
    session->log_->info("looking for brokers {}", flags.brokers.empty() ? "by broadcast" : "at the addresses given");
    session->router_ = std::make_unique<client::Router>(*session->env_, std::move(bootstrap));
    session->router_->listen([raw = session.get()] { raw->tell_view(); });
    session->env_->on_frame([raw = session.get()](const env::ReceivedFrame& frame) {
        if (raw->router_) raw->router_->on_frame(frame);
    });
    return session;
}

protocol::Result<void> Session::connect() {
    router_->start();
    const auto decided = [this] { return router_->view().known() || router_->failure(); };
    while (!loop_.run_until(decided, std::chrono::hours(1))) {
    }
    if (router_->failure()) return std::unexpected(*router_->failure());
    return {};
}

void Session::tell_view() {
    const client::ClusterView& view = router_->view();
    if (!view.known() || view.number == told_) return;
    told_ = view.number;
    std::string members;
    for (const client::Broker& member : view.members)
        members += fmt::format(" {}={}{}", member.name, env::to_string(member.endpoint),
                               member.id == view.leader ? " (leader)" : "");
    log_->info("cluster {}, lineage {}, view {}:{}", view.cluster, protocol::to_string(view.cluster_id), view.number,
               members);
}

void Session::drain(protocol::Duration limit) {
    router_.reset();  // closes its connections
    loop_.run_until([this] { return env_->open_connections() == 0; }, limit);
}

}  // namespace logstream::runtime
