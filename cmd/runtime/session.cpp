#include "cmd/runtime/session.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include "cmd/runtime/status_line.h"
#include "internal/client/waiting.h"

namespace logstream::runtime {

namespace {

class TerminalSink final : public spdlog::sinks::stderr_color_sink_mt {
public:
    void log(const spdlog::details::log_msg& message) override {
        clear_status();
        spdlog::sinks::stderr_color_sink_mt::log(message);
    }
};

}  // namespace

std::shared_ptr<spdlog::logger> make_logger(std::string_view program, bool verbose) {
    auto log = std::make_shared<spdlog::logger>(std::string(program), std::make_shared<TerminalSink>());
    log->set_pattern(verbose ? "%T.%e %n: %^%l%$: %v" : "%n: %^%l%$: %v");
    log->set_level(verbose ? spdlog::level::debug : spdlog::level::warn);
    return log;
}

protocol::Result<std::unique_ptr<Session>> Session::open(std::string_view program, const ClientFlags& given,
                                                         protocol::Duration deadline) {
    auto completed = given.completed();
    if (!completed) return std::unexpected(completed.error());
    std::unique_ptr<Session> session(new Session);
    session->flags_ = *std::move(completed);
    const ClientFlags& flags = session->flags_;
    client::Bootstrap bootstrap;
    // Addresses name the brokers well enough; only discovery needs the cluster's name.
    const std::string cluster = flags.cluster.value_or(flags.brokers.empty() ? "logstream" : "");
    bootstrap.cluster = cluster;
    bootstrap.deadline = deadline;
    std::vector<net::HostPort> names;
    for (const std::string& broker : flags.brokers) {
        auto name = split_address(broker);
        if (!name) return std::unexpected(name.error());
        names.push_back(*std::move(name));
        bootstrap.named += (bootstrap.named.empty() ? "" : ",") + broker;
    }
    if (!names.empty()) bootstrap.look_up = [raw = session.get()] { raw->resolver_->look_up(); };
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
    session->resolver_ = std::make_unique<net::Resolver>(
        session->loop_, std::move(names), [raw = session.get()](const net::Resolved& brokers) {
            raw->tell_names(brokers);
            if (raw->router_) raw->router_->resolved(brokers.endpoints, brokers.trouble);
        });
    session->router_->listen([raw = session.get()] { raw->tell_view(); });
    session->env_->on_frame([raw = session.get()](const env::ReceivedFrame& frame) {
        if (raw->router_) raw->router_->on_frame(frame);
    });
    return session;
}

protocol::Result<void> Session::connect() {
    router_->start();
    wait([this] { return router_->settled() || router_->failure(); });
    if (router_->failure()) return std::unexpected(*router_->failure());
    if (!router_->reaches_quorum())
        log_->warn("{}: the output may be incomplete; other brokers may hold newer records", router_->trouble());
    return {};
}

void Session::wait(const std::function<bool()>& done) {
    client::Waiting waiting(*env_);
    while (!loop_.run_until(done, std::chrono::milliseconds(500))) {
        const std::string trouble = router_->trouble();
        waiting.look(trouble.empty() ? "no answer yet" : trouble);
    }
}

void Session::say(const std::string& line) {
    clear_status();
    std::fprintf(stderr, "%s: %s\n", log_->name().c_str(), line.c_str());
}

void Session::tell_names(const net::Resolved& brokers) {
    if (brokers.trouble == told_names_) return;
    told_names_ = brokers.trouble;
    if (!brokers.trouble.empty() && !brokers.endpoints.empty()) log_->warn("{}", brokers.trouble);
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
