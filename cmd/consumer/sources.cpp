#include "cmd/consumer/sources.h"

#include <fnmatch.h>

#include <algorithm>

namespace logstream::consumer {

using protocol::ErrorCode;
using protocol::fail;

namespace {
constexpr protocol::Duration kLookEvery = std::chrono::milliseconds(500);
}

bool is_pattern(std::string_view topic) { return topic.find_first_of("*?[") != std::string_view::npos; }

Sources::Sources(runtime::Session& session, std::vector<std::string> topics, client::ConsumerOptions how,
                 std::string format, RecordHandler on_record, FinishHandler on_finish)
    : session_(session),
      topics_(std::move(topics)),
      how_(std::move(how)),
      format_(std::move(format)),
      record_handler_(std::move(on_record)),
      finish_handler_(std::move(on_finish)),
      several_(topics_.size() > 1 || std::ranges::any_of(topics_, is_pattern)),
      waiting_(session.env()) {
    if (several_) silence_ = std::exchange(how_.timeout, {});
    listener_ = session_.router().listen([this] {
        // Not within the router's call: whoever is added listens, too.
        if (match_timer_.value == 0) match_timer_ = session_.env().set_timer({}, [this] { look_for_matches(); });
    });
}

Sources::~Sources() {
    session_.router().unlisten(listener_);
    session_.env().cancel_timer(match_timer_);
    session_.env().cancel_timer(silence_timer_);
}

void Sources::start() {
    excuse();
    if (std::ranges::any_of(topics_, is_pattern)) session_.router().want_all_topics();
    for (const std::string& topic : topics_)
        if (!is_pattern(topic)) add(topic, how_.start);
    if (several_) watch_silence();
}

void Sources::add(const std::string& topic, client::StartAt start) {
    const auto [at, added] = sources_.try_emplace(topic, Source{topic, Formatter(topic, format_), nullptr});
    if (!added) return;
    Source& source = at->second;
    client::ConsumerOptions how = how_;
    how.topic = topic;
    how.start = start;
    source.consumer = std::make_unique<client::Consumer>(
        session_.router(), std::move(how),
        [this, &source](const client::ConsumedRecord& record) {
            excuse();
            return record_handler_(source, record);
        },
        [this, &source](protocol::Result<void> result) {
            if (!result) return finish(std::move(result));
            source.ended = true;
            check_end();
        });
    source.consumer->start();
}

void Sources::look_for_matches() {
    match_timer_ = {};
    if (stopping_ > 0 || !std::ranges::any_of(topics_, is_pattern)) return;
    const client::Router& router = session_.router();
    if (router.failure()) return finish(std::unexpected(*router.failure()));
    if (!router.view().known()) return;
    if (matched_ && !how_.follow) return;
    const client::StartAt start = matched_ ? client::StartAt{client::StartAt::Kind::kEarliest} : how_.start;
    matched_ = true;
    for (const client::Topic& topic : router.view().topics())
        for (const std::string& pattern : topics_)
            if (is_pattern(pattern) && fnmatch(pattern.c_str(), topic.name.c_str(), 0) == 0) add(topic.name, start);
    if (!sources_.empty() || how_.follow) return;
    const std::string trouble = router.trouble();
    finish(fail(ErrorCode::kUnknownTopic,
                "no topic matches '{}': see logstreamctl topics list, or wait for one with --follow{}{}",
                topics_.front(), trouble.empty() ? "" : "; other brokers may know one: ", trouble));
}

void Sources::check_end() {
    if (matched_ || std::ranges::none_of(topics_, is_pattern))
        if (std::ranges::all_of(sources_, [](const auto& entry) { return entry.second.ended; })) finish({});
}

// Each Consumer says what it waits for. What is left is to see that all of them together are silent, or that there is
// none yet.
void Sources::watch_silence() {
    silence_timer_ = session_.env().set_timer(kLookEvery, [this] {
        const auto paused = [](const auto& entry) { return entry.second.consumer->paused(); };
        if (std::ranges::any_of(sources_, paused)) excuse();
        const std::string trouble = session_.router().trouble();
        if (sources_.empty())
            waiting_.look(trouble.empty() ? fmt::format("no topic matches '{}'", topics_.front()) : trouble);
        if (silence_ <= protocol::Duration{} || session_.loop().now() - progress_at_ < silence_) return watch_silence();
        finish(fail(ErrorCode::kTimeout, "no record arrived within {:g} s: {}",
                    std::chrono::duration<double>(silence_).count(),
                    trouble.empty() ? "there is nothing new" : trouble));
    });
}

void Sources::resume() {
    for (auto& [topic, source] : sources_) source.consumer->resume();
}

std::int64_t Sources::lag() const {
    std::int64_t lag = 0;
    for (const auto& [topic, source] : sources_) lag += source.consumer->lag();
    return lag;
}

void Sources::stop(std::function<void()> done) {
    session_.env().cancel_timer(silence_timer_);
    stopping_ = sources_.size();
    if (stopping_ == 0) return done();
    for (auto& [topic, source] : sources_)
        source.consumer->stop([this, done] {
            if (--stopping_ == 0) done();
        });
}

void Sources::finish(protocol::Result<void> result) {
    if (FinishHandler handler = std::exchange(finish_handler_, nullptr)) handler(std::move(result));
}

}  // namespace logstream::consumer
