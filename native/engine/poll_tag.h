// What epoll hands back for a descriptor of the engine: its kind in the upper byte, a handle or a slot below.
#pragma once

#include <cstdint>

namespace ringside {

enum class PollTag : uint8_t { kWake = 0, kListener = 1, kSocket = 2, kDoorbell = 3, kHandoff = 4, kParting = 5 };

inline constexpr int kPollTagShift = 56;

/// @param rest a packed handle, or a slot
constexpr uint64_t poll_data(PollTag tag, uint64_t rest = 0) { return static_cast<uint64_t>(tag) << kPollTagShift | rest; }
constexpr PollTag poll_tag(uint64_t data) { return static_cast<PollTag>(data >> kPollTagShift); }
constexpr uint64_t poll_rest(uint64_t data) { return data & ((uint64_t{1} << kPollTagShift) - 1); }

}  // namespace ringside
