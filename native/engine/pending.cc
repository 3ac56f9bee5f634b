#include "native/engine/pending.h"

#include <algorithm>
#include <bit>

#include "native/engine/hash.h"

namespace ringside {

PendingTable::PendingTable(uint32_t capacity, uint64_t seed) : seed_(seed) { grow(capacity); }

void PendingTable::grow(uint32_t capacity) {
  if (capacity <= slots_.size() && !slots_.empty()) return;
  slots_.resize(capacity);
  notes_.reset(new RequestNote[capacity]);
  free_.clear();
  index_.assign(std::bit_ceil(std::max<size_t>(16, size_t{capacity} * 2)), kNoPending);
  index_mask_ = index_.size() - 1;
  free_.reserve(capacity);
  for (uint32_t i = capacity; i > 0; i--) {
    free_.push_back(i - 1);
    slots_[i - 1].timer.kind = TimerKind::kPending;
    slots_[i - 1].timer.slot = i - 1;
  }
}

uint64_t PendingTable::hash(Handle downstream, uint64_t downstream_id) const {
  return fold_multiply(downstream.pack() ^ seed_, downstream_id ^ 0xA0761D6478BD642Full);
}

uint32_t PendingTable::open(Handle downstream, uint64_t downstream_id, PendingList* down) {
  if (free_.empty()) return kNoPending;
  const uint32_t slot = free_.back();
  free_.pop_back();
  if (slots_[slot].generation < lowest_generation_) slots_[slot].generation = lowest_generation_;
  highest_generation_ = std::max(highest_generation_, slots_[slot].generation);
  enter(slot, downstream, downstream_id, down);
  return slot;
}

void PendingTable::enter(uint32_t slot, Handle downstream, uint64_t downstream_id, PendingList* down) {
  Pending& p = slots_[slot];
  p.live = true;
  notes_[slot].clear();
  p.attempt = 0;
  p.downstream = downstream;
  p.downstream_id = downstream_id;
  p.upstream = Handle{};
  p.instance = UINT32_MAX;
  p.flow = FlowRef{};
  p.sender = Sender{};
  p.counted = Sender{};
  p.streamed = false;
  p.request = BodyStream{};
  p.reply = BodyStream{};
  p.down_previous = kNoPending;
  p.down_next = down->head;
  if (down->head != kNoPending) slots_[down->head].down_previous = slot;
  down->head = slot;
  down->count++;
  live_++;
  index_insert(slot);
}

bool PendingTable::restore(uint32_t slot, uint32_t generation, Handle downstream, uint64_t downstream_id, PendingList* down) {
  if (slot >= slots_.size() || slots_[slot].live) return false;
  slots_[slot].generation = generation;
  enter(slot, downstream, downstream_id, down);
  restored_.resize(slots_.size());
  restored_[slot] = true;
  return true;
}

void PendingTable::restored(uint32_t generation) {
  highest_generation_ = std::max(highest_generation_, generation);
  lowest_generation_ = generation == UINT32_MAX ? 1 : generation + 1;
  if (!restored_.empty()) std::erase_if(free_, [this](uint32_t slot) { return restored_[slot]; });
  restored_ = {};
}

void PendingTable::attach_upstream(uint32_t slot, Handle upstream, PendingList* up) {
  Pending& p = slots_[slot];
  p.upstream = upstream;
  p.up_previous = kNoPending;
  p.up_next = up->head;
  if (up->head != kNoPending) slots_[up->head].up_previous = slot;
  up->head = slot;
  up->count++;
}

void PendingTable::detach_upstream(uint32_t slot, PendingList* up) {
  Pending& p = slots_[slot];
  if (!p.upstream.valid()) return;
  p.upstream = Handle{};
  if (p.up_next != kNoPending) slots_[p.up_next].up_previous = p.up_previous;
  if (p.up_previous != kNoPending) {
    slots_[p.up_previous].up_next = p.up_next;
  } else if (up != nullptr) {
    up->head = p.up_next;
  }
  if (up != nullptr) up->count--;
}

void PendingTable::close(uint32_t slot, PendingList* down, PendingList* up) {
  Pending& p = slots_[slot];
  index_erase(slot);
  detach_upstream(slot, up);
  if (p.down_next != kNoPending) slots_[p.down_next].down_previous = p.down_previous;
  if (p.down_previous != kNoPending) {
    slots_[p.down_previous].down_next = p.down_next;
  } else if (down != nullptr) {
    down->head = p.down_next;
  }
  if (down != nullptr) down->count--;
  if (p.counted.app != 0) {
    const auto found = counts_.find(key_of(p.counted));
    if (--found->second == 0) counts_.erase(found);
  }
  p.live = false;
  p.generation = p.generation == UINT32_MAX ? 1 : p.generation + 1;
  free_.push_back(slot);
  live_--;
}

void PendingTable::count_for(uint32_t slot, Sender app) {
  slots_[slot].counted = app;
  counts_[key_of(app)]++;
}

uint32_t PendingTable::find_request(Handle downstream, uint64_t downstream_id) const {
  for (uint64_t at = hash(downstream, downstream_id) & index_mask_;; at = (at + 1) & index_mask_) {
    const uint32_t slot = index_[at];
    if (slot == kNoPending) return kNoPending;
    const Pending& p = slots_[slot];
    if (p.downstream_id == downstream_id && p.downstream == downstream) return slot;
  }
}

void PendingTable::index_insert(uint32_t slot) {
  const Pending& p = slots_[slot];
  uint64_t at = hash(p.downstream, p.downstream_id) & index_mask_;
  while (index_[at] != kNoPending) at = (at + 1) & index_mask_;
  index_[at] = slot;
}

void PendingTable::index_erase(uint32_t slot) {
  const Pending& gone = slots_[slot];
  uint64_t hole = hash(gone.downstream, gone.downstream_id) & index_mask_;
  while (index_[hole] != slot) hole = (hole + 1) & index_mask_;
  for (uint64_t at = (hole + 1) & index_mask_; index_[at] != kNoPending; at = (at + 1) & index_mask_) {
    const Pending& p = slots_[index_[at]];
    const uint64_t home = hash(p.downstream, p.downstream_id) & index_mask_;
    if (((at - home) & index_mask_) >= ((at - hole) & index_mask_)) {
      index_[hole] = index_[at];
      hole = at;
    }
  }
  index_[hole] = kNoPending;
}

}  // namespace ringside
