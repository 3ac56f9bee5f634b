#include "native/engine/outbound_shares.h"

#include <algorithm>

#include "native/engine/fair_share.h"

namespace ringside {

OutboundShares::Share OutboundShares::held(Key key) const {
  const auto found = shares_.find(key);
  return found == shares_.end() ? Share{} : found->second;
}

bool OutboundShares::may_queue(Sender sender, uint64_t bytes, uint64_t capacity) const {
  const uint64_t free = capacity - std::min(bytes_, capacity);
  return may_take(held(link_key(sender)).bytes, bytes, free, capacity) &&
         (sender.app == 0 || may_take(held(app_key(sender)).bytes, bytes, free, capacity, kShareOfFreeWithinLink));
}

bool OutboundShares::may_stream(Sender sender, uint32_t capacity) const {
  const uint32_t free = capacity - std::min(streams_, capacity);
  return may_take(held(link_key(sender)).streams, 1, free, capacity) &&
         (sender.app == 0 || may_take(held(app_key(sender)).streams, 1, free, capacity, kShareOfFreeWithinLink));
}

void OutboundShares::queued(Sender sender, uint64_t bytes, uint64_t end_position) {
  constexpr uint64_t kNotedTogetherBytes = 4096;
  add(sender, bytes, 0);
  if (!departures_.empty()) {
    Departure& last = departures_.back();
    if (last.of == Departure::Of::kShare && app_key(last.sender) == app_key(sender) && last.bytes + bytes <= kNotedTogetherBytes) {
      last.bytes += bytes;
      last.end_position = end_position;
      return;
    }
  }
  departures_.push_back({end_position, bytes, sender, Departure::Of::kShare});
}

void OutboundShares::queued_exempt(uint64_t bytes, uint64_t end_position) {
  exempt_bytes_ += bytes;
  departures_.push_back({end_position, bytes, {}, Departure::Of::kExempt});
}

void OutboundShares::begin_stream(Sender sender) { add(sender, 0, 1); }

void OutboundShares::end_stream(Sender sender) { release(sender, 0, 1); }

void OutboundShares::end_stream_at(Sender sender, uint64_t end_position) {
  departures_.push_back({end_position, 0, sender, Departure::Of::kStream});
}

void OutboundShares::left(uint64_t position) {
  for (; first_ < departures_.size() && departures_[first_].end_position <= position; first_++) {
    const Departure& gone = departures_[first_];
    switch (gone.of) {
      case Departure::Of::kShare:
        release(gone.sender, gone.bytes, 0);
        break;
      case Departure::Of::kExempt:
        exempt_bytes_ -= gone.bytes;
        break;
      case Departure::Of::kStream:
        end_stream(gone.sender);
        break;
    }
  }
  if (first_ == departures_.size()) {
    // A queue that was long once must not be paid for ever.
    constexpr size_t kKept = 256;
    if (departures_.capacity() > kKept) {
      std::vector<Departure>().swap(departures_);
    } else {
      departures_.clear();
    }
    first_ = 0;
  } else if (first_ > departures_.size() / 2) {
    departures_.erase(departures_.begin(), departures_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

void OutboundShares::add(Sender sender, uint64_t bytes, uint32_t streams) {
  bytes_ += bytes;
  streams_ += streams;
  for (const Key key : {link_key(sender), app_key(sender)}) {
    Share& share = shares_[key];
    share.bytes += bytes;
    share.streams += streams;
    if (sender.app == 0) break;
  }
}

void OutboundShares::release(Sender sender, uint64_t bytes, uint32_t streams) {
  bytes_ -= bytes;
  streams_ -= streams;
  release_one(link_key(sender), bytes, streams);
  if (sender.app != 0) release_one(app_key(sender), bytes, streams);
}

void OutboundShares::release_one(Key key, uint64_t bytes, uint32_t streams) {
  const auto found = shares_.find(key);
  found->second.bytes -= bytes;
  found->second.streams -= streams;
  if (found->second.bytes == 0 && found->second.streams == 0) shares_.erase(found);
}

}  // namespace ringside
