#include "native/engine/parked.h"

namespace ringside {

ParkedTable::ParkedTable(uint32_t capacity, uint64_t max_bytes)
    : HeldRequests(TimerKind::kParked, capacity, max_bytes), upcalls_(capacity) {
  for (uint32_t i = capacity; i > 0; i--) free_upcalls_.push_back(i - 1);
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
  upcall.requests = {};
  if (kind == UpcallKind::kMiss) by_key_.emplace(upcall.key, slot);
  return slot;
}

void ParkedTable::remove(uint32_t slot) {
  const uint32_t upcall = at(slot).queue;
  if (upcall != UINT32_MAX) {
    HeldQueue* const requests = &upcalls_[upcall].requests;
    leave(requests, slot);
    if (requests->first == kNoHeld) free_upcall(upcall);
  }
  free(slot);
}

std::vector<uint32_t> ParkedTable::close_upcall(uint32_t upcall) {
  std::vector<uint32_t> requests;
  for (uint32_t slot = upcalls_[upcall].requests.first; slot != kNoHeld; slot = at(slot).next) {
    requests.push_back(slot);
    at(slot).queue = UINT32_MAX;
  }
  free_upcall(upcall);
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

}  // namespace ringside
