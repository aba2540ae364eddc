// Room `admin`: a broker's HTTP pages: status as JSON, metrics for Prometheus, and a page for people.
//
// It runs threads of its own and knows nothing of the broker: what it shows comes from a function that it calls, which
// fetches the text from the event loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "internal/protocol/error.h"

namespace logstream::admin {

class HttpServer {
public:
    // What a page shows. Called from the server's threads; blocks until the broker has answered, at most for a second
    // or so; empty when it did not.
    enum class Page : std::uint8_t { kStatusJson, kMetrics };
    using Source = std::function<std::string(Page)>;

    // Listens on ip:port and serves until destroyed. kNetwork when the address cannot be had.
    static protocol::Result<std::unique_ptr<HttpServer>> start(const std::string& ip, std::uint16_t port,
                                                               Source source);
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

private:
    struct State;
    explicit HttpServer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace logstream::admin
