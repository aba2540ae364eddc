// A small world of nodes that change views, append, crash and lose messages, driven by one seed, with
// one stream and abstract records. Record and Change are the real ones; disk, network, replication and catch-up are
// the least that the rules need. view_oracle.h says what must hold.
#pragma once

#include <functional>
#include <random>

#include "tests/unit/view_host.h"

namespace logstream::view {

class Model {
public:
    Model(std::uint64_t seed, Rules rules) : rules_(rules), random_(seed) {
        const std::size_t nodes = 2 + pick(4);
        for (std::size_t i = 0; i < nodes; ++i) {
            Host& host = hosts_.emplace_back();
            host.record.node = NodeId{10 * (i + 1)};
            host.run = Incarnation{next_run_++};
            host.disk = encode(host.record);
        }
        for (std::size_t* weight :
             {&weights_.crash, &weights_.drop, &weights_.give_up, &weights_.partition, &weights_.learn})
            *weight = pick(8);
        weights_.change = 1 + pick(8);
        leaving_percent_ = pick(3) * 8;
        lossy_percent_ = pick(3) * 20;
        begin_change(hosts_.front());
        while (!anybody_accepted() && !in_flight_.empty()) run_calmly();
    }

    // One event of many; returns false when a promise is broken.
    bool step() {
        Host& host = hosts_[pick(hosts_.size())];
        const int event = static_cast<int>(pick(100));
        if (event < 50)
            deliver(weights_.drop);
        else if (event < 54)
            append(some_owner(host));
        else if (event < 61)
            replicate(some_owner(host), hosts_[pick(hosts_.size())]);
        else if (event < 69)
            flush(host);
        else if (event < 79)
            fetch_for_install(host);
        else if (event < 83)
            learn(host, hosts_[pick(hosts_.size())], chance(weights_.learn * 8));
        else if (event < 86)
            go_on(host, chance(30));
        else if (event < 88)
            chance(weights_.give_up * 5) ? host.change.reset() : void();
        else if (event < 94)
            chance(weights_.change * 5) ? begin_change(host) : void();
        else if (event < 98)
            !host.up ? restart(host) : chance(weights_.crash * 2) ? crash(host) : void();
        else if (chance(weights_.partition * 4))
            cut_off(chance(50) ? 0 : pick(1u << hosts_.size()));
        return !oracle.violation && !oracle.over;
    }

    // Faults end. Then somebody must get a view of all nodes chosen, and it must take and commit records.
    bool heal() {
        leaving_percent_ = lossy_percent_ = 0;
        cut_off(0);
        for (Host& host : hosts_)
            if (!host.up) restart(host);
        if (oracle.over || !anybody_accepted()) return true;  // died unborn: another lineage would be begun
        for (int attempt = 0; attempt < 10 && !oracle.violation && !oracle.over; ++attempt) {
            in_flight_.clear();
            for (Host& host : hosts_) host.change.reset();
            Host& host = hosts_[static_cast<std::size_t>(attempt) % hosts_.size()];
            everybody_ = true;
            begin_change(host);
            for (int i = 0; i < 200 && !serving(host); ++i) run_calmly();
            if (serving(host) && commits_one_more(*host.installed)) return !oracle.violation;
        }
        if (!oracle.over) oracle.violated("no view is chosen, or it commits nothing, though all nodes are up");
        return !oracle.violation;
    }

    Oracle oracle;

private:
    struct Flight {
        NodeId from;
        NodeId to;
        std::function<void(Host&)> arrive;
    };

    std::size_t pick(std::size_t below) { return random_() % below; }
    bool chance(std::size_t percent) { return pick(100) < percent; }
    Host& host_of(NodeId id) { return hosts_[id.value / 10 - 1]; }
    bool connected(NodeId a, NodeId b) const {
        const auto side = [this](NodeId id) { return (side_mask_ >> (id.value / 10 - 1)) & 1; };
        return side(a) == side(b);
    }
    void cut_off(std::size_t mask) { side_mask_ = mask; }
    bool anybody_accepted() const {
        return std::ranges::any_of(hosts_, [](const Host& host) { return host.record.accepted.has_value(); });
    }
    void send(NodeId from, NodeId to, std::function<void(Host&)> arrive) {
        if (in_flight_.size() < 100) in_flight_.push_back({from, to, std::move(arrive)});
    }
    Member self(const Host& host) const { return {host.id(), host.run, {}, 0, 0, 0, std::uint64_t{1} << 20, 1400}; }

    void deliver(std::size_t drop_percent) {
        for (std::size_t n = in_flight_.size() / 8; n > 0 && chance(80); --n) deliver_one(drop_percent);
        deliver_one(drop_percent);
    }

