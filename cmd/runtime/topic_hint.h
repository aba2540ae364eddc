// Which topic a misspelt name was probably meant to be.
#pragma once

#include "cmd/runtime/session.h"

namespace logstream::runtime {

// "; did you mean 'app'?", or nothing when no topic that is known has a name that is near.
std::string similar_topic(const client::ClusterView& view, std::string_view name);

// The error; if it says that there is no topic of this name, with the name that is near, which the cluster is asked
// for: "there is no topic 'ap'; did you mean 'app'?".
protocol::Error with_topic_hint(protocol::Error error, Session& session, const std::string& topic);

}  // namespace logstream::runtime
