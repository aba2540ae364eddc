// A broker's env and a client's on loopback, with recording handlers.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "internal/net/polled_fd.h"
#include "internal/net/udp_socket.h"
#include "tests/unit/net_fixture.h"

namespace logstream::net {

class Tcp : public NetTest {
protected:
    Recorder server_side, client_side;
    std::unique_ptr<UvEnv> server, user;

    void start(NetOptions server_options = broker(), NetOptions client_options = client()) {
        server = open_server(server_side, std::move(server_options));
        user = open(std::move(client_options));
    }
    ConnectionId connect() { return user->connect(server->local_address(), 5s, client_side); }
    ConnectionId connect_and_wait() {
        const ConnectionId c = connect();
        const std::size_t before = accepted.size();
        EXPECT_TRUE(eventually([&] {
            return std::ranges::find(client_side.connected, c) != client_side.connected.end() &&
                   accepted.size() > before;
        }));
        return c;
    }
    // A connection of a program that is not ours.
    Fd connect_raw() const {
        Fd fd(::socket(AF_INET, SOCK_STREAM, 0));
        const SocketAddress to(server->local_address());
        EXPECT_EQ(::connect(fd.get(), to.get(), to.size()), 0);
        return fd;
    }
};

}  // namespace logstream::net
