#include "tests/sim/scenario.h"

#include <algorithm>
#include <sstream>

namespace logstream::sim {

using namespace std::chrono_literals;
using storage::FakeDisk;

namespace {

constexpr Duration kLimit = 20s;

// By blanks; "what stands in quotes" is one word. A # ends the line.
std::vector<std::string> words_of(const std::string& line) {
    std::vector<std::string> out;
    std::string word;
    bool quoted = false;
    for (const char c : line + " ") {
        if (c == '"') {
            quoted = !quoted;
        } else if (c == '#' && !quoted) {
            break;
        } else if (c != ' ' || quoted) {
            word += c;
        } else if (!word.empty()) {
            out.push_back(std::exchange(word, {}));
        }
    }
    if (!word.empty()) out.push_back(word);
    return out;
}

}  // namespace

Scenario::~Scenario() = default;

void Scenario::heard(const std::string& line) {
    lines_.push_back(line);
    for (const Trap& trap : traps_) {
        if (line.find(trap.text) == std::string::npos) continue;
        const std::string what = trap.what;
        // "  1.234567 n2 I text": the machine stands behind the time.
        const std::size_t name = line.find(" n") + 1;
        const std::size_t machine = std::stoul(line.substr(name + 1));
        std::erase_if(traps_, [&](const Trap& each) { return each.text == trap.text; });
        cluster_->world().after(Duration{0}, [this, what, machine] { (void)act(what, machine); });
        return;
    }
}

std::optional<std::size_t> Scenario::who(const std::string& name) {
    if (name.size() > 1 && name[0] == 'n' && std::isdigit(static_cast<unsigned char>(name[1])) != 0) {
        const std::size_t index = std::stoul(name.substr(1));
        return index < cluster_->size() ? std::optional(index) : std::nullopt;
    }
    Machine* leader = cluster_->leader();
    if (name == "leader") return leader == nullptr ? std::nullopt : std::optional(leader->index());
    if (name == "owner") {
        Machine* owner = cluster_->owner(topics_.at(last_topic_));
        return owner == nullptr ? std::nullopt : std::optional(owner->index());
    }
    for (std::size_t i = 0; i < cluster_->size(); ++i) {
        if (!(*cluster_)[i].running() || struck_.contains(i)) continue;
        if (name == "other" || (name == "follower" && (leader == nullptr || leader->index() != i))) return i;
    }
    return std::nullopt;
}

std::string Scenario::act(const std::string& what, std::size_t index) {
    Machine& machine = (*cluster_)[index];
    if (what != "start") struck_.insert(index);
    if (what == "start") return machine.running() || machine.start() ? "" : "it does not start";
    if (what == "isolate") return cluster_->isolate(index), "";
    if (!machine.running()) return "it does not run";
    if (what == "leave") return machine.leave(), "";
    if (what != "kill" && what != "power") return "nobody knows how to " + what;
    machine.crash(what == "kill" ? FakeDisk::Crash::kProcess : FakeDisk::Crash::kMachine);
    return "";
}

std::string Scenario::network(const std::vector<std::string>& words) {
    if (words[0] == "heal") {
        struck_.clear();
        return cluster_->world().heal(), "";
    }
    const auto a = words.size() == 3 ? who(words[1]) : std::nullopt;
    const auto b = words.size() == 3 ? who(words[2]) : std::nullopt;
    if (!a || !b) return "there are no such two";
    if (words[0] == "cut")
        cluster_->cut(*a, *b);
    else
        cluster_->world().cut((*cluster_)[*a].address(), (*cluster_)[*b].address());
    return "";
}

std::string Scenario::append(const std::string& topic, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
        if (!cluster_->append_soon(topics_.at(topic), "v" + std::to_string(++values_)))
            return "record " + std::to_string(i + 1) + " was not acknowledged";
    return "";
}

void Scenario::append_unacknowledged(const std::string& topic, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
        (void)cluster_->append(topics_.at(topic), "u" + std::to_string(++values_), Duration{0});
}

bool Scenario::records_everywhere(const std::string& topic, std::size_t count) {
    std::optional<std::map<std::int64_t, std::string>> first;
    for (std::size_t i = 0; i < cluster_->size(); ++i) {
        if (!(*cluster_)[i].running()) continue;
        const node::Stream* stream = (*cluster_)[i].node().core().streams.find(topics_.at(topic));
        if (stream == nullptr || stream->high_watermark.value != static_cast<std::int64_t>(count)) return false;
        const auto records = cluster_->read(i, topics_.at(topic));
        if (first.value_or(records) != records) return false;
        first = records;
    }
    return first.has_value();
}

std::string Scenario::expect(const std::vector<std::string>& words) {
    World& world = cluster_->world();
    const std::string& what = words.at(1);
    if (what == "view") {
        const std::size_t members = std::stoul(words.at(2));
        const auto there = [&] {
            if (!cluster_->one_view()) return false;
            for (std::size_t i = 0; i < cluster_->size(); ++i)
                if ((*cluster_)[i].running()) return (*cluster_)[i].node().current_view()->members.size() == members;
            return false;
        };
        return world.run_until(there, kLimit) ? "" : "there is no such view";
    }
    if (what == "refusal") {
        const auto index = who(words.at(2));
        if (!index) return "there is no " + words[2];
        return world.run_until([&] { return (*cluster_)[*index].node().refusal().has_value(); }, kLimit)
                   ? ""
                   : "it takes writes";
    }
    if (what == "records") {
        const TimePoint end = world.now() + kLimit;
        while (world.now() < end) {
            if (records_everywhere(words.at(2), std::stoul(words.at(3)))) return "";
            world.run_for(50ms);
        }
        return "not everybody has them";
    }
    const auto says = [&](const std::string& line) { return line.find(words.at(2)) != std::string::npos; };
    if (what == "never") return std::ranges::any_of(lines_, says) ? "it was said" : "";
    if (what != "said") return "nobody knows how to expect " + what;
    const auto said = [&] {
        const auto found = std::find_if(lines_.begin() + static_cast<std::ptrdiff_t>(read_), lines_.end(), says);
        if (found == lines_.end()) return false;
        read_ = static_cast<std::size_t>(found - lines_.begin()) + 1;
        return true;
    };
    return world.run_until(said, kLimit) ? "" : "nobody says so";
}

std::string Scenario::step(const std::vector<std::string>& words) {
    const std::string& verb = words[0];
    if (verb == "machines") {
        cluster_ = std::make_unique<Cluster>(seed_, std::stoul(words.at(1)), Transcript::Detail::kInfo,
                                             [this](const std::string& line) { heard(line); });
        return "";
    }
    if (!cluster_) return "first of all: machines N";
    if (verb == "expect") return expect(words);
    if (verb == "heal" || verb == "cut" || verb == "one-way") return network(words);
    if (verb == "when") {
        traps_.push_back({words.at(1), words.at(2)});
        return "";
    }
    if (verb == "run") {
        cluster_->world().run_for(std::chrono::milliseconds(std::stoul(words.at(1))));
        return "";
    }
    if (verb == "topic") {
        last_topic_ = words.at(1);
        topics_[last_topic_] = cluster_->make_topic(last_topic_);
        return "";
    }
    if (verb == "append") return append(words.at(1), std::stoul(words.at(2)));
    if (verb == "unacknowledged") return append_unacknowledged(words.at(1), std::stoul(words.at(2))), "";
    if (verb == "start" && words.at(1) == "all") return cluster_->start_all(), "";
    const auto index = who(words.at(1));
    return index ? act(verb, *index) : "there is no " + words[1];
}

std::string Scenario::run(const std::string& text) {
    std::istringstream in(text);
    std::string line;
    for (int number = 1; std::getline(in, line); ++number) {
        const std::vector<std::string> words = words_of(line);
        if (words.empty()) continue;
        if (const std::string wrong = step(words); !wrong.empty())
            return fmt::format("line {}: {}: {}", number, line, wrong);
    }
    return "";
}

}  // namespace logstream::sim
