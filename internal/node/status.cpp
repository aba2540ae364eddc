// What the broker tells about itself: JSON for scripts and people, text for Prometheus.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "internal/node/node.h"
#include "internal/text/json.h"

namespace logstream::node {

using nlohmann::json;
using protocol::hex;

std::string_view Node::role_of(NodeId member) const {
    if (serving_ && serving_->has(member)) return serving_->coordinator == member ? "leader" : "follower";
    return "learner";
}

// The cluster is known to have gone on without this broker: what it served before is over.
bool Node::outside() const { return !serving() && core_.record.chosen && !core_.record.chosen->has(core_.self.id); }

json Node::members_json() const {
    json out = json::array();
    const auto total_of = [&](NodeId id) {
        const auto found = log_end_totals_.find(id);
        return found == log_end_totals_.end() ? std::int64_t{0} : found->second;
    };
    std::int64_t most = streams_.log_end_total();
    for (const auto& [id, total] : log_end_totals_) most = std::max(most, total);
    const auto add = [&](const view::Member& member, std::string_view role) {
        const bool self = member.id == core_.self.id;
        // Who is outside the view hears its members no more, which says nothing of them.
        const bool watched = !self && !outside();
        const std::int64_t own = self ? streams_.log_end_total() : total_of(member.id);
        out.push_back({{"id", hex(member.id.value)},
                       {"name", member.name},
                       {"address", env::to_string(address_of(member))},
                       {"http_port", member.http_port},
                       {"protocol", member.version},
                       {"role", role},
                       {"phi", watched ? watch_.phi(member.id) : 0.0},
                       {"failed", watched && watch_.failed(member.id)},
                       {"clock_ahead_ms", watched ? clocks_.ahead_ms(member.id).value_or(0) : 0},
                       {"lag_records", std::max<std::int64_t>(0, most - own)}});
    };
    if (outside()) {
        for (const view::Member& member : core_.record.chosen->members)
            add(member, core_.record.chosen->coordinator == member.id ? "leader" : "follower");
        add(core_.self, "learner");
        return out;
    }
    if (const auto& view = serving_ ? serving_ : core_.record.chosen)
        for (const view::Member& member : view->members) add(member, role_of(member.id));
    for (const auto& [id, learner] : learners_)
        if ((!serving_ || !serving_->has(id)) && core_.env.now() - learner.heard < std::chrono::seconds(3))
            add(learner.member, "learner");
    return out;
}

json Node::gone_json() const {
    json out = json::array();
    for (const auto& [id, gone] : gone_) {
        if (core_.env.now() - gone.since > kGoneMemory) continue;
        out.push_back({{"id", hex(id.value)},
                       {"name", gone.member.name},
                       {"address", env::to_string(address_of(gone.member))},
                       {"since_ms", gone.since_ms}});
    }
    return out;
}

std::string Node::status_json() const {
    const auto refused = refusal();
    json out;
    out["cluster"] = settings_.cluster;
    out["cluster_id"] = to_string(core_.record.cluster);
    out["node"] = hex(core_.self.id.value);
    out["name"] = settings_.name;
    out["view"] = core_.record.chosen_number().value;
    out["protocol"] = serving_ ? serving_->version : settings_.protocol_version;
    out["promised"] = core_.record.promised.value;
    out["leader"] = serving_ && !outside() ? json(hex(serving_->coordinator.value)) : json(nullptr);
    out["quorum"] = !refused.has_value();
    if (refused) out["reason"] = refused->message;
    out["in_view"] = serving_ && !outside();
    if (outside()) {
        out["leader"] = hex(core_.record.chosen->coordinator.value);
        out["reason"] = fmt::format("this broker is outside view {}: ask its members", core_.record.chosen_number());
    }
    out["warnings"] = json::array();
    if (!refused && serving_->members.size() == 1) out["warnings"].push_back(kOneCopy);
    const auto distrust = clocks_.distrust();
    out["clocks"] = {{"agree", !distrust.has_value()}};
    if (distrust) {
        out["clocks"]["reason"] = *distrust;
        out["warnings"].push_back("RETENTION by time is paused: " + *distrust);
    }
    if (!apart_.empty()) out["apart"] = apart_;
    out["role"] = !serving() ? (learner_.running() ? "learner" : "seeking") : role_of(core_.self.id);
    out["transport"] = serving_ && serving_->multicast ? "multicast" : "tcp";
    out["fsync"] = settings_.fsync;
    out["members"] = members_json();
    out["gone"] = gone_json();
    out["disk"] = {{"bytes", core_.store.size_bytes()}, {"full", core_.store.disk_full()}};
    text::put(out["disk"], "dir", settings_.data_dir);
    out["streams"] = streams_.all().size();
    out["topics"] = topics_.all().size();
    out["clients"] = {{"connections", service_.connections()},
                      {"waiting_fetches", service_.waiting_fetches()},
                      {"groups", groups_.active_groups()},
                      {"group_members", groups_.members()}};
    const Replicator::Counters& counters = replicator_.counters();
    out["replication"] = {{"frames_sent", counters.frames_sent},
                          {"bytes_sent", counters.bytes_sent},
                          {"payload_bytes", counters.payload_bytes},
                          {"frames_resent", counters.frames_resent},
                          {"nacks_sent", counters.nacks_sent},
                          {"nacks_received", counters.nacks_received},
                          {"frames_dropped", counters.frames_dropped},
                          {"orphans_returned", orphans_.returned()},
                          {"orphans_lost", orphans_.lost()}};
    json& network = out["network"] = json::object();
    for (const env::Counter& counted : core_.env.counted()) network[std::string(counted.name)] = counted.value;
    return text::dump(out);
}

// In Prometheus' text format, version 0.0.4.
std::string Node::metrics_text() const {
    std::string out;
    const auto gauge = [&out](std::string_view name, std::string_view help, auto value) {
        out +=
            fmt::format("# HELP logstream_{0} {1}\n# TYPE logstream_{0} gauge\nlogstream_{0} {2}\n", name, help, value);
    };
    const auto counter = [&out](std::string_view name, std::string_view help, auto value) {
        out += fmt::format("# HELP logstream_{0} {1}\n# TYPE logstream_{0} counter\nlogstream_{0} {2}\n", name, help,
                           value);
    };
    gauge("view", "Number of the newest view known to be chosen.", core_.record.chosen_number().value);
    gauge("members", "Members of the current view.", serving_ ? serving_->members.size() : 0);
    gauge("members_in_reach", "Reachable members of the current view.", watch_.in_reach());
    gauge("leader", "1 on the leader.", is_leader() ? 1 : 0);
    gauge("quorum", "1 while writes are accepted.", refusal() ? 0 : 1);
    gauge("retention_paused", "1 while nothing is deleted by age because the brokers' clocks disagree.",
          clocks_.distrust() ? 1 : 0);
    gauge("streams", "Streams stored on this broker.", streams_.all().size());
    gauge("disk_bytes", "Bytes of all segments.", core_.store.size_bytes());
    gauge("client_connections", "Accepted connections.", service_.connections());
    const Replicator::Counters& counters = replicator_.counters();
    counter("frames_sent_total", "Replication frames sent.", counters.frames_sent);
    counter("frame_bytes_sent_total", "Bytes of replication frames sent.", counters.bytes_sent);
    counter("frames_resent_total", "Replication frames sent again.", counters.frames_resent);
    counter("nacks_sent_total", "NACKs sent.", counters.nacks_sent);
    counter("frames_dropped_total", "Replication frames dropped: another view, cluster or sender.",
            counters.frames_dropped);
    counter("records_appended_total", "Records appended as owner.", counters.records_appended);
    counter("timestamps_out_of_range_total", "Batches accepted with a record timestamp outside topics.timestamp_range.",
            service_.timestamps_out_of_range());
    counter("orphans_returned_total", "Orphan batches appended again.", orphans_.returned());
    counter("orphans_lost_total", "Orphan batches that cannot be appended again; the log names them.", orphans_.lost());
    for (const env::Counter& counted : core_.env.counted())
        counter(fmt::format("network_{}_total", counted.name), "Socket counter; see internal/net/counters.h.",
                counted.value);
    return out;
}

}  // namespace logstream::node
