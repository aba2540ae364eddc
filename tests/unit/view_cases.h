// Short ways to write views and answers in the tests of this room.
#pragma once

#include <initializer_list>
#include <utility>

#include "internal/view/change.h"

namespace logstream::view {

// Nodes have letters: 'A' is node 1, its first run 101, its second 201.
constexpr NodeId node(char letter) { return NodeId{static_cast<std::uint64_t>(letter - 'A' + 1)}; }
constexpr Incarnation run_of(char letter, std::uint64_t run = 1) { return Incarnation{node(letter).value + 100 * run}; }
inline Member member(char letter, std::uint64_t run = 1) {
    Member out;
    out.id = node(letter);
    out.incarnation = run_of(letter, run);
    out.name = std::string(1, letter);
    out.ip = 0x0a000000u + static_cast<std::uint32_t>(out.id.value);
    out.port = 8001;
    out.http_port = 9001;
    out.window_bytes = 1u << 20;
    out.frame_bytes = 1472;
    return out;
}

inline NodeSet nodes(std::string_view letters) {
    NodeSet out;
    for (char letter : letters) out.insert(node(letter));
    return out;
}

// The first letter is the coordinator.
inline View view_of(std::uint64_t number, std::string_view letters, std::initializer_list<View> bases = {}) {
    View out;
    out.number = ViewNumber{number};
    out.coordinator = node(letters.front());
    for (NodeId id : nodes(letters)) out.members.push_back(member(static_cast<char>('A' + id.value - 1)));
    for (const View& base : bases) out.bases.push_back(base.base());
    out.window_bytes = 1u << 20;
    out.frame_bytes = 1472;
    return out;
}

inline constexpr StreamId kStream{protocol::TopicId{16}, 0};

struct Epoch {
    std::uint64_t view;
    std::int64_t first;
};

inline StreamHolding holding(std::int64_t end, std::initializer_list<Epoch> epochs, StreamId stream = kStream) {
    StreamHolding out;
    out.stream = stream;
    out.log_end = Offset{end};
    for (Epoch epoch : epochs) out.epochs.push_back({ViewNumber{epoch.view}, Offset{epoch.first}});
    out.bytes = static_cast<std::uint64_t>(end) * 100;
    return out;
}

inline Answer answer(char letter, std::optional<View> accepted = {}, std::optional<View> chosen = {},
                     std::vector<StreamHolding> streams = {}) {
    Answer out;
    out.member = member(letter);
    out.accepted = std::move(accepted);
    out.chosen = std::move(chosen);
    out.streams = std::move(streams);
    return out;
}
inline Answer without_vote(Answer answer) {
    answer.no_vote = true;
    return answer;
}
inline Answer leaving(Answer answer) {
    answer.leaving = true;
    return answer;
}

// An attempt whose first invited letter coordinates, with these answers in.
inline Change change(std::uint64_t number, std::string_view invited, std::initializer_list<Answer> answers,
                     Change::Options options = {}) {
    Change out({ViewNumber{number}, ViewId{number * 1000}}, node(invited.front()), nodes(invited), options);
    for (const Answer& answer : answers) out.on_answer(answer);
    return out;
}

inline std::vector<std::uint64_t> numbers_of(const std::vector<Base>& bases) {
    std::vector<std::uint64_t> out;
    for (const Base& base : bases) out.push_back(base.number.value);
    return out;
}

inline NodeSet members_of(const View& view) {
    const std::vector<NodeId> ids = view.ids();
    return {ids.begin(), ids.end()};
}

inline void accept(Change& change, std::string_view letters) {
    for (char letter : letters) change.on_accepted(node(letter));
}

}  // namespace logstream::view
