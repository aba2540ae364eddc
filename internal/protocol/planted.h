// Bugs on purpose: the simulator's own build of the broker can be told to have one of them, by name, so that a test can
// see the checkers find it. In every other build `planted` is constant false, and nothing of them is there.
#pragma once

#include <cstdint>
#include <optional>

namespace logstream::protocol {

enum class Bug : std::uint8_t {
    kCommitWithoutQuorum,     // the owner's own disk is enough
    kAckBeforeFlush,          // a receiver acknowledges what it has not flushed
    kPromiseNotPersisted,     // a promise is answered from memory
    kPromiseToTwo,            // a number is promised to whoever asks
    kViewNumberReused,        // the next attempt has the number of the last
    kMergeByLastEpoch,        // the base log is the one whose last record has the greatest view
    kStaleTailKept,           // what departs from the base log stays
    kHighWatermarkFalls,      // now and then
    kDuplicateAfterFailover,  // a retry is recognised in the view of its original only
    kGapAccepted,             // a batch is appended though an earlier one of its producer is missing
    kNackIgnored,             // nothing is sent again
    kOrphanLost,              // what departs from the base log is cut off and not kept
    kOrphanTwice,             // an orphan is appended whether it stands there or not
    kResumeIgnored,           // an orphan is appended although a later instance of its producer sends it again
    kForgetfulVotes,          // a broker that was put back to an earlier state votes as if it remembered all
    kCrcNotChecked,           // what the disk says is believed
    kMinorityWrites,          // an owner without a majority goes on
    kBasesForgotten,          // of the accepted views reported, their own bases are not asked for
    kOneBaseCounted,          // acknowledgements are counted from the first base only
    kRestartedOwner,          // a restarted member goes on in its old view
    kClocksNotCompared,       // time retention goes on whatever the other members' clocks say
    kPoisonAccepted,          // a batch is taken though its records cannot be decoded
    kOldViewAckCounted,       // an acknowledgement of an older view counts
    kAckAfterPromise,         // a session goes on after the freeze
    kMemberExpires,           // a group's members have no session left when another broker takes over
    kGrantedWhileHeld,        // a partition goes to its new reader before the old one has stopped
    kHandoverSkips,           // a new reader begins one record behind what was committed
    kMinorityReads,           // a broker without a quorum answers readers as its owner, and they never compare views
    kTwinsTolerated,          // another run of an identity is not asked whether it still runs
    kCopiesVote,              // a folder that wakes on another machine goes on as if it were at home
    kStrangersBelieved,       // who speaks for a broker is not asked whether it is that broker
    kSleeperAccepts,          // who slept takes writes before it has heard the others
    kCount,
};

#ifdef LOGSTREAM_PLANTED_BUGS
inline namespace with_planted_bugs {
inline std::optional<Bug> planted_bug;
inline bool planted(Bug bug) { return planted_bug == bug; }
}  // namespace with_planted_bugs
#else
constexpr bool planted(Bug) { return false; }
#endif

}  // namespace logstream::protocol
