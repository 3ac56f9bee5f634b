// The pending table: requests that were forwarded and await their reply. A slot and its generation make the request id that goes
// upstream, so a reply finds its request without a search and a late one is recognised. Each pending is on two lists, that of
// the link it came from and that of the link it went to, so that a link's death touches only its own requests.
// Allocated whole at start; owned by one worker.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "native/engine/flow_table.h"
#include "native/engine/handle.h"
#include "native/engine/outbound_shares.h"
#include "native/engine/request_note.h"
#include "native/engine/timers.h"

namespace ringside {

inline constexpr uint32_t kNoPending = UINT32_MAX;

/// A body on its way through in pieces (docs/wire-format.md, "Streamed bodies").
struct BodyStream {
  bool open = false;           // more pieces are to come
  uint32_t left_bytes = 0;     // of the length that was stated
  uint32_t allowance_bytes = 0;  // what the sender may still send without credit
  uint32_t held_credit_bytes = 0;  // granted by the receiver, too little to be worth a frame yet
};

struct Pending {
  uint32_t generation = 1;
  bool live = false;
  uint8_t attempt = 0;
  TimerNode timer;
  Handle downstream;
  uint64_t downstream_id = 0;
  Handle upstream;
  uint64_t end_position = 0;  // of the link's outbound bytes, behind this request's frame
  uint32_t frame_bytes = 0;
  uint32_t instance = UINT32_MAX;
  uint32_t cluster = 0;  // it was picked from
  FlowRef flow;
  int64_t started_ns = 0;
  Sender sender;          // of a request that counts for its share of the way to its upstream
  bool streamed = false;  // the request came in pieces, so its bytes are not all in one place
  Sender counted;         // whose share of the table it counts for besides its link's; app 0: nobody's
  BodyStream request;
  BodyStream reply;
  uint32_t down_next = kNoPending, down_previous = kNoPending;
  uint32_t up_next = kNoPending, up_previous = kNoPending;
};

/// Head of a list of pendings; kept by a link.
struct PendingList {
  uint32_t head = kNoPending;
  uint32_t count = 0;
};

class PendingTable {
 public:
  PendingTable(uint32_t capacity, uint64_t seed);

  /// A fresh pending on both lists, or kNoPending when the table is full.
  uint32_t open(Handle downstream, uint64_t downstream_id, PendingList* down);
  void attach_upstream(uint32_t slot, Handle upstream, PendingList* up);
  void detach_upstream(uint32_t slot, PendingList* up);
  /// Takes it off both lists (null for a link that is gone) and frees it. The caller has disarmed the timer.
  void close(uint32_t slot, PendingList* down, PendingList* up);

  /// Counts an open pending for the share of an app behind another agent, until it is closed.
  void count_for(uint32_t slot, Sender app);
  /// How many are counted for it.
  uint32_t counted(Sender app) const {
    const auto found = counts_.find(key_of(app));
    return found == counts_.end() ? 0 : found->second;
  }

  /// Makes room for ids of a table that was larger; for an empty table.
  void grow(uint32_t capacity);
  /// Takes over a pending under the id it has, on its sender's list. False: that slot is taken or not there.
  bool restore(uint32_t slot, uint32_t generation, Handle downstream, uint64_t downstream_id, PendingList* down);
  /// After the last restore(): what is opened from now on has a generation above `generation`, so that replies to what ended before
  /// stay stale.
  void restored(uint32_t generation);
  /// The highest that was ever in use here.
  uint32_t highest_generation() const { return highest_generation_; }

  Pending& at(uint32_t slot) { return slots_[slot]; }
  /// Of a live pending; cleared when it is opened.
  RequestNote& note(uint32_t slot) { return notes_[slot]; }
  const RequestNote& note_of(const Pending& pending) const { return notes_[pending.timer.slot]; }
  const Pending& at(uint32_t slot) const { return slots_[slot]; }
  /// The pending that a reply names, or kNoPending.
  uint32_t find_reply(uint64_t request_id) const {
    const uint32_t slot = static_cast<uint32_t>(request_id);
    if (slot >= slots_.size()) return kNoPending;
    const Pending& p = slots_[slot];
    return p.live && p.generation == request_id >> 32 ? slot : kNoPending;
  }
  uint64_t request_id(uint32_t slot) const { return (uint64_t{slots_[slot].generation} << 32) | slot; }
  /// The pending that its sender knows as `downstream_id`, or kNoPending.
  uint32_t find_request(Handle downstream, uint64_t downstream_id) const;

  uint32_t size() const { return live_; }
  uint32_t capacity() const { return static_cast<uint32_t>(slots_.size()); }

 private:
  static uint64_t key_of(Sender app) { return uint64_t{app.app} << 32 | app.link; }
  void enter(uint32_t slot, Handle downstream, uint64_t downstream_id, PendingList* down);
  uint64_t hash(Handle downstream, uint64_t downstream_id) const;
  void index_insert(uint32_t slot);
  void index_erase(uint32_t slot);

  std::vector<Pending> slots_;
  std::unique_ptr<RequestNote[]> notes_;  // by slot; not touched before its slot is used, so that it costs no memory until then
  std::vector<uint32_t> free_;
  std::vector<bool> restored_;  // slots taken since the last restored(): looked at instead of the slots themselves, most of which lie cold
  std::vector<uint32_t> index_;  // open addressing by (link, id as the sender chose it)
  std::unordered_map<uint64_t, uint32_t> counts_;  // by app behind another agent, while the table is crowded
  uint64_t index_mask_;
  uint64_t seed_;
  uint32_t live_ = 0;
  uint32_t highest_generation_ = 1;
  uint32_t lowest_generation_ = 1;  // that a fresh pending may have
};

}  // namespace ringside
