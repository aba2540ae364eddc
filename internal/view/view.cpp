#include "internal/view/view.h"

#include <algorithm>

#include "internal/protocol/frame.h"

namespace logstream::view {

const Member* View::find(NodeId id) const {
    const auto found = std::ranges::find(members, id, &Member::id);
    return found == members.end() ? nullptr : &*found;
}

bool View::has(NodeId id, Incarnation incarnation) const {
    const Member* member = find(id);
    return member != nullptr && member->incarnation == incarnation;
}

std::vector<NodeId> View::ids() const {
    std::vector<NodeId> out;
    out.reserve(members.size());
    for (const Member& member : members) out.push_back(member.id);
    return out;
}

namespace {
// A broker of the first version knows no such field and passes nothing on: what it would lose is left out.
template <class Proto>
void put_version(std::uint32_t version, Proto& out) {
    if (version > 1) out.set_version(version);
}
template <class Proto>
std::uint32_t take_version(const Proto& in) {
    return std::max(1u, in.version());
}
}  // namespace

proto::Member to_proto(const Member& member) {
    proto::Member out;
    out.set_id(member.id.value);
    out.set_incarnation(member.incarnation.value);
    out.set_name(member.name);
    protocol::put_ip(out, member.ip);
    out.set_port(member.port);
    out.set_http_port(member.http_port);
    out.set_window_bytes(member.window_bytes);
    out.set_frame_bytes(member.frame_bytes);
    put_version(member.version, out);
    return out;
}

Member from_proto(const proto::Member& in) {
    return Member{NodeId{in.id()},
                  Incarnation{in.incarnation()},
                  in.name(),
                  protocol::ip_of(in),
                  static_cast<std::uint16_t>(in.port()),
                  static_cast<std::uint16_t>(in.http_port()),
                  in.window_bytes(),
                  in.frame_bytes(),
                  take_version(in)};
}

proto::View to_proto(const View& view) {
    proto::View out;
    out.set_number(view.number.value);
    out.set_coordinator(view.coordinator.value);
    for (const Member& member : view.members) *out.add_members() = to_proto(member);
    for (const Base& base : view.bases) {
        proto::View& b = *out.add_bases();
        b.set_number(base.number.value);
        b.set_coordinator(base.coordinator.value);
        b.set_id(base.id.value);
        for (NodeId id : base.members) b.add_members()->set_id(id.value);
    }
    out.set_multicast(view.multicast);
    out.set_first_sequence(view.first_sequence.value);
    out.set_window_bytes(view.window_bytes);
    out.set_frame_bytes(view.frame_bytes);
    out.set_id(view.id.value);
    put_version(view.version, out);
    return out;
}

namespace {

protocol::Result<void> check(const Base& base) {
    if (base.number.value == 0 || base.number > protocol::kMaxViewNumber)
        return protocol::fail(protocol::ErrorCode::kInvalid, "view number {} is out of range", base.number);
    if (base.members.empty() || base.members.size() > kMaxMembers)
        return protocol::fail(protocol::ErrorCode::kInvalid, "view {} has {} members", base.number,
                              base.members.size());
    if (base.members.front().value == 0)
        return protocol::fail(protocol::ErrorCode::kInvalid, "a member of view {} has no id", base.number);
    if (!std::ranges::is_sorted(base.members) || std::ranges::adjacent_find(base.members) != base.members.end())
        return protocol::fail(protocol::ErrorCode::kInvalid, "the members of view {} are not in order", base.number);
    if (!std::ranges::binary_search(base.members, base.coordinator))
        return protocol::fail(protocol::ErrorCode::kInvalid, "the coordinator of view {} is not its member",
                              base.number);
    return {};
}

}  // namespace

protocol::Result<View> from_proto(const proto::View& in) {
    View out;
    out.number = ViewNumber{in.number()};
    out.coordinator = NodeId{in.coordinator()};
    for (const proto::Member& member : in.members()) out.members.push_back(from_proto(member));
    if (in.bases_size() > static_cast<int>(kMaxBases))
        return protocol::fail(protocol::ErrorCode::kInvalid, "view {} has {} bases", out.number, in.bases_size());
    for (const proto::View& b : in.bases()) {
        Base base{ViewNumber{b.number()}, NodeId{b.coordinator()}, {}, ViewId{b.id()}};
        for (const proto::Member& member : b.members()) base.members.push_back(NodeId{member.id()});
        if (auto ok = check(base); !ok) return std::unexpected(ok.error());
        if (base.number >= out.number || (!out.bases.empty() && base.number <= out.bases.back().number))
            return protocol::fail(protocol::ErrorCode::kInvalid, "the bases of view {} are not in order", out.number);
        out.bases.push_back(std::move(base));
    }
    out.multicast = in.multicast();
    out.first_sequence = Sequence{in.first_sequence()};
    out.window_bytes = in.window_bytes();
    out.frame_bytes = in.frame_bytes();
    out.id = ViewId{in.id()};
    out.version = take_version(in);
    if (out.frame_bytes < protocol::kMinFrameBytes)
        return protocol::fail(protocol::ErrorCode::kInvalid, "the datagrams of view {} have {} bytes", out.number,
                              out.frame_bytes);
    if (auto ok = check(out.base()); !ok) return std::unexpected(ok.error());
    return out;
}

}  // namespace logstream::view
