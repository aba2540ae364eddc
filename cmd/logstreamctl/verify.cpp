// logstreamctl verify: do the replicas hold the same records?
#include <algorithm>
#include <set>

#include "cmd/logstreamctl/command.h"

namespace logstream::ctl {

namespace {

constexpr Duration kChecksumLimit = std::chrono::minutes(10);
constexpr int kMostTries = 10;
constexpr Duration kViewPatience = std::chrono::seconds(2);
constexpr Duration kViewInterval = std::chrono::milliseconds(100);

using StreamKey = std::pair<std::uint64_t, std::uint32_t>;
using Digests = std::map<StreamKey, proto::StreamDigest>;

struct Member {
    Broker broker;
    Digests digests;
};

// What is compared of one stream.
struct Range {
    std::int64_t from{};
    std::int64_t to{};
};

Result<std::vector<Member>> ask_members(runtime::Session& session, const client::ClusterView& view,
                                        const proto::Verify& request, Duration limit) {
    const auto answers = ask_all<proto::VerifyResponse, proto::Verify>(
        session, members_of(view), MessageType::kVerify, [&request](Endpoint) { return request; }, limit);
    std::vector<Member> members;
    for (const Broker& broker : view.members) {
        const auto& answer = answers.at(broker.endpoint);
        if (!answer)
            return protocol::fail(answer.error().code, "{} at {} cannot be verified: {}", broker.name,
                                  env::to_string(broker.endpoint), answer.error().message);
        if (answer->history().code() != 0)
            session.log().warn("{} at {}: {}", broker.name, env::to_string(broker.endpoint),
                               answer->history().message());
        Member member{broker, {}};
        for (const proto::StreamDigest& digest : answer->streams())
            member.digests[{digest.summary().topic(), digest.summary().partition()}] = digest;
        members.push_back(std::move(member));
    }
    std::ranges::stable_sort(members, {}, [](const Member& member) { return member.broker.name; });
    return members;
}

// From the greatest log start to the least high watermark.
std::map<StreamKey, Range> common_ranges(const std::vector<Member>& members) {
    std::map<StreamKey, Range> ranges;
    for (const Member& member : members)
        for (const auto& [key, digest] : member.digests)
            ranges.try_emplace(key, Range{0, std::numeric_limits<std::int64_t>::max()});
    for (auto& [key, range] : ranges) {
        for (const Member& member : members) {
            const auto found = member.digests.find(key);
            range.from = std::max(range.from, found == member.digests.end() ? 0 : found->second.summary().log_start());
            range.to = std::min(range.to, found == member.digests.end() ? 0 : found->second.summary().high_watermark());
        }
        range.to = std::max(range.to, range.from);
    }
    return ranges;
}

// What the members of one view said: first where their logs begin and end, then the checksums of what is common.
struct Asked {
    protocol::ViewNumber view;
    std::vector<Member> members;
    std::map<StreamKey, Range> ranges;
    std::vector<Member> checked;
};

Result<Asked> ask(runtime::Session& session, const client::ClusterView& view) {
    proto::Verify request;
    request.set_cluster_id(view.cluster_id.value);
    auto members = ask_members(session, view, request, kAnswerLimit);
    if (!members) return std::unexpected(members.error());
    Asked asked{view.number, *std::move(members), {}, {}};
    asked.ranges = common_ranges(asked.members);
    for (const auto& [key, range] : asked.ranges) {
        if (range.from == range.to) continue;
        proto::StreamPoint* point = request.add_from();
        point->set_topic(key.first);
        point->set_partition(key.second);
        point->set_from(range.from);
        point->set_to(range.to);
    }
    if (request.from_size() == 0) return asked;
    auto checked = ask_members(session, view, request, kChecksumLimit);
    if (!checked) return std::unexpected(checked.error());
    asked.checked = *std::move(checked);
    return asked;
}

// Waits a little for another view than this one.
bool wait_for_next_view(runtime::Session& session, protocol::ViewNumber view) {
    const auto changed = [&] { return session.router().view().number != view; };
    const auto began = session.loop().now();
    while (!changed() && session.loop().now() - began < kViewPatience) {
        session.router().refresh();
        session.loop().run_until(changed, kViewInterval);
    }
    return changed();
}

// Who left the view does not answer: then the members of the next one are asked.
Result<Asked> ask_one_view(runtime::Session& session) {
    for (int tries = 1;; ++tries) {
        const client::ClusterView view = session.router().view();
        Result<Asked> asked = ask(session, view);
        if (asked || tries == kMostTries) return asked;
        session.log().warn("{}; waiting for the next view", asked.error().message);
        if (!wait_for_next_view(session, view.number)) return asked;
    }
}

json member_json(const Member& member, const StreamKey& key, const Member* checked) {
    json out{{"id", protocol::to_string(member.broker.id)}, {"name", member.broker.name}};
    const auto found = member.digests.find(key);
    if (found == member.digests.end()) {
        out["absent"] = true;
        return out;
    }
    const proto::StreamSummary& summary = found->second.summary();
    out["log_start"] = summary.log_start();
    out["log_end"] = summary.log_end();
    out["high_watermark"] = summary.high_watermark();
    out["epochs"] = json::array();
    for (const proto::EpochEntry& entry : summary.epochs())
        out["epochs"].push_back({{"view", entry.view()}, {"first_offset", entry.first_offset()}});
    if (checked == nullptr) return out;
    const auto digest = checked->digests.find(key);
    if (digest == checked->digests.end()) {
        out["error"] = "this member did not check the stream";
    } else if (digest->second.error().code() != 0) {
        out["error"] = digest->second.error().message();
    } else {
        out["checksum"] = protocol::hex(digest->second.checksum());
    }
    return out;
}

// A member without a stream of which nothing is committed has nothing to differ in.
bool agree(const json& members, const Range& range) {
    if (range.from == range.to)
        return std::ranges::all_of(members, [&](const json& member) {
            return !member.contains("absent") || std::ranges::all_of(members, [](const json& other) {
                return other.value("high_watermark", std::int64_t{0}) == other.value("log_start", std::int64_t{0});
            });
        });
    std::set<std::string> checksums;
    for (const json& member : members) {
        if (!member.contains("checksum")) return false;
        checksums.insert(member["checksum"].get<std::string>());
    }
    return checksums.size() <= 1;
}

// Retention runs on each member by itself: a record below the greatest log start is read on some of them only.
bool same_log_start(const json& members) {
    std::set<std::int64_t> starts;
    for (const json& member : members)
        if (member.contains("log_start")) starts.insert(member["log_start"].get<std::int64_t>());
    return starts.size() <= 1;
}

std::string_view verdict(const json& stream) {
    if (!stream["ok"].get<bool>()) return "DIFFERS";
    return stream["same_log_start"].get<bool>() ? "ok" : "ok; LOG STARTS DIFFER";
}

void print_report(const json& report) {
    Table rows{{"STREAM", "MEMBER", "LOG START", "LOG END", "HIGH WATERMARK", "EPOCHS", "CHECKSUM", ""}};
    for (const json& stream : report["streams"]) {
        const std::string name =
            fmt::format("{}/{}", stream["topic"].get<std::string>(), stream["partition"].get<std::uint32_t>());
        for (const json& member : stream["members"]) {
            std::string epochs;
            for (const json& entry : member.value("epochs", json::array()))
                epochs += fmt::format("{}{}@{}", epochs.empty() ? "" : " ", entry["view"].get<std::uint64_t>(),
                                      entry["first_offset"].get<std::int64_t>());
            const auto number = [&member](const char* field) {
                return member.contains(field) ? std::to_string(member[field].get<std::int64_t>()) : "?";
            };
            rows.push_back({name, member["name"].get<std::string>(), number("log_start"), number("log_end"),
                            number("high_watermark"), epochs,
                            member.contains("absent")  ? "not held"
                            : member.contains("error") ? member["error"].get<std::string>()
                                                       : member.value("checksum", "-"),
                            std::string(verdict(stream))});
        }
    }
    print_table(rows);
}

}  // namespace

int verify(const Common& common) {
    auto session = connect(common);
    if (!session) return complain(session.error());
    const auto asked = ask_one_view(**session);
    if (!asked) return complain(asked.error());
    const auto& [view, members, ranges, checked] = *asked;

    json report{{"view", view.value}, {"ok", true}, {"streams", json::array()}};
    std::size_t differing = 0;
    std::size_t other_starts = 0;
    for (const auto& [key, range] : ranges) {
        std::string topic = protocol::hex(key.first);
        bool compacted = false;
        json of_members = json::array();
        for (std::size_t i = 0; i < members.size(); ++i) {
            const Member& member = members[i];
            if (const auto found = member.digests.find(key); found != member.digests.end()) {
                if (!found->second.topic_name().empty()) topic = found->second.topic_name();
                compacted |= found->second.compacted();
            }
            const auto same = std::ranges::find(checked, member.broker.id, [](const Member& m) { return m.broker.id; });
            of_members.push_back(
                member_json(member, key, range.from == range.to || same == checked.end() ? nullptr : &*same));
        }
        const bool ok = agree(of_members, range);
        const bool starts_agree = same_log_start(of_members);
        other_starts += starts_agree ? 0 : 1;
        differing += ok ? 0 : 1;
        report["streams"].push_back({{"topic", topic},
                                     {"partition", key.second},
                                     {"from", range.from},
                                     {"to", range.to},
                                     {"compacted", compacted},
                                     {"ok", ok},
                                     {"same_log_start", starts_agree},
                                     {"members", std::move(of_members)}});
    }
    report["ok"] = differing == 0;
    if (common.json) {
        print(report);
    } else {
        print_report(report);
    }
    if (differing > 0)
        return complain({ErrorCode::kCorrupt, fmt::format("{} of {} streams {} between the members", differing,
                                                          ranges.size(), differing == 1 ? "differs" : "differ")});
    if (common.json) return runtime::kDone;
    std::printf("\n%s on %s %s\n", runtime::count_of(ranges.size(), "stream", "streams").c_str(),
                runtime::count_of(members.size(), "member", "members").c_str(),
                ranges.size() == 1 ? "agrees" : "agree");
    if (other_starts > 0)
        std::printf(
            "in %s the logs begin at different offsets: only what all members hold was compared. Each broker "
            "applies retention by itself; if the difference persists, compare their clocks (logstreamctl status)\n",
            runtime::count_of(other_starts, "stream", "streams").c_str());
    return runtime::kDone;
}

}  // namespace logstream::ctl
