#include "internal/client/router.h"

#include <algorithm>
#include <utility>

#include "internal/protocol/planted.h"

namespace logstream::client {

namespace {

constexpr Duration kMetadataTimeout = std::chrono::milliseconds(1500);
// Trouble that comes after this much calm is new trouble: its first question goes out at once.
constexpr Duration kCalm = std::chrono::seconds(1);
// So often all brokers are asked though nothing seems wrong.
constexpr Duration kLookAround = std::chrono::milliseconds(800);
// Known topics are asked about again at most this often, however many rounds there are.
constexpr Duration kRenewTopics = std::chrono::milliseconds(500);
// Without a METADATA answer for this long, brokers are looked for again.
constexpr Duration kSearchAgainAfter = std::chrono::seconds(1);
// Brokers of our own lineage must be silent for this long before another one is believed.
constexpr Duration kLineageLost = std::chrono::seconds(2);
constexpr Duration kHeardOfLate = std::chrono::seconds(2);
// A connection with less than this in its queue that does not answer is not slow but dead.
constexpr std::size_t kIdleQueueBytes = 64u << 10;

std::string list(const std::vector<Endpoint>& brokers) {
    std::string text;
    for (const Endpoint& broker : brokers) text += (text.empty() ? "" : ",") + env::to_string(broker);
    return text;
}

}  // namespace

Router::Router(env::Env& env, Bootstrap bootstrap)
    : env_(env),
      bootstrap_(std::move(bootstrap)),
      requests_(env),
      discovery_(
          env, bootstrap_.cluster, [this](const auto& brokers) { on_found(brokers); },
          [this](Endpoint broker) { ask(broker, question(Renewal::kNo)); }) {}

Router::~Router() {
    env_.cancel_timer(round_timer_);
    env_.cancel_timer(look_timer_);
    env_.cancel_timer(deadline_timer_);
    env_.cancel_timer(drop_timer_);
}

void Router::start() {
    lineage_heard_ = env_.now();
    deadline_timer_ = env_.set_timer(bootstrap_.deadline, [this] { give_up_bootstrap(); });
    if (bootstrap_.look_up) bootstrap_.look_up();
    refresh();
    look_around();
}

void Router::resolved(std::vector<Endpoint> brokers, const std::string& trouble) {
    if (brokers.empty()) {
        last_error_ = trouble;
        return;
    }
    bootstrap_.brokers = std::move(brokers);
    const std::string asked = question(Renewal::kNo);
    for (const Endpoint broker : bootstrap_.brokers)
        if (!heard_of_late(broker)) ask(broker, asked);
}

// Somewhere in the last quarter of the interval, so that many clients do not ask in one instant.
void Router::look_around() {
    const auto random = static_cast<std::int64_t>(env_.random() % 200);
    look_timer_ = env_.set_timer(kLookAround + std::chrono::milliseconds(random), [this] {
        if (failure_) return;
        if (!protocol::planted(protocol::Bug::kMinorityReads) && env_.now() - last_asked_ >= kLookAround) ask_all();
        look_around();
    });
}

void Router::want_topic(const std::string& topic, AutoCreate create) {
    topics_[topic] =
        create == AutoCreate::kYes && view_.find_topic(topic) == nullptr ? AutoCreate::kYes : AutoCreate::kNo;
}

void Router::refresh() {
    if (round_scheduled_ || failure_) return;
    const TimePoint now = env_.now();
    if (now - last_round_ > kCalm) backoff_.reset();
    const bool at_once = !backoff_.in_trouble();
    const Duration wait = backoff_.next(now, env_.random());
    round_scheduled_ = true;
    round_timer_ = env_.set_timer(at_once ? Duration{0} : wait, [this] {
        round_scheduled_ = false;
        last_round_ = env_.now();
        ask_all();
    });
}

void Router::ask_all() {
    const TimePoint now = env_.now();
    last_asked_ = now;
    const bool renew = now - topics_renewed_ >= kRenewTopics && has_stale_topics();
    if (renew) topics_renewed_ = now;
    asked_members_ |= view_.known();
    const auto brokers = known_brokers();
    if (brokers.empty() || now - lineage_heard_ > kSearchAgainAfter) {
        if (by_broadcast()) discovery_.start();
        if (bootstrap_.look_up) bootstrap_.look_up();
    }
    const std::string asked = question(Renewal::kNo);
    const auto source = topics_source();
    if (renew && source) ask(*source, question(Renewal::kYes));
    const std::string others = renew && !source ? question(Renewal::kYes) : asked;
    for (const Endpoint broker : brokers) ask(broker, others);
    // Nobody has a reason to call refresh() before there is a view.
    if (!view_.known()) refresh();
}

void Router::ask(Endpoint broker, const std::string& question) {
    if (asked_.contains(broker)) return;
    asked_[broker] = requests_.send(broker, MessageType::kMetadata, question, {}, kMetadataTimeout,
                                    [this, broker](const Result<Message>& answer) {
                                        asked_.erase(broker);
                                        on_answer(broker, answer);
                                    });
}

// While some are still to be made, those that are known have to wait: see question().
bool Router::has_stale_topics() const {
    bool stale = false;
    for (const auto& [topic, create] : topics_) {
        if (create == AutoCreate::kYes) return false;
        stale |= view_.find_topic(topic) != nullptr && !view_.is_current(topic);
    }
    return stale;
}

std::optional<Endpoint> Router::topics_source() const {
    const Broker* leader = view_.find(view_.leader);
    if (leader == nullptr || !heard_of_late(leader->endpoint) || asked_.contains(leader->endpoint)) return std::nullopt;
    return leader->endpoint;
}

// Topics that are to be made go in a request of their own, since auto_create applies to every topic named. A known
// topic is named only after topics have changed, in some rounds, and to one broker where that will do: repeating
// thousands in every answer costs too much.
std::string Router::question(Renewal renewal) const {
    proto::Metadata out;
    for (const auto& [topic, create] : topics_)
        if (create == AutoCreate::kYes) out.add_topics(topic);
    out.set_auto_create(out.topics_size() > 0);
    if (!out.auto_create())
        for (const auto& [topic, create] : topics_)
            if (view_.find_topic(topic) == nullptr || (renewal == Renewal::kYes && !view_.is_current(topic)))
                out.add_topics(topic);
    out.set_all(all_topics_);
    return out.SerializeAsString();
}

void Router::on_found(const Result<std::set<Endpoint>>& brokers) {
    if (!brokers) {
        if (!view_.known()) fail(brokers.error());
        notify();
        return;
    }
    found_ = *brokers;
    const std::string asked = question(Renewal::kNo);
    for (const Endpoint broker : known_brokers()) ask(broker, asked);
}

void Router::on_answer(Endpoint broker, const Result<Message>& answer) {
    proto::MetadataResponse response;
    if (!answer) {
        last_error_ = answer.error().message;
        if (answer.error().code == ErrorCode::kTimeout && requests_.queued_bytes(broker) < kIdleQueueBytes)
            requests_.drop(broker, {ErrorCode::kNetwork, answer.error().message});
    } else if (answer->type != MessageType::kMetadata || !answer->parse(response)) {
        last_error_ = fmt::format("{} sent a METADATA answer that cannot be read", env::to_string(broker));
    } else if (response.cluster_id() == 0 || response.view().number() == 0) {
        unready_ = fmt::format(
            "{}: {}", env::to_string(broker),
            response.error().code() != 0 ? response.error().message() : "this broker does not belong to a cluster yet");
    } else if (adopt(broker, response)) {
        const auto refusal = static_cast<ErrorCode>(response.error().code());
        const bool stands = refusal != ErrorCode::kNoQuorum && refusal != ErrorCode::kBusy;
        std::string refused;
        if (!response.quorum())
            refused = response.error().message().empty() ? "it accepts no records now" : response.error().message();
        else if (response.disk_full())
            refused = fmt::format("the disk of the broker at {} is full", env::to_string(broker));
        heard_[broker] = {env_.now(), ViewNumber{response.view().number()}, stands, std::move(refused)};
        std::erase_if(heard_, [this](const auto& entry) { return env_.now() - entry.second.at >= kHeardOfLate; });
        for (auto& [topic, create] : topics_)
            if (view_.find_topic(topic) != nullptr) create = AutoCreate::kNo;
        unready_.clear();
        discovery_.stop();
        env_.cancel_timer(deadline_timer_);
    }
    notify();
}

bool Router::adopt(Endpoint broker, const proto::MetadataResponse& response) {
    const ClusterId lineage{response.cluster_id()};
    const TimePoint now = env_.now();
    if (view_.known() && lineage != view_.cluster_id) {
        last_error_ =
            fmt::format("{} belongs to another lineage, {}; this client works with {}", env::to_string(broker),
                        protocol::to_string(lineage), protocol::to_string(view_.cluster_id));
        if (now - lineage_heard_ < kLineageLost) return false;
        if (pinned_) {
            fail({ErrorCode::kWrongCluster,
                  last_error_ +
                      ". That is a different history: restart to read it, or join the two with logstreamctl merge"});
            return false;
        }
        view_ = ClusterView{};
    }
    lineage_heard_ = now;
    const ViewNumber number{response.view().number()};
    if (number < view_.number) return true;  // a broker that does not know yet
    if (number > view_.number) {
        ClusterView newer(response, broker);
        newer.keep_topics_of(view_);
        const ClusterView older = std::exchange(view_, std::move(newer));
        quorum_heard_ = {};
        asked_members_ = false;
        backoff_.reset();  // the next trouble is new trouble
        drop_departed(older);
    }
    const auto known = view_.topics_as_of();
    view_.merge_topics(response);
    if (view_.topics_as_of() > known && has_stale_topics()) refresh();
    note_quorum(broker, response);
    if (!response.quorum() && !asked_members_) refresh();
    return true;
}

// Whoever left the view answers nobody soon: what waits for it is better asked elsewhere, now. (Not at once: ending
// requests runs their handlers, and we are within one.)
void Router::drop_departed(const ClusterView& older) {
    for (const Broker& broker : older.members)
        if (view_.find(broker.id) == nullptr) departed_.insert(broker.endpoint);
    if (departed_.empty()) return;
    env_.cancel_timer(drop_timer_);
    drop_timer_ = env_.set_timer(Duration{0}, [this] {
        for (const Endpoint broker : std::exchange(departed_, {})) {
            requests_.drop(broker, {ErrorCode::kNetwork,
                                    fmt::format("{} is not in view {}", env::to_string(broker), view_.number)});
        }
    });
}

void Router::note_quorum(Endpoint broker, const proto::MetadataResponse& response) {
    const TimePoint now = env_.now();
    if (response.quorum()) {
        quorum_heard_ = now;
        no_quorum_reason_.clear();
    } else if (quorum_heard_ == TimePoint{} || now - quorum_heard_ > kCalm) {
        no_quorum_reason_ =
            response.error().code() != 0
                ? response.error().message()
                : fmt::format("no quorum: the broker at {} reaches too few of the {} members of view {}",
                              env::to_string(broker), response.view().members_size(), response.view().number());
    }
}

bool Router::heard_of_late(Endpoint broker) const {
    const auto found = heard_.find(broker);
    return found != heard_.end() && env_.now() - found->second.at < kHeardOfLate;
}

bool Router::in_quorum(Endpoint broker) const {
    const auto found = heard_.find(broker);
    return heard_of_late(broker) && found->second.quorum && found->second.view == view_.number;
}

std::string Router::write_refusal(Endpoint broker) const {
    const auto found = heard_.find(broker);
    return heard_of_late(broker) ? found->second.refusal : std::string();
}

bool Router::reaches_quorum() const {
    return std::ranges::any_of(view_.members, [this](const Broker& member) { return in_quorum(member.endpoint); });
}

std::string Router::trouble() const {
    if (failure_) return failure_->message;
    const bool heard = std::ranges::any_of(heard_, [this](const auto& entry) { return heard_of_late(entry.first); });
    if (!heard && !unready_.empty()) return unready_;
    if (!heard) return last_error_.empty() ? "no broker answers" : fmt::format("no broker answers ({})", last_error_);
    return no_quorum_reason_;
}

std::set<Endpoint> Router::known_brokers() const {
    std::set<Endpoint> brokers = found_;
    brokers.insert(bootstrap_.brokers.begin(), bootstrap_.brokers.end());
    for (const Broker& member : view_.members) brokers.insert(member.endpoint);
    return brokers;
}

void Router::give_up_bootstrap() {
    if (view_.known()) return;
    const auto seconds = std::chrono::duration<double>(bootstrap_.deadline).count();
    const std::string why = last_error_.empty() ? "" : fmt::format(" ({})", last_error_);
    std::string others;
    for (const auto& [cluster, broker] : discovery_.others())
        others += fmt::format("{}'{}' (at {})", others.empty() ? "" : ", ", cluster, env::to_string(broker));
    if (!unready_.empty()) {
        fail({ErrorCode::kNoQuorum, fmt::format("no broker is in a view within {:g} s; {}", seconds, unready_)});
    } else if (by_broadcast() && !others.empty()) {
        fail({ErrorCode::kNetwork,
              fmt::format("no broker of cluster '{}' answered on this network within {:g} s, but these clusters "
                          "did: {}. Choose one with --cluster NAME",
                          bootstrap_.cluster, seconds, others)});
    } else if (by_broadcast()) {
        fail({ErrorCode::kNetwork,
              fmt::format(
                  "no broker of cluster '{}' answered on this network within {:g} s{}: run netdiag to see why, or "
                  "name brokers with --brokers HOST:PORT",
                  bootstrap_.cluster, seconds, why)});
    } else {
        fail({ErrorCode::kNetwork,
              fmt::format("no broker answered at {} within {:g} s{}: check the addresses given with --brokers{}, or "
                          "run netdiag --peer HOST:PORT",
                          bootstrap_.named.empty() ? list(bootstrap_.brokers) : bootstrap_.named, seconds, why,
                          bootstrap_.cluster.empty()
                              ? ""
                              : fmt::format(" and whether their cluster is called '{}'", bootstrap_.cluster))});
    }
    notify();
}

void Router::fail(Error error) {
    if (failure_) return;
    failure_ = std::move(error);
    discovery_.stop();
}

Router::ListenerId Router::listen(Listener listener) {
    listeners_.emplace(++last_listener_, std::move(listener));
    return last_listener_;
}

void Router::notify() {
    std::vector<ListenerId> ids;
    for (const auto& [id, listener] : listeners_) ids.push_back(id);
    for (const ListenerId id : ids) {
        const auto found = listeners_.find(id);
        if (found == listeners_.end()) continue;
        const Listener listener = found->second;  // it may unlisten itself
        listener();
    }
}

}  // namespace logstream::client
