#include "tests/sim/planted.h"

#include <algorithm>
#include <cstdio>
#include <thread>

#include "tests/sim/many.h"

namespace logstream::sim {

using protocol::Bug;

const std::vector<PlantedBug>& planted_bugs() {
    static const std::vector<PlantedBug> bugs = {
        {Bug::kCommitWithoutQuorum, "commit-without-quorum", {"P1"}, 50},
        {Bug::kAckBeforeFlush, "ack-before-flush", {"P1"}, 50},
        {Bug::kPromiseNotPersisted, "promise-not-persisted", {"promise"}, 100},
        {Bug::kPromiseToTwo, "promise-to-two", {"promise", "view content"}, 200},
        {Bug::kViewNumberReused, "view-number-reused", {"view content", "promise"}, 600},
        {Bug::kMergeByLastEpoch,
         "merge-by-last-epoch",
         {"P1", "P2"},
         0,
         "what_a_later_view_passed_over_replaces_nothing"},
        {Bug::kStaleTailKept, "stale-tail-kept", {"P2", "P3"}, 100},
        {Bug::kHighWatermarkFalls, "high-watermark-falls", {"P2"}, 20},
        {Bug::kDuplicateAfterFailover, "duplicate-after-fail-over", {"P6"}, 100},
        {Bug::kGapAccepted, "gap-accepted", {"P7"}, 2000},
        {Bug::kNackIgnored, "nack-ignored", {"retransmission"}, 50},
        {Bug::kOrphanLost, "orphan-lost", {"P5"}, 1000},
        {Bug::kOrphanTwice, "orphan-twice", {"P6"}, 100},
        {Bug::kResumeIgnored, "resume-ignored", {"P6"}, 1000},
        {Bug::kForgetfulVotes,
         "forgetful-votes",
         {"P1", "view quorum"},
         0,
         "a_member_that_forgot_its_promise_has_no_vote"},
        {Bug::kCrcNotChecked, "crc-not-checked", {"P8"}, 100},
        {Bug::kMinorityWrites, "minority-writes", {"P4"}, 1000},
        {Bug::kBasesForgotten,
         "bases-forgotten",
         {"view quorum", "P1", "P2"},
         0,
         "the_bases_of_an_accepted_view_are_asked_for"},
        {Bug::kOneBaseCounted, "one-base-counted", {"view quorum"}, 400},
        {Bug::kRestartedOwner, "restarted-owner", {"views rise"}, 20},
        {Bug::kOldViewAckCounted, "old-view-ack-counted", {"P1"}, 2000},
        {Bug::kPoisonAccepted, "poison-accepted", {"poison"}, 50},
        {Bug::kClocksNotCompared, "clocks-not-compared", {"retention"}, 100},
        {Bug::kAckAfterPromise, "ack-after-promise", {"P4"}, 100},
        {Bug::kMemberExpires, "member-expires", {"group once"}, 300},
        {Bug::kGrantedWhileHeld, "granted-while-held", {"group once"}, 300},
        {Bug::kHandoverSkips, "handover-skips", {"group whole"}, 300},
        {Bug::kMinorityReads, "minority-reads", {"readers go on"}, 200},
        {Bug::kTwinsTolerated, "twins-tolerated", {"views rise"}, 0, "a_copied_folder_stays_out"},
        {Bug::kCopiesVote, "copies-vote", {"P1", "view quorum"}, 0, "a_copy_on_another_machine_has_no_vote"},
        {Bug::kStrangersBelieved, "strangers-believed", {"progress"}, 0, "a_stranger_who_speaks_for_the_leader"},
        {Bug::kSleeperAccepts, "sleeper-accepts", {"P4"}, 0, "who_slept_takes_nothing"},
    };
    return bugs;
}

const PlantedBug* planted_bug_named(std::string_view name) {
    const auto found = std::ranges::find(planted_bugs(), name, &PlantedBug::name);
    return found == planted_bugs().end() ? nullptr : &*found;
}

namespace {

bool prove(Options options, const PlantedBug& bug, unsigned jobs) {
    std::uint64_t found_at = 0;
    std::string others;
    options.planted = bug.bug;
    run_seeds(options, 1, bug.seeds, jobs, [&](const Report& report) {
        for (const Violation& violation : report.violations) {
            if (bug.found_as.contains(violation.promise)) {
                found_at = report.seed;
                std::printf("%-26s found at seed %llu as %s: %s\n", std::string(bug.name).c_str(),
                            static_cast<unsigned long long>(report.seed), violation.promise.c_str(),
                            violation.text.c_str());
                return false;
            }
            if (others.find(violation.promise) == std::string::npos) others += " " + violation.promise;
        }
        return true;
    });
    if (found_at == 0) {
        std::printf("%-26s NOT FOUND in %llu seeds%s%s\n", std::string(bug.name).c_str(),
                    static_cast<unsigned long long>(bug.seeds),
                    others.empty() ? "" : "; others reported:", others.c_str());
        return false;
    }
    options.planted.reset();
    options.seed = found_at;
    const Report clean = run_apart(options);
    if (!clean.passed()) print_failure(options, clean);
    return clean.passed();
}

}  // namespace

int prove_checkers(const Options& options, std::string_view name, unsigned jobs) {
    unsigned passed = 0;
    unsigned failed = 0;
    for (const PlantedBug& bug : planted_bugs()) {
        if (!name.empty() && bug.name != name) continue;
        if (!bug.scenario.empty()) {
            std::printf("%-26s is found by the scenario %s\n", std::string(bug.name).c_str(),
                        std::string(bug.scenario).c_str());
            continue;
        }
        (prove(options, bug, jobs) ? passed : failed) += 1;
        std::fflush(stdout);
    }
    std::printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}

}  // namespace logstream::sim