    void deliver_one(std::size_t drop_percent) {
        if (in_flight_.empty()) return;
        const std::size_t at = pick(in_flight_.size());
        Flight flight = in_flight_[at];
        if (!chance(4)) {  // else it comes again
            std::swap(in_flight_[at], in_flight_.back());
            in_flight_.pop_back();
        }
        Host& to = host_of(flight.to);
        if (to.up && connected(flight.from, flight.to) && !chance(drop_percent)) flight.arrive(to);
    }

    void run_calmly() {
        if (!in_flight_.empty()) {
            Flight flight = std::move(in_flight_.front());
            in_flight_.erase(in_flight_.begin());
            if (host_of(flight.to).up) flight.arrive(host_of(flight.to));
        }
        for (Host& host : hosts_) {
            fetch_for_install(host);
            go_on(host, in_flight_.empty());
        }
    }

    void crash(Host& host) {
        host.up = false;
        host.installed.reset();
        host.installing.reset();
        host.change.reset();
        host.acked.clear();
        std::size_t kept = host.durable + pick(host.log.size() - host.durable + 1);
        const bool others_keep_theirs =
            std::ranges::none_of(hosts_, [](const Host& h) { return h.record.must_relearn; });
        if (host.record.accepted && others_keep_theirs && chance(lossy_percent_)) {
            // The machine went, and with it what was written since the last install and acknowledged without a flush.
            kept = written_before(host.log, host.record.accepted_number()) + pick(3);
            kept = std::min(kept, host.log.size());
            Record lossy = *decode_record(host.disk);
            lossy.must_relearn = true;
            host.disk = encode(lossy);
            host.record.must_relearn = true;
        }
        host.log.resize(kept);
        host.durable = host.log.size();
        host.high_watermark = std::min(host.high_watermark, host.durable);
    }

    void restart(Host& host) {
        host.up = true;
        host.run = Incarnation{next_run_++};
        auto record = decode_record(host.disk);
        if (!record) return oracle.violated("node {} cannot read its record: {}", host.id(), record.error().message);
        host.record = *std::move(record);
    }

    void begin_change(Host& host) {
        if (!host.up || host.change) return;
        const ViewNumber number = std::max(seen_[host.id()], host.record.greatest_number()) + 1;
        NodeSet invited{host.id()};
        const bool all = everybody_ || chance(60);
        for (const Host& other : hosts_)
            if (all || chance(60)) invited.insert(other.id());
        Change::Options options;
        if (chance(20)) options.max_behind_bytes = 2;
        if (std::exchange(lineage_begun_, true) && rules_.lineage_begins_once) options.lineage = Change::Lineage::kOld;
        host.change = std::make_unique<Change>(ViewName{number, ViewId{}}, host.id(), invited, options);
        host.exchanged.clear();
        on_exchange(host, number, self(host));
        for (NodeId id : invited)
            if (id != host.id())
                send(host.id(), id, [this, number, from = self(host)](Host& to) { on_exchange(to, number, from); });
    }

    // Runs at the coordinator, if it is still at that attempt.
    void tell(NodeId from, const Member& coordinator, ViewNumber number, std::function<void(Host&)> arrive) {
        auto if_current = [coordinator, number, arrive = std::move(arrive)](Host& at) {
            if (at.run == coordinator.incarnation && at.change && at.change->number() == number) arrive(at);
        };
        if (from == coordinator.id) return if_current(host_of(from));
        send(from, coordinator.id, std::move(if_current));
    }

    void on_exchange(Host& host, ViewNumber number, const Member& coordinator) {
        if (!host.record.may_promise(number, coordinator.id, coordinator.incarnation))
            return tell(host.id(), coordinator, number,
                        [this, from = host.id(), beat = host.record.promised](Host& at) {
                            seen_[at.id()] = std::max(seen_[at.id()], beat);
                            at.change->on_refusal(from, beat);
                        });
        host.record.promise(number, coordinator.id, coordinator.incarnation);
        if (rules_.persist_promise) persist(host);
        host.installing.reset();
        host.durable = host.log.size();  // flushed, and no acknowledgement follows
        Answer answer{self(host), host.record.accepted, host.record.chosen, {}, {}, {}, {},
                      false,      host.record.promises};
        answer.streams.push_back({kOnlyStream,
                                  Offset{0},
                                  end_of(host.log),
                                  Offset(static_cast<std::int64_t>(host.high_watermark)),
                                  epochs_of(host.log),
                                  host.log.size(),
                                  {},
                                  {}});
        answer.leaving = chance(leaving_percent_);
        answer.no_vote = host.record.must_relearn && rules_.lossy_has_no_vote;
        tell(host.id(), coordinator, number, [answer, log = host.log](Host& at) {
            if (!at.change->planned()) at.exchanged.insert_or_assign(answer.member.id, log);
            at.change->on_answer(answer);
        });
    }

