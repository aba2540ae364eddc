// How much the topics hold, and how fast they grow: the sum of what the owners of their partitions tell.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cmd/runtime/session.h"
#include "internal/client/cluster_view.h"

namespace logstream::ctl {

class Figures {
public:
    void add(const proto::TopicFigures& figures);
    // nullopt unless the owner of each of its partitions has told.
    std::optional<proto::TopicFigures> find(const client::Topic& topic) const;

private:
    std::map<protocol::TopicId, proto::TopicFigures> by_topic_;
};

// Asks all members.
Figures ask_figures(runtime::Session& session);

// records, bytes, records_per_second, last_write_ms; null where it is not known.
void put_figures(nlohmann::json& out, const std::optional<proto::TopicFigures>& figures);

// "?" where it is not known, "-" where nothing was written yet.
struct FiguresText {
    explicit FiguresText(const std::optional<proto::TopicFigures>& figures);
    std::string records = "?";
    std::string size = "?";
    std::string rate = "?";
    std::string last_write = "?";
};

}  // namespace logstream::ctl
