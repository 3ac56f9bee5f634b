// Links of the legacy protocol written down for another engine, and made anew from what was written. What comes is held against what such a link can
// have been in: a state that makes no sense is refused, so that no later step has to expect one. Bounds that are lower in the new
// engine hold for what comes from now on.
#include "native/link/legacy_state.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "native/codec/mesh_header.h"
#include "native/link/legacy_callee_link.h"
#include "native/link/legacy_caller_link.h"
#include "native/link/legacy_link.h"

namespace ringside {

namespace {

const uint8_t* bytes_of(const std::string& text) { return reinterpret_cast<const uint8_t*>(text.data()); }

/// Whether fixed part and header stand at the begin of a request's frame, as the engine gives them to a link to an old server.
bool begins_request(const uint8_t* p, size_t n) {
  if (n < kFixedBytes) return false;
  const uint32_t header_bytes = load_u32(p + kHeaderBytesOffset);
  HeaderView view;
  return header_bytes <= kMaxHeaderBytes && header_bytes <= n - kFixedBytes && parse_header(p + kFixedBytes, header_bytes, &view) == nullptr;
}

}  // namespace

LegacyState LegacyLink::save() const {
  LegacyState all;
  for (const Outgoing& body : outgoing_) all.outgoing.push_back({body.id, body.allowance_bytes, body.body.substr(body.sent_bytes)});
  for (const Incoming& body : incoming_) {
    LegacyIncomingState saved;
    saved.id = body.id;
    saved.position = body.position;
    for (const Credit& credit : credits_) saved.owed_credit_bytes += credit.id == body.id ? credit.bytes : 0;
    saved.head.resize(kFixedBytes);
    encode_fixed(body.fixed, reinterpret_cast<uint8_t*>(saved.head.data()));
    saved.head += body.header;
    saved.body = body.body;
    all.incoming.push_back(std::move(saved));
  }
  save_own(&all);
  return all;
}

bool LegacyLink::restore(LegacyState all, std::string_view partial, std::string_view queue) {
  partial_.assign(partial.begin(), partial.end());
  out_.push(queue.data(), queue.size());
  const bool sends_replies = role == LinkRole::kUpstream;  // to the engine
  for (LegacyOutgoingState& saved : all.outgoing) {
    if (saved.rest.empty() || saved.allowance_bytes > kStreamWindowBytes) return false;
    Outgoing& body = begin_outgoing(saved.id, sends_replies);
    body.body = std::move(saved.rest);
    body.allowance_bytes = saved.allowance_bytes;
  }
  for (LegacyIncomingState& saved : all.incoming) {
    Incoming body;
    if (saved.head.size() < kFixedBytes || decode_fixed(bytes_of(saved.head), &body.fixed) != nullptr) return false;
    if (saved.head.size() != kFixedBytes + body.fixed.header_bytes || saved.body.size() > body.fixed.value) return false;
    if (saved.owed_credit_bytes > kStreamWindowBytes) return false;
    body.id = saved.id;
    body.total_bytes = body.fixed.value;
    body.position = saved.position;
    body.header = saved.head.substr(kFixedBytes);
    body.body = std::move(saved.body);
    if (saved.owed_credit_bytes > 0) credits_.push_back({body.id, sends_replies ? uint8_t{0} : kFlagReply, saved.owed_credit_bytes});
    incoming_.push_back(std::move(body));
  }
  if (!restore_own(&all)) return false;
  book();
  return true;
}

void LegacyCallerLink::save_own(LegacyState* all) const {
  LegacyCallerState saved;
  saved.admitted = admitted_;
  saved.ending = ending_;
  saved.leaving = leaving_;
  saved.oldest = oldest_;
  saved.next = next_;
  for (uint64_t id = oldest_; id < next_; id++) {
    const Slot& later = slots_[id & (slots_.size() - 1)];
    if (later.ready) saved.replies.push_back({id, later.reply});
  }
  saved.given_up = given_up_;
  saved.transaction = transaction_.save();
  all->caller.push_back(std::move(saved));
}

bool LegacyCallerLink::restore_own(LegacyState* all) {
  if (all->caller.size() != 1 || !all->callee.empty()) return false;
  LegacyCallerState& saved = all->caller.front();
  if (saved.oldest == 0 || saved.oldest > saved.next || saved.next - saved.oldest > kMaxPipelined) return false;
  admitted_ = saved.admitted || settings_.token.empty();
  ending_ = saved.ending;
  leaving_ = saved.leaving;
  oldest_ = saved.oldest;
  next_ = saved.next;
  slots_.resize(std::max(slots_.size(), std::bit_ceil(static_cast<size_t>(next_ - oldest_))));
  for (const LegacyReplyState& later : saved.replies) {
    // The oldest command's would have left.
    if (later.id <= oldest_ || later.id >= next_ || slot(later.id).ready) return false;
    finish(later.id, later.reply);
  }
  given_up_ = std::move(saved.given_up);
  if (saved.transaction.size() > 1) return false;
  return saved.transaction.empty() || transaction_.restore(saved.transaction.front(), max_message_bytes_);
}

void LegacyCalleeLink::save_own(LegacyState* all) const {
  LegacyCalleeState saved;
  saved.busy = busy_;
  saved.given_up = given_up_;
  saved.busy_id = busy_id_;
  saved.busy_position = busy_position_;
  saved.appended = appended_;
  for (const Waiting& next : waiting_) saved.waiting.push_back({next.id, next.position, {next.frame.begin(), next.frame.end()}});
  for (const Refused& refused : refused_) saved.refused.push_back({refused.id, refused.code, refused.text});
  all->callee.push_back(std::move(saved));
}

bool LegacyCalleeLink::restore_own(LegacyState* all) {
  if (all->callee.size() != 1 || !all->caller.empty()) return false;
  LegacyCalleeState& saved = all->callee.front();
  busy_ = saved.busy;
  given_up_ = saved.given_up;
  busy_id_ = saved.busy_id;
  busy_position_ = saved.busy_position;
  appended_ = saved.appended;
  for (const Incoming& body : incoming_) {
    HeaderView view;
    if (parse_header(bytes_of(body.header), body.header.size(), &view) != nullptr) return false;
  }
  for (const LegacyWaitingState& next : saved.waiting) {
    if (!begins_request(bytes_of(next.frame), next.frame.size())) return false;
    waiting_bytes_ += next.frame.size();
    waiting_.push_back({next.id, next.position, {next.frame.begin(), next.frame.end()}});
  }
  for (LegacyRefusedState& refused : saved.refused) {
    if (static_cast<uint8_t>(refused.code) > kMaxCode) return false;
    refused_.push_back({refused.id, refused.code, std::move(refused.text)});
  }
  return true;
}

}  // namespace ringside
