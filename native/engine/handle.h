// Names for things that live in tables: a slot and the generation of what is in it. A handle that outlived its
// object is recognised by its generation, so that stale decisions and late replies are counted no-ops.
// Packed into 52 bits because JavaScript numbers carry them.
#pragma once

#include <cstdint>

namespace ringside {

inline constexpr uint32_t kHandleSlotBits = 20;
inline constexpr uint32_t kMaxHandleSlots = 1u << kHandleSlotBits;

struct Handle {
  uint32_t slot = kMaxHandleSlots;
  uint32_t generation = 0;

  bool operator==(const Handle&) const = default;
  bool valid() const { return slot < kMaxHandleSlots; }
  uint64_t pack() const { return (uint64_t{generation} << kHandleSlotBits) | (slot & (kMaxHandleSlots - 1)); }
  static Handle unpack(uint64_t v) {
    return Handle{static_cast<uint32_t>(v & (kMaxHandleSlots - 1)), static_cast<uint32_t>(v >> kHandleSlotBits)};
  }
};

}  // namespace ringside