    // The coordinator installs when all have answered, or when it has waited long enough.
    void go_on(Host& host, bool time_is_up) {
        if (!host.change || host.change->planned() || !(host.change->all_heard() || time_is_up)) return;
        seen_[host.id()] = std::max(seen_[host.id()], host.change->greatest_number_seen());
        if (!host.change->has_quorum()) return host.change.reset();
        const Plan& plan = host.change->plan();
        if (plan.counted_without_vote) return oracle.loss_was_announced();
        oracle.planned(plan, host.exchanged);
        // Through Protobuf and back, as it travels.
        const auto view = from_proto(to_proto(plan.view));
        if (!view || *view != plan.view)
            return oracle.violated("view {} does not survive its encoding", plan.view.number);
        const Install install{*view, plan.chosen, plan.streams.front()};
        for (NodeId id : view->ids())
            if (id != host.id())
                send(host.id(), id, [this, install, from = self(host)](Host& to) { on_install(to, install, from); });
        on_install(host, install, self(host));
    }

    void on_install(Host& host, const Install& install, const Member& coordinator) {
        const ViewNumber number = install.view.number;
        if (host.installed == install.view && host.record.promised == number)
            return acknowledge(host, number, coordinator);
        if (!host.record.may_accept(install.view) || host.record.promised != number ||
            host.record.accepted_number() >= number)
            return;
        if (!install.view.has(host.id(), host.run) || host.installing) return;
        cut(host, install.plan.epochs, static_cast<std::size_t>(install.plan.log_end.value));
        host.installing = install;
        fetch_for_install(host);
    }

    // What departs from the base log goes to the orphans.
    void cut(Host& host, const std::vector<EpochStart>& base, std::size_t base_end) {
        const std::size_t departs = agreement(host.log, base, base_end);
        if (departs < host.high_watermark)
            oracle.violated("node {} has committed records up to {} and is told to cut at {}", host.id(),
                            host.high_watermark, departs);
        host.orphans.insert(host.orphans.end(), host.log.begin() + static_cast<std::ptrdiff_t>(departs),
                            host.log.end());
        host.log.resize(departs);
        host.durable = departs;
    }

    // Takes a few records from one source, as that holds them now; it may have gone on, or been cut itself.
    bool fetch(Host& host, const Host& source, const std::vector<EpochStart>& base, std::size_t base_end) {
        if (!source.up || !connected(host.id(), source.id())) return false;
        for (std::size_t n = 1 + pick(3); n > 0 && host.log.size() < std::min(base_end, source.log.size()); --n) {
            const Entry& entry = source.log[host.log.size()];
            if (rules_.check_what_is_fetched && entry.view != writer_at(base, host.log.size())) return false;
            host.log.push_back(entry);
        }
        host.durable = host.log.size();
        return true;
    }

    void fetch_for_install(Host& host) {
        if (!host.up || !host.installing) return;
        const Install& install = *host.installing;
        const StreamPlan& plan = install.plan;
        const auto end = static_cast<std::size_t>(plan.log_end.value);
        if (host.log.size() < end) fetch(host, host_of(plan.sources[pick(plan.sources.size())]), plan.epochs, end);
        if (host.log.size() < end) return;
        host.record.accept(install.view);
        host.record.must_relearn = false;
        if (install.chosen) host.record.learn_chosen(*install.chosen);
        persist(host);
        host.installed = install.view;
        host.acked.clear();
        oracle.accepted(host.id(), install.view, host.log);
        const View view = install.view;
        host.installing.reset();
        acknowledge(host, view.number, *view.find(view.coordinator));
    }

    void acknowledge(Host& host, ViewNumber number, const Member& coordinator) {
        tell(host.id(), coordinator, number, [this, from = host.id()](Host& at) {
            at.change->on_accepted(from);
            if (!at.change->is_chosen()) return;
            const Plan plan = at.change->plan();
            at.change.reset();
            oracle.chosen(plan.view);
            on_chosen(at, plan.view);
            for (const Member& holder : plan.holders)
                if (holder.id != at.id())
                    send(at.id(), holder.id, [this, view = plan.view](Host& to) { on_chosen(to, view); });
        });
    }

    void on_chosen(Host& host, const View& view) {
        host.record.learn_chosen(view);
        persist(host);
        if (host.installed && host.installed->number < host.record.chosen_number()) host.installed.reset();
        if (host.installed == view)
            host.high_watermark = std::max(host.high_watermark, written_before(host.log, view.number));
    }

