// All of a node's datagram traffic: its own socket, the group's and discovery's. Internal to net.
#pragma once

#include <spdlog/logger.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "internal/env/env.h"
#include "internal/net/counters.h"
#include "internal/net/frame_receiver.h"
#include "internal/net/frame_sender.h"
#include "internal/net/interfaces.h"
#include "internal/net/loop.h"
#include "internal/net/net_options.h"
#include "internal/net/polled_fd.h"

namespace logstream::net {

// The interface that multicast and broadcast use: the one that is named, else the one with `listen`'s address, else
// none (a client that uses all). kConfig and kNetwork errors say what could be chosen.
protocol::Result<std::optional<Interface>> choose_interface(const NetOptions& options, std::span<const Interface> all);

// Checks what arrives (a frame, its checksum, our cluster, not our own), counts what does not fit, and hands the rest
// on.
class Datagrams {
public:
    // `own` is the socket that everything is sent from, already bound (see open_own_socket).
    static protocol::Result<std::unique_ptr<Datagrams>> open(Loop& loop, const NetOptions& options,
                                                             const std::optional<Interface>& interface, Fd own,
                                                             Counters& counters, spdlog::logger& log);

    void on_frame(env::FrameHandler handler) { handler_ = std::move(handler); }
    void set_self(protocol::NodeId self) { self_ = self; }

    void broadcast(const env::OutFrame& frame);
    void multicast(std::span<const env::OutFrame> frames);
    void send(env::Endpoint to, const env::OutFrame& frame);

    env::DatagramLimits limits() const { return limits_; }
    bool multicast_ready() const { return group_ != nullptr; }

private:
    Datagrams(Loop& loop, const NetOptions& options, const std::optional<Interface>& interface, Counters& counters,
              spdlog::logger& log);
    protocol::Result<void> open_own(Fd fd);
    protocol::Result<void> open_group();
    protocol::Result<void> open_discovery();
    std::vector<Destination> discovery_destinations() const;
    void receive(env::Channel channel, PolledFd& socket, FrameReceiver& receiver, int rounds);
    void arrived(env::Channel channel, FrameReceiver& receiver, const FrameReceiver::Arrival& arrival);

    Loop& loop_;
    const NetOptions& options_;
    std::optional<Interface> interface_;
    Counters& counters_;
    spdlog::logger& log_;
    protocol::ClusterTag cluster_;
    protocol::NodeId self_;
    env::FrameHandler handler_;
    env::DatagramLimits limits_;
    FrameReceiver few_;             // of the node's own socket and the broadcast port
    FrameReceiver many_;            // of groups
    std::uint32_t lost_seen_[3]{};  // per channel, the kernel's count when last heard
    std::unique_ptr<PolledFd> own_;
    bool own_takes_v6_ = false;
    std::unique_ptr<FrameSender> sender_;
    std::unique_ptr<PolledFd> group_;      // null: no multicast
    std::unique_ptr<PolledFd> discovery_;  // null: not asked for
    std::unique_ptr<FrameSender> discovery_sender_;
};

}  // namespace logstream::net
