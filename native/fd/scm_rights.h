// Sending and receiving descriptors over a unix socket. Used by the shared-memory handshake of both sides and by
// the handoff. The peer is hostile: whatever it sends, no descriptor is ever leaked here, and a message whose
// descriptors did not all arrive counts as truncated and brings none.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>

#include "native/fd/unique_fd.h"

namespace ringside {

/// Linux allows 253 in one message (SCM_MAX_FD); the rest is a margin.
inline constexpr size_t kMaxFdsPerMessage = 250;

/// What came with one message. Slots from `count` on are empty.
struct ReceivedFds {
  std::array<UniqueFd, kMaxFdsPerMessage> fds;
  size_t count = 0;
  bool truncated = false;

  /// Closes every descriptor still held from `first` on and lowers the count to it.
  void drop_from(size_t first);
};

/// Sends bytes, with descriptors attached to the first of them. Never blocks and never raises SIGPIPE.
/// Returns what send() would: bytes taken, or -1 with errno. The descriptors stay the caller's.
/// n must be at least 1 when fd_count is not 0; more than kMaxFdsPerMessage fails with EINVAL.
ssize_t send_with_fds(int sock, const void* bytes, size_t n, const int* fds, size_t fd_count);

/// Receives bytes and the descriptors that came with them (close-on-exec). Never blocks.
/// Returns what recv() would; `out` is overwritten in every case. If the kernel could not deliver all
/// descriptors (MSG_CTRUNC: too many, or this process has no free number), `truncated` is set and `out` is empty.
ssize_t recv_with_fds(int sock, void* bytes, size_t n, ReceivedFds* out);

}  // namespace ringside
