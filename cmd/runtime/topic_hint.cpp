#include "cmd/runtime/topic_hint.h"

#include <vector>

#include "internal/config/nearest.h"

namespace logstream::runtime {

namespace {
constexpr protocol::Duration kAskFor = std::chrono::seconds(2);
}

std::string similar_topic(const client::ClusterView& view, std::string_view name) {
    const auto topics = view.topics();
    std::vector<std::string_view> names;
    for (const client::Topic& topic : topics) names.push_back(topic.name);
    return config::did_you_mean(name, names);
}

protocol::Error with_topic_hint(protocol::Error error, Session& session, const std::string& topic) {
    if (error.code != protocol::ErrorCode::kUnknownTopic || session.router().view().was_deleted(topic)) return error;
    // A session of its own: this one may have asked for some topics only, and is about to end.
    auto asking = Session::open(session.log().name(), session.flags(), kAskFor);
    if (!asking) return error;
    client::Router& router = (*asking)->router();
    router.want_all_topics();
    router.start();
    (*asking)->loop().run_until([&router] { return router.settled() || router.failure(); }, kAskFor);
    error.message += similar_topic(router.view(), topic);
    return error;
}

}  // namespace logstream::runtime
