// Requests that wait for a decision of TypeScript, and the upcalls that asked for it. Requests with the same missing key share one upcall;
// a request that a user's filter looks at, or that is meant for the agent itself, has one of its own. Owned by one worker.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "native/engine/handle.h"
#include "native/engine/held_requests.h"

namespace ringside {

enum class UpcallKind : uint8_t { kMiss = 0, kFilter = 1, kControl = 2 };

struct Upcall {
  uint32_t generation = 1;
  bool live = false;
  UpcallKind kind = UpcallKind::kMiss;
  std::string key;  // kMiss
  HeldQueue requests;
};

class ParkedTable : public HeldRequests {
 public:
  ParkedTable(uint32_t capacity, uint64_t max_bytes);

  /// The upcall under way for a missing key, or UINT32_MAX.
  uint32_t find_upcall(std::string_view key) const;
  uint32_t open_upcall(UpcallKind kind, std::string_view key);
  /// Adds a request (there must be room); the caller fills in what is not named here.
  uint32_t park(uint32_t upcall, Handle downstream, std::vector<uint8_t> frame) {
    return hold(&upcalls_[upcall].requests, upcall, downstream, std::move(frame));
  }
  using HeldRequests::append;
  /// Takes one request out, and its upcall with the last one. The caller has disarmed the timer.
  void remove(uint32_t parked);
  /// Ends an upcall; returns its requests in order of arrival, still parked but no longer on it.
  std::vector<uint32_t> close_upcall(uint32_t upcall);

  Upcall& upcall(uint32_t slot) { return upcalls_[slot]; }
  Handle token(uint32_t upcall) const { return Handle{upcall, upcalls_[upcall].generation}; }
  bool is_open(Handle token) const {
    return token.slot < upcalls_.size() && upcalls_[token.slot].live && upcalls_[token.slot].generation == token.generation;
  }

 private:
  void free_upcall(uint32_t slot);

  std::vector<Upcall> upcalls_;
  std::vector<uint32_t> free_upcalls_;
  std::unordered_map<std::string, uint32_t> by_key_;
};

}  // namespace ringside
