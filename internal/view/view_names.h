// Which view each number stands for, as one broker knows it. Epoch tables, summaries and promises name views by number;
// these ids beside them tell a view from another one of the same number, which comes to be only where a broker forgot
// what it had promised (its folder was restored from a backup).
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "internal/view/view.h"

namespace logstream::view {

struct ViewName {
    ViewNumber number;
    ViewId id;  // 0: not known, agrees with any
    friend bool operator==(const ViewName&, const ViewName&) = default;
};

// The view itself and its bases.
std::vector<ViewName> names_of(const View& view);

class ViewNames {
public:
    // Of older views the ids are forgotten, and count as not known.
    static constexpr std::size_t kMost = 4096;

    // The name that contradicts what is known here: the same number, another id.
    std::optional<ViewName> conflict(std::span<const ViewName> names) const;
    // Adds what is news; what is known stays. True if there was any.
    bool note(std::span<const ViewName> names);
    // The same, but these names take the place of what is known: a person has decided which history goes on.
    void adopt(std::span<const ViewName> names);
    // 0 when it is not known.
    ViewId id_of(ViewNumber number) const;
    // At most `most`, the newest, by number.
    std::vector<ViewName> newest(std::size_t most) const;
    bool empty() const { return ids_.empty(); }
    friend bool operator==(const ViewNames&, const ViewNames&) = default;

private:
    std::map<ViewNumber, ViewId> ids_;
};

// For logs and operators: what it means that `other` brought this name.
std::string explain_conflict(const ViewName& name, std::string_view other);

template <class Proto>
void put_names(const std::vector<ViewName>& names, Proto& out) {
    for (const ViewName& name : names) {
        proto::ViewName& entry = *out.add_views();
        entry.set_number(name.number.value);
        entry.set_id(name.id.value);
    }
}
template <class Proto>
std::vector<ViewName> take_names(const Proto& in) {
    std::vector<ViewName> out;
    for (const proto::ViewName& entry : in.views()) out.push_back({ViewNumber{entry.number()}, ViewId{entry.id()}});
    return out;
}

}  // namespace logstream::view
