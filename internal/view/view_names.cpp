#include "internal/view/view_names.h"

#include <algorithm>
#include <ranges>

namespace logstream::view {

std::vector<ViewName> names_of(const View& view) {
    std::vector<ViewName> out{{view.number, view.id}};
    for (const Base& base : view.bases) out.push_back({base.number, base.id});
    return out;
}

std::optional<ViewName> ViewNames::conflict(std::span<const ViewName> names) const {
    for (const ViewName& name : names) {
        const ViewId known = id_of(name.number);
        if (known.value != 0 && name.id.value != 0 && known != name.id) return name;
    }
    return std::nullopt;
}

bool ViewNames::note(std::span<const ViewName> names) {
    bool news = false;
    for (const ViewName& name : names) {
        const bool forgotten = ids_.size() >= kMost && name.number < ids_.begin()->first;
        if (name.id.value != 0 && !forgotten) news |= ids_.try_emplace(name.number, name.id).second;
    }
    while (ids_.size() > kMost) ids_.erase(ids_.begin());
    return news;
}

void ViewNames::adopt(std::span<const ViewName> names) {
    for (const ViewName& name : names) ids_.erase(name.number);
    note(names);
}

ViewId ViewNames::id_of(ViewNumber number) const {
    const auto found = ids_.find(number);
    return found == ids_.end() ? ViewId{} : found->second;
}

std::vector<ViewName> ViewNames::newest(std::size_t most) const {
    std::vector<ViewName> out;
    for (const auto& [number, id] : ids_ | std::views::drop(ids_.size() - std::min(ids_.size(), most)))
        out.push_back({number, id});
    return out;
}

std::string explain_conflict(const ViewName& name, std::string_view other) {
    return fmt::format(
        "view {} here differs from the view of that number at {} (there {}): two histories continued under one number "
        "because the data folder of a broker of that time was restored from an older copy. Their records are not "
        "merged",
        name.number, other, protocol::hex(name.id.value));
}

}  // namespace logstream::view
