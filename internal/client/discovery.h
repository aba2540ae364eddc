// Finds brokers of a cluster name by broadcast: JOIN as a client, until brokers answer.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "internal/env/env.h"
#include "internal/protocol/ids.h"

namespace logstream::client {

// Broadcasts JOIN(client) every `kInterval` while it runs. Brokers that were bootstrapped apart answer to one cluster
// name, too, so that answers are gathered for `kGather` before they are judged: a lineage that holds records goes
// before one that holds none, and two that do are an error for a person to decide on.
class Discovery {
public:
    static constexpr protocol::Duration kInterval = std::chrono::milliseconds(200);
    static constexpr protocol::Duration kGather = std::chrono::milliseconds(30);
    // Called from the loop with addresses of brokers of one lineage, or kWrongCluster with both lineages' names. Stops
    // the search.
    using FoundHandler = std::function<void(protocol::Result<std::set<env::Endpoint>> brokers)>;
    // A broker of the cluster answered that is in no view yet.
    using UnreadyHandler = std::function<void(env::Endpoint broker)>;

    Discovery(env::Env& env, std::string cluster, FoundHandler found, UnreadyHandler unready);
    ~Discovery();
    Discovery(const Discovery&) = delete;
    Discovery& operator=(const Discovery&) = delete;

    void start();  // does nothing while it runs
    void stop();
    // Clusters of other names that answered since the search began: each one's name and a broker of it.
    const std::map<std::string, env::Endpoint>& others() const { return others_; }
    // Every datagram that the Env received; what is not an answer to us is ignored.
    void on_frame(const env::ReceivedFrame& frame);

private:
    struct Lineage {
        bool has_records{};
        bool serving{};
        std::set<env::Endpoint> brokers;
    };

    void ask();
    void broadcast_join(const std::string& cluster);
    void judge();

    env::Env& env_;
    std::string cluster_;
    FoundHandler found_;
    UnreadyHandler unready_;
    std::uint64_t nonce_{};
    std::uint64_t asked_{};
    std::map<protocol::ClusterId, Lineage> answers_;
    std::map<std::string, env::Endpoint> others_;
    std::set<env::Endpoint> unready_brokers_;  // those that are asked
    env::TimerId ask_timer_;
    env::TimerId judge_timer_;
    bool running_{};
};

}  // namespace logstream::client
