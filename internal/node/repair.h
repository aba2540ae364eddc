// Damage that a read found while this broker is a member: the bytes come from a peer, into the same place.
#pragma once

#include <functional>
#include <memory>

#include "internal/node/aligner.h"
#include "internal/node/core.h"
#include "internal/protocol/lifetime.h"

namespace logstream::node {

class Repair {
public:
    // `beyond_repair`: not in place; this broker must leave the view and catch up again.
    Repair(Core& core, std::function<void(const std::string&)> beyond_repair)
        : core_(core), beyond_repair_(std::move(beyond_repair)) {}

    // It is time to look for damage: once a second at most, since all streams are looked at.
    bool is_due() const { return !aligner_ && core_.env.now() >= next_; }
    // Looks for damage, if that is due, while `view` serves; `peers` are the brokers that may hold the missing records.
    void tick(ViewNumber view, const std::vector<view::Member>& peers);
    // The view is changing.
    void stop() { aligner_.reset(); }

private:
    void finished(const Result<void>& result);

    Core& core_;
    std::function<void(const std::string&)> beyond_repair_;
    std::unique_ptr<Aligner> aligner_;
    protocol::TimePoint next_;
    protocol::Lifetime lifetime_;
};

}  // namespace logstream::node
