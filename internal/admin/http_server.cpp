#include "internal/admin/http_server.h"

#include <httplib.h>
#include <sys/socket.h>

#include <thread>

#include "internal/admin/page.h"

namespace logstream::admin {

struct HttpServer::State {
    httplib::Server server;
    std::thread thread;
};

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::~HttpServer() {
    state_->server.stop();
    state_->thread.join();
}

protocol::Result<std::unique_ptr<HttpServer>> HttpServer::start(const std::string& ip, std::uint16_t port,
                                                                Source source) {
    auto state = std::make_unique<State>();
    httplib::Server& server = state->server;
    // Two threads are enough for people and scrapers; the default is one for each core, eight at least.
    server.new_task_queue = [] { return new httplib::ThreadPool(2); };
    server.set_keep_alive_timeout(1);
    // Not httplib's default, SO_REUSEPORT: with that, two brokers would take one port and answer in turn.
    server.set_socket_options([](int listening) {
        const int yes = 1;
        setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    const auto serve = [&server, source](const char* path, Page page, const char* type) {
        server.Get(path, [source, page, type](const httplib::Request&, httplib::Response& response) {
            std::string text = source(page);
            if (text.empty()) {
                response.status = 503;
                response.set_content("the broker did not answer\n", "text/plain");
                return;
            }
            response.set_content(text, type);
        });
    };
    serve("/status", Page::kStatusJson, "application/json");
    serve("/metrics", Page::kMetrics, "text/plain; version=0.0.4");
    server.Get("/", [](const httplib::Request&, httplib::Response& response) {
        response.set_content(kPage, "text/html; charset=utf-8");
    });
    if (!server.bind_to_port(ip.c_str(), port))
        return protocol::fail(protocol::ErrorCode::kNetwork,
                              "the HTTP port {} of {} is in use by another program (ss -lntp shows which); choose "
                              "another with --http, or --http off",
                              port, ip);
    state->thread = std::thread([&server] { server.listen_after_bind(); });
    while (!server.is_running()) std::this_thread::yield();  // a stop before the thread listens would be lost
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

}  // namespace logstream::admin
