#include "native/engine/held_requests.h"

#include "native/base/bytes.h"
#include "native/codec/frame.h"
#include "native/engine/fair_share.h"

namespace ringside {

HeldRequests::HeldRequests(TimerKind kind, uint32_t capacity, uint64_t max_bytes) : max_bytes_(max_bytes), held_(capacity) {
  for (uint32_t i = capacity; i > 0; i--) {
    free_.push_back(i - 1);
    held_[i - 1].timer.kind = kind;
    held_[i - 1].timer.slot = i - 1;
  }
}

uint32_t HeldRequests::hold(HeldQueue* queue, uint32_t queue_id, Handle downstream, std::vector<uint8_t> frame) {
  const uint32_t slot = free_.back();
  free_.pop_back();
  HeldRequest& held = held_[slot];
  held.live = true;
  held.downstream = downstream;
  held.queue = queue_id;
  held.next = kNoHeld;
  held.previous = queue->last;
  held.flow = FlowRef{};
  bytes_ += frame.size();
  HeldShare& share = shares_[downstream.pack()];
  share.requests++;
  share.bytes += frame.size();
  held.frame = std::move(frame);
  if (held.frame[kTypeOffset] == static_cast<uint8_t>(FrameType::kRequest)) by_sender_.emplace(sender_id(held), slot);
  (queue->last == kNoHeld ? queue->first : held_[queue->last].next) = slot;
  queue->last = slot;
  return slot;
}

bool HeldRequests::append(uint32_t slot, const uint8_t* head, size_t head_bytes, const uint8_t* body, size_t body_bytes) {
  if (bytes_ + head_bytes + body_bytes > max_bytes_) return false;
  shares_[held_[slot].downstream.pack()].bytes += head_bytes + body_bytes;
  std::vector<uint8_t>& frame = held_[slot].frame;
  frame.insert(frame.end(), head, head + head_bytes);
  frame.insert(frame.end(), body, body + body_bytes);
  bytes_ += head_bytes + body_bytes;
  return true;
}

uint32_t HeldRequests::find_request(Handle downstream, uint64_t request_id) const {
  const auto it = by_sender_.find({downstream.pack(), request_id});
  return it == by_sender_.end() ? kNoHeld : it->second;
}

HeldRequests::SenderId HeldRequests::sender_id(const HeldRequest& held) {
  return {held.downstream.pack(), load_u64(held.frame.data() + kRequestIdOffset)};
}

bool HeldRequests::has_share(Handle downstream, uint32_t requests, size_t bytes) const {
  const auto it = shares_.find(downstream.pack());
  return may_have(it == shares_.end() ? HeldShare{} : it->second, requests, bytes);
}

bool HeldRequests::may_have(const HeldShare& share, uint32_t requests, size_t bytes) const {
  return may_take(share.requests, requests, free_.size(), capacity()) &&
         may_take(share.bytes, bytes, max_bytes_ - bytes_, max_bytes_);
}

void HeldRequests::leave(HeldQueue* queue, uint32_t slot) {
  const HeldRequest& held = held_[slot];
  (held.previous == kNoHeld ? queue->first : held_[held.previous].next) = held.next;
  (held.next == kNoHeld ? queue->last : held_[held.next].previous) = held.previous;
}

void HeldRequests::free(uint32_t slot) {
  HeldRequest& held = held_[slot];
  bytes_ -= held.frame.size();
  const auto sent = by_sender_.find(sender_id(held));
  if (sent != by_sender_.end() && sent->second == slot) by_sender_.erase(sent);
  const auto share = shares_.find(held.downstream.pack());
  share->second.bytes -= held.frame.size();
  if (--share->second.requests == 0) shares_.erase(share);
  std::vector<uint8_t>().swap(held.frame);
  held.live = false;
  held.queue = UINT32_MAX;
  held.next = held.previous = kNoHeld;
  free_.push_back(slot);
}

}  // namespace ringside