    // One of those who own the stream, or think so still.
    Host& some_owner(Host& otherwise) {
        std::vector<Host*> owners;
        for (Host& host : hosts_)
            if (owns(host)) owners.push_back(&host);
        return owners.empty() ? otherwise : *owners[pick(owners.size())];
    }

    void append(Host& host) {
        if (owns(host) && host.log.size() < 60) host.log.push_back({host.installed->number, next_value_++});
    }

    void replicate(Host& owner, const Host& member) {
        if (!owns(owner) || &owner == &member || !owner.installed->has(member.id())) return;
        const std::size_t from = pick(owner.log.size() + 1);
        send(owner.id(), member.id(),
             [this, view = *owner.installed, from,
              records = Log(owner.log.begin() + static_cast<std::ptrdiff_t>(from), owner.log.end()),
              watermark = owner.high_watermark](Host& to) { on_frame(to, view, from, records, watermark); });
    }

    void on_frame(Host& host, const View& view, std::size_t from, const Log& records, std::size_t watermark) {
        if (host.installed != view || (rules_.freeze && frozen(host)) || from > host.log.size()) return;
        on_chosen(host, view);  // a frame of a view proves it chosen
        for (std::size_t i = 0; i < records.size(); ++i) {
            if (from + i == host.log.size())
                host.log.push_back(records[i]);
            else if (host.log[from + i] != records[i])
                oracle.violated("node {} and the owner of view {} differ at {}", host.id(), view.number, from + i);
        }
        host.high_watermark = std::max(host.high_watermark, std::min(watermark, host.log.size()));
    }

    void flush(Host& host) {
        if (!host.up) return;
        host.durable = host.log.size();
        if (!host.installed || (rules_.freeze && frozen(host))) return;
        const NodeId owner = owner_of(*host.installed);
        if (owner == host.id()) return commit(host);
        send(host.id(), owner,
             [this, view = host.installed->number, from = host.id(), run = host.run, end = host.durable](Host& to) {
                 if (!owns(to) || to.installed->number != view || !to.installed->has(from, run)) return;
                 to.acked[from] = std::max(to.acked[from], end);
                 commit(to);
             });
    }

    void commit(Host& owner) {
        if (!owns(owner)) return;
        owner.acked[owner.id()] = owner.durable;
        for (std::size_t end = owner.durable; end > owner.high_watermark; --end) {
            NodeSet holders;
            for (const auto& [id, acked] : owner.acked)
                if (acked >= end) holders.insert(id);
            if (!is_majority(owner.installed->base(), holders)) continue;
            owner.high_watermark = end;
            return oracle.committed_in(owner.installed->number, owner.log, end);
        }
    }

    bool commits_one_more(const View& view) {
        Host& owner = host_of(owner_of(view));
        for (int i = 0; i < 200 && !owns(owner); ++i) run_calmly();
        if (!owns(owner)) return false;
        owner.log.push_back({view.number, next_value_++});
        const std::size_t end = owner.log.size();
        for (int i = 0; i < 40 && owner.high_watermark < end; ++i) {
            for (NodeId id : view.ids()) {
                replicate(owner, host_of(id));
                flush(host_of(id));
            }
            for (int n = 0; n < 20; ++n) run_calmly();
        }
        return owner.high_watermark == end;
    }

    // A node that does not serve follows a member that does.
    void learn(Host& host, const Host& leader, bool wanted) {
        if (!wanted || !host.up || serving(host) || host.installing || host.change || !serving(leader)) return;
        if (!connected(host.id(), leader.id()) || host.record.chosen_number() > leader.installed->number) return;
        on_chosen(host, *leader.installed);
        if (host.installed) return;  // a member of that view, which now knows it chosen
        const std::vector<EpochStart> epochs = epochs_of(leader.log);
        if (host.record.accepted_number() < leader.installed->number || !rules_.learner_keeps_acked_tail)
            cut(host, epochs, leader.log.size());
        if (agreement(host.log, epochs, leader.log.size()) < host.log.size()) return;
        fetch(host, leader, epochs, leader.high_watermark);
    }

    struct Weights {
        std::size_t crash{}, drop{}, change{}, give_up{}, partition{}, learn{};
    };

    Rules rules_;
    std::mt19937_64 random_;
    std::vector<Host> hosts_;
    std::vector<Flight> in_flight_;
    std::map<NodeId, ViewNumber> seen_;
    Weights weights_;
    std::size_t side_mask_{};
    std::size_t leaving_percent_{};
    std::size_t lossy_percent_{};
    std::uint64_t next_run_ = 1;
    int next_value_ = 1;
    bool lineage_begun_{};
    bool everybody_{};
};

}  // namespace logstream::view
