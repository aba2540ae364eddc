#include "tests/sim/scenario.h"

#include <algorithm>
#include <ranges>
#include <sstream>

namespace logstream::sim {

using namespace std::chrono_literals;
using storage::FakeDisk;

namespace {

constexpr Duration kLimit = 20s;
constexpr std::size_t kTopicsTried = 50;  // until one has the owner that is wanted

// What can be done at a moment when somebody says something.
const std::set<std::string> kDeeds = {
    "call",         "start",   "kill",         "power",   "restart",   "leave",       "suspend",     "new-disk",
    "slow-disk",    "isolate", "cut",          "one-way", "heal",      "pause",       "slow-groups", "copy-disk",
    "same-machine", "moved",   "new-identity", "at-home", "keep-disk", "restore-disk"};

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

// A * in the text stands for anything.
bool says(std::string_view line, std::string_view text) {
    std::size_t at = 0;
    for (const auto piece : std::views::split(text, '*')) {
        at = line.find(std::string_view(piece), at);
        if (at == std::string_view::npos) return false;
        at += std::ranges::size(piece);
    }
    return true;
}

std::size_t number(const std::string& word) { return std::stoul(word); }
Duration milliseconds(const std::string& word) { return std::chrono::milliseconds(number(word)); }

// "n3", or nothing.
std::optional<std::size_t> machine_named(std::string_view name) {
    if (name.size() < 2 || name[0] != 'n' || std::isdigit(static_cast<unsigned char>(name[1])) == 0)
        return std::nullopt;
    return number(std::string(name.substr(1)));
}

}  // namespace

Scenario::~Scenario() = default;

std::optional<std::size_t> Scenario::who(const std::string& name) {
    if (const auto called = names_.find(name); called != names_.end()) return called->second;
    if (const auto index = machine_named(name)) return *index < cluster_->size() ? index : std::nullopt;
    const auto index_of = [](Machine* machine) {
        return machine == nullptr ? std::nullopt : std::optional(machine->index());
    };
    Machine* leader = cluster_->leader();
    if (name == "leader") return index_of(leader);
    if (name == "owner") return index_of(cluster_->owner(topic(last_topic_).stream));
    if (name == "next-owner") return next_owner();
    std::vector<Machine*> free = cluster_->running();
    std::erase_if(free, [&](Machine* machine) {
        return (machine == leader && name != "other") || struck_.contains(machine->index()) ||
               std::ranges::find(std::views::values(names_), machine->index()) != std::views::values(names_).end();
    });
    if (free.empty() || (name != "other" && name != "follower" && name != "heir")) return std::nullopt;
    if (name != "heir") return free.front()->index();
    return (*std::ranges::max_element(free, {}, [](Machine* machine) { return machine->node().id(); }))->index();
}

std::optional<std::size_t> Scenario::next_owner() {
    const protocol::StreamId stream = topic(last_topic_).stream;
    Machine* owner = cluster_->owner(stream);
    if (owner == nullptr) return std::nullopt;
    const std::vector<protocol::NodeId> members = owner->node().current_view()->ids();
    const std::vector<protocol::NodeId> order = ring::HashRing(members).preference(stream, 2);
    for (Machine* machine : cluster_->running())
        if (order.size() == 2 && machine->node().id() == order[1]) return machine->index();
    return std::nullopt;
}

std::vector<Endpoint> Scenario::ends(const std::string& name, const std::string& other) {
    std::vector<Endpoint> out;
    if (name == "clients")
        for (const auto& [topic_name, topic] : topics_) {
            out.push_back(topic.client_address);
            out.push_back(topic.reader_address);
        }
    else if (name == "others")
        for (std::size_t i = 0; i < cluster_->size(); ++i) {
            if (i != who(other)) out.push_back((*cluster_)[i].address());
        }
    else if (const auto index = who(name))
        out.push_back((*cluster_)[*index].address());
    return out;
}

std::string Scenario::network(const Words& words) {
    World& world = cluster_->world();
    if (words[0] == "heal") {
        struck_.clear();
        return world.heal(), "";
    }
    const auto from = ends(words.at(1), words.at(2));
    const auto to = ends(words.at(2), words.at(1));
    if (from.empty() || to.empty()) return "there are no such two";
    for (const Endpoint a : from)
        for (const Endpoint b : to) {
            world.cut(a, b);
            if (words[0] == "cut") world.cut(b, a);
        }
    return "";
}

void Scenario::isolate(const std::vector<std::size_t>& side) {
    for (std::size_t i = 0; i < cluster_->size(); ++i)
        for (const std::size_t each : side)
            if (std::ranges::find(side, i) == side.end()) cluster_->cut(i, each);
}

std::string Scenario::copy(const Words& words) {
    const auto to = who(words.at(1));
    const auto from = who(words.at(2));
    if (!to || !from) return "there are no such two";
    Machine& machine = (*cluster_)[*to];
    if (machine.running()) return "it runs";
    if (words[0] == "copy-disk")
        machine.copy_disk_of((*cluster_)[*from]);
    else
        machine.options().settings.machine = (*cluster_)[*from].options().settings.machine;
    return "";
}

std::string Scenario::act(const std::string& what, Machine& machine) {
    node::Settings& settings = machine.options().settings;
    if (what == "moved" || what == "new-identity" || what == "at-home") {
        settings.moved = what == "moved";
        settings.new_identity = what == "new-identity";
        return "";
    }
    if (what == "start") return machine.running() || machine.start() ? "" : "it does not start";
    if (what == "new-disk") return machine.running() ? "it runs" : (machine.replace_disk(), "");
    if (what == "keep-disk") return images_.insert_or_assign(machine.index(), machine.disk().image()), "";
    if (what == "restore-disk") {
        if (machine.running()) return "it runs";
        return machine.restore_disk(images_.at(machine.index())), "";
    }
    if (!machine.running()) return "it does not run";
    if (what == "leave") return machine.leave(), "";
    machine.crash(what == "power" ? FakeDisk::Crash::kMachine : FakeDisk::Crash::kProcess);
    return what == "restart" ? act("start", machine) : "";
}

std::string Scenario::deed(const Words& words) {
    const std::string& verb = words[0];
    if (verb == "heal" || verb == "cut" || verb == "one-way") return network(words);
    if (verb == "call") {
        const auto index = who(words.at(1));
        if (index) names_[words.at(2)] = *index;
        return index ? "" : "there is no " + words[1];
    }
    if (verb == "copy-disk" || verb == "same-machine") return copy(words);
    const bool timed = verb == "suspend" || verb == "pause" || verb == "slow-disk" || verb == "slow-groups";
    std::vector<std::size_t> targets;
    for (std::size_t i = 1; i < words.size() - (timed ? 1 : 0); ++i) {
        const auto index = who(words[i]);
        if (!index) return "there is no " + words[i];
        targets.push_back(*index);
    }
    if (verb != "start" && !timed) struck_.insert(targets.begin(), targets.end());
    if (verb == "isolate") return isolate(targets), "";
    for (const std::size_t index : targets) {
        Machine& machine = (*cluster_)[index];
        if (verb == "slow-disk") {
            machine.faults.slower = milliseconds(words.back());
        } else if (verb == "slow-groups") {
            machine.faults.slower_groups = milliseconds(words.back());
        } else if (verb == "pause") {
            machine.pause(milliseconds(words.back()), Machine::Clock::kGoesOn);
        } else if (verb == "suspend") {
            machine.pause(milliseconds(words.back()), Machine::Clock::kStops);
        } else if (const std::string wrong = act(verb, machine); !wrong.empty()) {
            return wrong;
        }
    }
    return "";
}

std::string Scenario::set_trap(const Words& words) {
    // when [3rd] "TEXT" STEP
    const bool counted = std::isdigit(static_cast<unsigned char>(words.at(1)[0])) != 0;
    Trap trap{words.at(counted ? 2 : 1), counted ? number(words[1]) : 1,
              Words(words.begin() + (counted ? 3 : 2), words.end())};
    if (trap.step.empty() || !kDeeds.contains(trap.step[0])) return "that cannot be done in a moment";
    if (trap.step.size() == 1 && trap.step[0] != "heal") trap.step.push_back("it");
    traps_.push_back(std::move(trap));
    return "";
}

// "  1.234567 n2 I TEXT"
void Scenario::heard(const std::string& line) {
    lines_.push_back(line);
    std::istringstream words(line);
    std::string time;
    std::string name;
    words >> time >> name;
    const auto it = machine_named(name);
    const auto to = line.rfind("to=");
    const auto peer = to == std::string::npos ? std::nullopt : machine_named(std::string_view(line).substr(to + 3));
    for (Trap& trap : traps_) {
        if (trap.left == 0 || !it || !says(line, trap.text) || --trap.left > 0) continue;
        // Not from within the broker that is perhaps to die.
        cluster_->world().after(Duration{0}, [this, step = trap.step, it = *it, peer] {
            names_["it"] = it;
            if (peer) names_["peer"] = *peer;
            if (const std::string wrong = deed(step); !wrong.empty()) trouble_ = step[0] + ": " + wrong;
            names_.erase("it");
            names_.erase("peer");
        });
    }
}

std::string Scenario::make_topic(const Words& words) {
    last_topic_ = words.at(1);
    Topic& topic = topics_[last_topic_];
    topic.client_address = Endpoint{0x0a010000 + static_cast<std::uint32_t>(topics_.size()), 40000};
    topic.reader_address = Endpoint{0x0a020000 + static_cast<std::uint32_t>(topics_.size()), 40000};
    if (words.size() < 4) {
        topic.stream = cluster_->make_topic(topic.name = last_topic_);
        return "";
    }
    const auto wanted = who(words[3]);
    for (std::size_t i = 1; i <= kTopicsTried; ++i) {
        topic.stream = cluster_->make_topic(topic.name = fmt::format("{}-{}", last_topic_, i));
        Machine* owner = cluster_->owner(topic.stream);
        if (owner != nullptr && owner->index() == wanted) return "";
    }
    return words[3] + " owns none";
}

std::string Scenario::append(const Words& words) {
    Topic& to = topic(words.at(1));
    const std::size_t count = number(words.at(2));
    const TimePoint began = cluster_->world().now();
    for (std::size_t i = 0; i < count; ++i) {
        const std::string value = "v" + std::to_string(++values_);
        const auto offset = cluster_->append_soon(to.stream, value);
        if (!offset) return fmt::format("record {} was not acknowledged: {}", i + 1, offset.error().message);
        to.acknowledged[offset->value] = value;
    }
    const Duration took = cluster_->world().now() - began;
    return words.size() > 4 && took > milliseconds(words[4])
               ? fmt::format("it took {} ms", std::chrono::duration_cast<std::chrono::milliseconds>(took).count())
               : "";
}

std::string Scenario::send(const std::string& name, std::size_t count) {
    Topic& to = topic(name);
    if (!to.client)
        to.client =
            std::make_unique<ScenarioClient>(cluster_->world(), cluster_->transcript(), to.client_address, to.name);
    for (std::size_t i = 0; i < count; ++i) to.client->send("c" + std::to_string(++values_));
    return "";
}

bool Scenario::view_of(std::size_t members) {
    return cluster_->one_view() && cluster_->running().front()->node().current_view()->members.size() == members;
}

bool Scenario::records_everywhere(Topic& topic, std::size_t count) {
    const std::vector<Machine*> all = cluster_->running();
    std::optional<std::map<std::int64_t, std::string>> first;
    const bool same = !all.empty() && std::ranges::all_of(all, [&](Machine* machine) {
        const node::Stream* stream = machine->node().core().streams.find(topic.stream);
        if ((stream == nullptr ? 0 : stream->high_watermark.value) != static_cast<std::int64_t>(count)) return false;
        const auto records = cluster_->read(machine->index(), topic.stream);
        if (first.value_or(records) != records) return false;
        first = records;
        return count == 0 ||
               (std::ranges::includes(records, topic.acknowledged) && std::ranges::includes(records, topic.committed));
    });
    if (same) topic.committed = *first;
    return same;
}

// For all that it knows at this very moment, of those that it acknowledges by itself.
bool Scenario::takes_a_record(Machine& machine, protocol::StreamId stream) {
    protocol::BatchBuilder builder({});
    builder.add(0, std::nullopt, std::string_view("alone"));
    auto log = machine.node().core().streams.open(stream);
    if (!log || machine.node().refusal()) return false;
    bool refused = false;
    machine.node().replicator().produce(**log, *builder.finish(), proto::OWNER,
                                        [&refused](const protocol::Result<protocol::Offset>& r) { refused = !r; });
    return !refused;
}

std::string Scenario::expect(const Words& words) {
    World& world = cluster_->world();
    const std::string& what = words.at(1);
    const auto comes_true = [&](const std::function<bool()>& claim, const char* else_what) {
        return world.run_until(claim, kLimit) ? "" : else_what;
    };
    if (what == "view") {
        const Duration limit = words.size() > 4 ? milliseconds(words.at(4)) : kLimit;
        return world.run_until([&] { return view_of(number(words.at(2))); }, limit) ? "" : "there is no such view";
    }
    if (what == "refusal") {
        const auto index = who(words.at(2));
        if (!index) return "there is no " + words[2];
        return comes_true([&] { return (*cluster_)[*index].node().refusal().has_value(); }, "it takes writes");
    }
    if (what == "steady") {
        const auto views = [&] {
            std::map<std::size_t, protocol::ViewNumber> out;
            for (Machine* machine : cluster_->running())
                if (machine->node().current_view()) out[machine->index()] = machine->node().current_view()->number;
            return out;
        };
        const auto before = views();
        world.run_for(milliseconds(words.at(2)));
        return views() == before ? "" : "there were other views";
    }
    if (what == "no-acceptance") {
        const auto index = who(words.at(2));
        return index && takes_a_record((*cluster_)[*index], topic(words.at(3)).stream) ? "it takes one" : "";
    }
    if (what == "records") {
        const TimePoint end = world.now() + kLimit;
        while (world.now() < end) {
            if (records_everywhere(topic(words.at(2)), number(words.at(3)))) return "";
            world.run_for(50ms);
        }
        return "not everybody has them";
    }
    if (what == "gone") {
        const Topic& gone = topic(words.at(2));
        return comes_true(
            [&] {
                return std::ranges::none_of(cluster_->running(), [&](Machine* machine) {
                    return machine->node().topics().find(gone.name) != nullptr ||
                           machine->node().core().streams.find(gone.stream) != nullptr;
                });
            },
            "somebody has it");
    }
    if (what == "sent") {
        const ScenarioClient& client = *topic(words.at(2)).client;
        const std::size_t count = number(words.at(3));
        const std::string wrong =
            comes_true([&] { return client.acknowledged() >= count; }, "they are not acknowledged");
        return wrong.empty() && client.acknowledged() > count ? "more are acknowledged" : wrong;
    }
    if (what == "read") {
        const ScenarioReader& reader = *topic(words.at(2)).reader;
        const Duration limit = words.size() > 5 ? milliseconds(words[5]) : kLimit;
        const bool has = world.run_until([&] { return reader.records() >= number(words.at(3)); }, limit);
        return has ? "" : fmt::format("it has read {}", reader.records());
    }
    const auto said = [&](const std::string& line) { return says(line, words.at(2)); };
    if (what == "never") return std::ranges::any_of(lines_, said) ? "it was said" : "";
    if (what == "once") return std::ranges::count_if(lines_, said) == 1 ? "" : "it was not said just once";
    if (what != "said") return "nobody knows how to expect " + what;
    return comes_true(
        [&] {
            const auto found = std::find_if(lines_.begin() + static_cast<std::ptrdiff_t>(read_), lines_.end(), said);
            if (found == lines_.end()) return false;
            read_ = static_cast<std::size_t>(found - lines_.begin()) + 1;
            return true;
        },
        "nobody says so");
}

std::string Scenario::speak_for_the_leader() {
    Machine* leader = cluster_->leader();
    if (leader == nullptr) return "nobody leads";
    const proto::ViewChosen lie = everybody_is_out(leader->node());
    const view::Member as = view::from_proto(lie.view().members(0));
    stranger_ = std::make_unique<Stranger>(*cluster_, Endpoint{0x0a030001, 9000});
    for (Machine* machine : cluster_->running())
        if (machine != leader) stranger_->say(machine->address(), protocol::MessageType::kViewChosen, lie, &as);
    return "";
}

std::string Scenario::step(const Words& words) {
    const std::string& verb = words[0];
    if (verb == "machines") {
        cluster_ = std::make_unique<Cluster>(seed_, number(words.at(1)), Transcript::Detail::kInfo,
                                             [this](const std::string& line) { heard(line); });
        return "";
    }
    if (!cluster_) return "first of all: machines N";
    if (verb == "start" && words.at(1) == "all") return cluster_->start_all(), "";
    if (kDeeds.contains(verb)) return deed(words);
    if (verb == "expect") return expect(words);
    if (verb == "when") return set_trap(words);
    if (verb == "topic") return make_topic(words);
    if (verb == "delete") return cluster_->delete_topic(topic(words.at(1)).name), "";
    if (verb == "append") return append(words);
    if (verb == "read") {
        Topic& of = topic(words.at(1));
        of.reader.reset();
        of.reader =
            std::make_unique<ScenarioReader>(cluster_->world(), cluster_->transcript(), of.reader_address, of.name);
        return "";
    }
    if (verb == "send") return send(words.at(1), number(words.at(2)));
    if (verb == "stranger") return speak_for_the_leader();
    if (verb == "run") return cluster_->world().run_for(milliseconds(words.at(1))), "";
    if (verb == "unacknowledged") {
        for (std::size_t i = 0; i < number(words.at(2)); ++i)
            (void)cluster_->append(topic(words[1]).stream, "u" + std::to_string(++values_), Duration{0});
        return "";
    }
    if (verb == "among") {
        std::set<std::size_t> machines;
        for (std::size_t i = 0; i < cluster_->size(); ++i)
            if (words.at(1) == "all" || std::ranges::count(words, "n" + std::to_string(i)) > 0) machines.insert(i);
        return cluster_->look_at(std::move(machines)), "";
    }
    return "nobody knows how to " + verb;
}

std::string Scenario::run(const std::string& text) {
    std::istringstream in(text);
    std::string line;
    for (int count = 1; std::getline(in, line); ++count) {
        const Words words = words_of(line);
        if (words.empty()) continue;
        std::string wrong = step(words);
        if (wrong.empty()) wrong = trouble_;
        if (!wrong.empty()) return fmt::format("line {}: {}: {}", count, line, wrong);
    }
    for (const Trap& trap : traps_)
        if (trap.left > 0) return fmt::format("it never happened: when \"{}\" {}", trap.text, trap.step[0]);
    return "";
}

}  // namespace logstream::sim
