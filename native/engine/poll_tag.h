// How descriptors of the engine are polled, and what epoll hands back for one: its kind in the upper byte, a handle or a slot below.
#pragma once

#include <sys/epoll.h>

#include <cstdint>

namespace ringside {

enum class PollTag : uint8_t { kWake = 0, kListener = 1, kSocket = 2, kDoorbell = 3, kHandoff = 4, kParting = 5 };

inline constexpr int kPollTagShift = 56;

/// @param rest a packed handle, or a slot
constexpr uint64_t poll_data(PollTag tag, uint64_t rest = 0) { return static_cast<uint64_t>(tag) << kPollTagShift | rest; }
constexpr PollTag poll_tag(uint64_t data) { return static_cast<PollTag>(data >> kPollTagShift); }
constexpr uint64_t poll_rest(uint64_t data) { return data & ((uint64_t{1} << kPollTagShift) - 1); }

/// Polls `fd` for edges: `data` comes back with every change that `events` names. False: no memory for it, or the limit on watches
/// (fs.epoll.max_user_watches) is reached; errno says which.
inline bool poll_edges(int poller, int fd, uint32_t events, uint64_t data) {
  epoll_event event{};
  event.events = events | EPOLLET;
  event.data.u64 = data;
  return ::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace ringside
