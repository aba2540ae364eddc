#include "internal/node/identity_check.h"

#include <algorithm>
#include <optional>

#include "internal/protocol/planted.h"

namespace logstream::node {

namespace {
constexpr Duration kTimeout = std::chrono::milliseconds(400);
constexpr std::size_t kMaxAsked = 128;

bool is_run(const proto::ProbeResponse& response, const view::Member& run) {
    return response.node().id() == run.id.value && response.node().incarnation() == run.incarnation.value;
}
}  // namespace

struct IdentityCheck::Question {
    view::Member claimed;
    Handler handler;
    std::size_t open{};  // answers that are awaited
    Verdict verdict = Verdict::kSilent;
    std::optional<view::Member> twin;
    bool in_doubt{};  // an older run neither answers nor is known to be gone
};

bool IdentityCheck::ask(const view::Member& claimed, std::uint64_t token, Handler handler) {
    if (asked_ >= kMaxAsked) return false;
    ++asked_;
    const auto question = std::make_shared<Question>();
    question->claimed = claimed;
    question->handler = std::move(handler);
    std::vector<view::Member> others;
    if (!protocol::planted(protocol::Bug::kTwinsTolerated)) others = events_.known_runs(claimed.id);
    // Who is at an address no more is found out by asking who is.
    std::erase_if(others, [&](const view::Member& run) { return address_of(run) == address_of(claimed); });
    question->open = 1 + others.size();
    // One run has one address.
    if (std::ranges::find(others, claimed.incarnation, &view::Member::incarnation) != others.end()) {
        question->open = 1;
        question->verdict = Verdict::kFalse;
        env_.set_timer(Duration{0}, lifetime_.guard([this, question] { answered(*question); }));
        return true;
    }
    ask_claimed(question, token);
    for (const view::Member& run : others) ask_other(question, run);
    return true;
}

void IdentityCheck::ask_claimed(const std::shared_ptr<Question>& question, std::uint64_t token) {
    proto::Probe probe;
    probe.set_token(token);
    links_.request(address_of(question->claimed), MessageType::kProbe, probe, kTimeout,
                   [this, question, token](const protocol::Result<Message>& reply) {
                       proto::ProbeResponse response;
                       if (reply && reply->parse(response) && response.node().id() != 0)
                           question->verdict =
                               is_run(response, question->claimed) && (token == 0 || response.introduced())
                                   ? Verdict::kTrue
                                   : Verdict::kFalse;
                       answered(*question);
                   });
}

void IdentityCheck::ask_other(const std::shared_ptr<Question>& question, const view::Member& run) {
    links_.request(address_of(run), MessageType::kProbe, proto::Probe{}, kTimeout,
                   [this, question, run](const protocol::Result<Message>& reply) {
                       proto::ProbeResponse response;
                       if (reply && reply->parse(response)) {
                           if (response.node().id() == run.id.value) question->twin = view::from_proto(response.node());
                       } else if (reply || reply.error().code != protocol::ErrorCode::kNetwork) {
                           question->in_doubt = question->in_doubt || events_.heard(run);
                       }
                       answered(*question);
                   });
}

void IdentityCheck::answered(Question& question) {
    if (--question.open > 0) return;
    --asked_;
    Outcome out{question.verdict, {}};
    if (out.verdict == Verdict::kTrue && question.twin)
        out = {Verdict::kTwin, *question.twin};
    else if (out.verdict == Verdict::kTrue && question.in_doubt)
        out.verdict = Verdict::kSilent;
    question.handler(out);
}

}  // namespace logstream::node
