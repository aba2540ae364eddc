#include "tests/sim/checkers/groups.h"

#include <set>
#include <tuple>

namespace logstream::sim {

namespace {
// Shorter than the clients' sessions: answers come later than what they answer, and clocks drift.
constexpr Duration kSafelyHeard = std::chrono::milliseconds(4500);
}  // namespace

void GroupChecker::on_begin(Endpoint member) {
    Life& life = lives_[member];
    ++life.number;
    life.heard = life.was_silent = now_;
}

void GroupChecker::on_heard(Endpoint member) {
    const auto life = lives_.find(member);
    if (life == lives_.end()) return;
    if (now_ - life->second.heard >= kSafelyHeard) life->second.was_silent = now_;
    life->second.heard = now_;
}

bool GroupChecker::lived_since(const Got& got) const {
    const Life& life = lives_.at(got.member);
    return life.number == got.life && life.was_silent <= got.at && now_ - life.heard < kSafelyHeard;
}

void GroupChecker::on_delivery(const std::string& group, Endpoint member, const ConsumerClient::Delivery& delivery) {
    const std::pair key{group, LogKey{delivery.cluster, delivery.stream}};
    std::vector<Got>& got = got_[key];
    const auto at = static_cast<std::size_t>(delivery.offset.value);
    if (got.size() <= at) got.resize(at + 1);
    if (got[at].life != 0 && lived_since(got[at]))
        violations_.report("group once", "{} at {} got offset {} of {}, which {} had got {} ms before and lives", group,
                           env::to_string(member), delivery.offset, protocol::to_string(delivery.stream),
                           env::to_string(got[at].member), (now_ - got[at].at) / std::chrono::milliseconds(1));
    got[at] = {member, lives_.at(member).number, now_};
    const auto [last, first] = last_reader_.try_emplace(key, member);
    if (last->second != member) ++handed_over_;
    last->second = member;
}

std::string GroupChecker::what_is_missing(const Truth& truth) const {
    if (retention_) return {};
    static const std::vector<Got> nothing;
    std::set<std::tuple<std::string, ClusterId, protocol::TopicId>> read;
    for (const auto& [key, got] : got_) read.emplace(key.first, key.second.first, key.second.second.topic);
    for (const auto& [group, cluster, topic] : read) {
        for (const auto& [log, records] : truth.logs()) {
            if (log.first != cluster || log.second.topic != topic) continue;
            const auto found = got_.find({group, log});
            const std::vector<Got>& got = found == got_.end() ? nothing : found->second;
            for (std::size_t at = 0; at < records.size(); ++at)
                if (records[at].id != 0 && (at >= got.size() || got[at].life == 0))
                    return fmt::format("group {} never got {} at offset {} of {}", group, to_text(records[at].id), at,
                                       protocol::to_string(log.second));
        }
    }
    return {};
}

}  // namespace logstream::sim
