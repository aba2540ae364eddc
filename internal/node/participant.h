// A member's side of a view change: promise and freeze, tell what it holds, make the base log durable, accept.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "internal/node/aligner.h"
#include "internal/node/core.h"
#include "internal/node/said.h"

namespace logstream::node {

class Participant {
public:
    struct Events {
        // A greater number was promised: from this call on nothing is appended, acknowledged or committed in older
        // views.
        std::function<void()> freeze;
        // Base log and record are durable: `view` is accepted by this run of the process.
        std::function<void(const view::View&)> accepted;
        std::function<std::vector<NodeId>()> multicast_heard;
        std::function<bool()> leaving;
        // Why this broker may promise nothing, if it may not.
        std::function<std::optional<std::string>()> why_outside;
        // A person named the survivors that make a new lineage, this broker among them.
        std::function<bool()> recovers;
    };
    using ExchangeReply = std::function<void(const proto::StateExchangeResponse&)>;
    using InstallReply = std::function<void(const proto::ViewInstallAck&)>;

    Participant(Core& core, Events events) : core_(core), events_(std::move(events)) {}
    ~Participant();
    Participant(const Participant&) = delete;
    Participant& operator=(const Participant&) = delete;

    void on_exchange(const proto::StateExchange& request, ExchangeReply reply);
    void on_install(const proto::ViewInstall& request, InstallReply reply);

    // The view that this run of the process accepted last; older runs' views are re-entered by a new view only.
    const std::optional<view::View>& installed() const { return installed_; }
    // Nothing may be appended, acknowledged or committed.
    bool frozen() const { return !installed_ || core_.record.promised > installed_->number; }
    // Since when records have been refused for the view that is chosen now; none: it was in no view before.
    std::optional<protocol::TimePoint> take_frozen_since() { return std::exchange(frozen_at_, std::nullopt); }
    // Streams with committed records that the base log of the installed view does not have: deleted, if all is well.
    std::vector<StreamId> take_unplanned() { return std::exchange(unplanned_, {}); }
    // Only planted bugs do this: a restarted member takes itself for the member of its old view that it was.
    void go_on_after_restart() {
        installed_ = core_.record.accepted;
        events_.accepted(*installed_);
    }
    // The view whose base log is being made; 0: none. Whoever makes this broker's logs those of another view stops that
    // first.
    ViewNumber installing() const { return aligner_ ? aligning_ : ViewNumber{}; }
    // The promise given last is not on disk yet.
    bool promising() const { return promise_ && !promise_->kept; }
    void stop_installing();
    // Forgets everything, with the record: the node starts afresh in another lineage.
    void reset();

private:
    bool is_member_of_mine(NodeId node) const;
    void begin_promise(ViewNumber number, ExchangeReply reply);
    void await_promise(ExchangeReply reply);
    void stop_timers();  // of the promise
    void flush_and_answer(std::uint64_t promise);
    void answer_exchange(ViewNumber number, const ExchangeReply& reply);
    void put_views(proto::StateExchangeResponse& out) const;
    void refuse(ViewNumber number, ErrorCode code, std::string text, const ExchangeReply& reply) const;
    void finish_install(const proto::ViewInstall& request, const view::View& view,
                        const std::vector<view::ViewName>& names, const InstallReply& reply);
    void reply_install(ViewNumber number, const Result<void>& result, const InstallReply& reply) const;
    void refuse_install(ViewNumber number, const InstallReply& reply) const;

    Core& core_;
    Events events_;
    std::optional<view::View> installed_;
    std::unique_ptr<Aligner> aligner_;
    ViewNumber aligning_;  // the view that aligner_ works for
    std::vector<StreamId> unplanned_;
    std::uint64_t resets_{};
    struct Promise {
        ViewNumber number;
        protocol::TimePoint since;
        std::vector<ExchangeReply> waiting;
        env::TimerId patience;        // until they are told that the disk is slow
        env::TimerId flush_patience;  // until they are answered whatever is not flushed
        bool kept{};                  // on disk, and answered
    };
    std::optional<Promise> promise_;  // given last by this run
    std::uint64_t promises_{};        // counts them, so that what ends late knows that it is not for this one
    std::optional<protocol::TimePoint> frozen_at_;
    Said conflict_said_;
};

}  // namespace logstream::node
