// The view changes of this run of the broker, for people who ask why and how long.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "internal/protocol/time.h"
#include "internal/view/view.h"

namespace logstream::node {

// What only the coordinator of a view change knows of it.
struct ViewSteps {
    protocol::ViewNumber number;
    std::string reason;             // why it was begun
    protocol::Duration exchange{};  // until it was known what its members hold
    protocol::Duration install{};   // then until it was chosen
};

struct ViewChange {
    view::View view;
    std::int64_t since_ms{};                   // by the wall clock, since 1970
    std::optional<protocol::Duration> frozen;  // how long this broker took no records for it; none: it took none before
    std::optional<ViewSteps> steps;            // of its coordinator
};

class ViewHistory {
public:
    static constexpr std::size_t kLimit = 100;

    void add(ViewChange change);
    // The newest last.
    const std::deque<ViewChange>& changes() const { return changes_; }
    // An object for each, as STATUS tells them: view, id, since_ms, leader and members by name, transport, frozen_ms,
    // and from its coordinator reason, exchange_ms and install_ms.
    std::string json() const;

private:
    std::deque<ViewChange> changes_;
};

}  // namespace logstream::node
