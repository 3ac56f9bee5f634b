#include "native/engine/parked.h"

#include "native/base/bytes.h"
#include "native/codec/frame.h"
#include "native/engine/fair_share.h"

namespace ringside {

ParkedTable::ParkedTable(uint32_t capacity, uint64_t max_bytes)
    : max_bytes_(max_bytes), parked_(capacity), upcalls_(capacity) {
  for (uint32_t i = capacity; i > 0; i--) {
    free_.push_back(i - 1);
    free_upcalls_.push_back(i - 1);
    parked_[i - 1].timer.kind = TimerKind::kParked;
    parked_[i - 1].timer.slot = i - 1;
  }
}

uint32_t ParkedTable::find_upcall(std::string_view key) const {
  const auto it = by_key_.find(std::string(key));
  return it == by_key_.end() ? UINT32_MAX : it->second;
}

uint32_t ParkedTable::open_upcall(UpcallKind kind, std::string_view key) {
  const uint32_t slot = free_upcalls_.back();  // there are as many as parked requests, and each has at least one
  free_upcalls_.pop_back();
  Upcall& upcall = upcalls_[slot];
  upcall.live = true;
  upcall.kind = kind;
  upcall.key = key;
  upcall.first = upcall.last = kNoParked;
  if (kind == UpcallKind::kMiss) by_key_.emplace(upcall.key, slot);
  return slot;
}

uint32_t ParkedTable::park(uint32_t upcall_slot, Handle downstream, std::vector<uint8_t> frame) {
  const uint32_t slot = free_.back();
  free_.pop_back();
  ParkedRequest& parked = parked_[slot];
  parked.live = true;
  parked.downstream = downstream;
  parked.upcall = upcall_slot;
  parked.next = kNoParked;
  parked.flow = FlowRef{};
  bytes_ += frame.size();
  Share& share = shares_[downstream.pack()];
  share.requests++;
  share.bytes += frame.size();
  parked.frame = std::move(frame);
  if (parked.frame[kTypeOffset] == static_cast<uint8_t>(FrameType::kRequest)) by_sender_.emplace(sender_id(parked), slot);
  Upcall& upcall = upcalls_[upcall_slot];
  if (upcall.first == kNoParked) {
    upcall.first = slot;
  } else {
    parked_[upcall.last].next = slot;
  }
  upcall.last = slot;
  return slot;
}

bool ParkedTable::append(uint32_t slot, const uint8_t* head, size_t head_bytes, const uint8_t* body, size_t body_bytes) {
  if (bytes_ + head_bytes + body_bytes > max_bytes_) return false;
  shares_[parked_[slot].downstream.pack()].bytes += head_bytes + body_bytes;
  std::vector<uint8_t>& frame = parked_[slot].frame;
  frame.insert(frame.end(), head, head + head_bytes);
  frame.insert(frame.end(), body, body + body_bytes);
  bytes_ += head_bytes + body_bytes;
  return true;
}

uint32_t ParkedTable::find_request(Handle downstream, uint64_t request_id) const {
  const auto it = by_sender_.find({downstream.pack(), request_id});
  return it == by_sender_.end() ? kNoParked : it->second;
}

ParkedTable::SenderId ParkedTable::sender_id(const ParkedRequest& parked) {
  return {parked.downstream.pack(), load_u64(parked.frame.data() + kRequestIdOffset)};
}

bool ParkedTable::has_share(Handle downstream, uint32_t requests, size_t bytes) const {
  const auto it = shares_.find(downstream.pack());
  const Share share = it == shares_.end() ? Share{} : it->second;
  return may_take(share.requests, requests, free_.size(), capacity()) &&
         may_take(share.bytes, bytes, max_bytes_ - bytes_, max_bytes_);
}

void ParkedTable::remove(uint32_t slot) {
  const uint32_t upcall_slot = parked_[slot].upcall;
  if (upcall_slot != UINT32_MAX) {
    Upcall& upcall = upcalls_[upcall_slot];
    uint32_t previous = kNoParked;
    for (uint32_t at = upcall.first; at != slot; at = parked_[at].next) previous = at;
    if (previous == kNoParked) {
      upcall.first = parked_[slot].next;
    } else {
      parked_[previous].next = parked_[slot].next;
    }
    if (upcall.last == slot) upcall.last = previous;
    if (upcall.first == kNoParked) free_upcall(upcall_slot);
  }
  free_parked(slot);
}

std::vector<uint32_t> ParkedTable::close_upcall(uint32_t upcall_slot) {
  std::vector<uint32_t> requests;
  for (uint32_t at = upcalls_[upcall_slot].first; at != kNoParked; at = parked_[at].next) {
    requests.push_back(at);
    parked_[at].upcall = UINT32_MAX;
  }
  free_upcall(upcall_slot);
  return requests;
}

void ParkedTable::free_upcall(uint32_t slot) {
  Upcall& upcall = upcalls_[slot];
  if (upcall.kind == UpcallKind::kMiss) by_key_.erase(upcall.key);
  upcall.live = false;
  upcall.generation++;
  upcall.key.clear();
  free_upcalls_.push_back(slot);
}

void ParkedTable::free_parked(uint32_t slot) {
  ParkedRequest& parked = parked_[slot];
  bytes_ -= parked.frame.size();
  const auto sent = by_sender_.find(sender_id(parked));
  if (sent != by_sender_.end() && sent->second == slot) by_sender_.erase(sent);
  const auto share = shares_.find(parked.downstream.pack());
  share->second.bytes -= parked.frame.size();
  if (--share->second.requests == 0) shares_.erase(share);
  std::vector<uint8_t>().swap(parked.frame);
  parked.live = false;
  free_.push_back(slot);
}

}  // namespace ringside
