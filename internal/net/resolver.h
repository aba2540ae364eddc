// Names of brokers, looked up off the loop: all names, all addresses of each, as often as it is asked.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "internal/env/endpoint.h"
#include "internal/net/interfaces.h"
#include "internal/net/loop.h"
#include "internal/protocol/error.h"

namespace logstream::net {

struct HostPort {
    std::string host;  // a name or an address
    std::uint16_t port{};
};

// What the names stand for, as far as that is known.
struct Resolved {
    std::vector<env::Endpoint> endpoints;  // in the order of the names; of one that is gone, what it stood for last
    std::string trouble;                   // why some stand for nothing; empty: all stand for something, or may yet
    bool whole{};                          // all were answered
};

// A name service may take many seconds to say that it does not know: each name is asked for in a thread of its own, and
// one that does not answer holds up neither the others nor the end of the program. Loop thread only.
class Resolver {
public:
    // Runs on the loop after each answer.
    using Handler = std::function<void(const Resolved&)>;

    Resolver(Loop& loop, std::vector<HostPort> names, Handler on_answer, Family family = Family::kAny);
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    // Asks for every name that is not being asked for. Addresses stand for themselves at once.
    void look_up();
    // Some are names, and may come to stand for something else.
    bool may_change() const;

private:
    struct Name {
        HostPort at;
        bool asked{};
        bool answered{};  // once
        std::vector<env::Endpoint> endpoints;
        std::string trouble;
    };
    struct Door;
    void on_answer(std::size_t name, protocol::Result<std::vector<env::Endpoint>> found);

    std::vector<Name> names_;
    Handler handler_;
    Family family_;               // addresses of others are left out
    std::shared_ptr<Door> door_;  // by which threads that outlive this find it gone
};

}  // namespace logstream::net
