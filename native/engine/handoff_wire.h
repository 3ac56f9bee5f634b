// What the two engines of a handoff say to each other (docs/upgrade.md): small protobuf messages over a unix seqpacket socket, with
// descriptors attached; what is large travels in a memfd. The peer has proven its user id, but everything it says is checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "native/base/status.h"
#include "native/fd/scm_rights.h"
#include "native/fd/unique_fd.h"
#include "native/shm/segment.h"

namespace ringside {

enum class HandoffStep : uint8_t {
  kHello = 1,        // new to old: versions that it reads
  kOffer = 2,        // old to new: the version that it will write; a memfd with what TypeScript has to say
  kReady = 3,        // new to old: clusters and flows stand
  kDescriptors = 4,  // old to new: descriptors of links and listeners
  kReceived = 5,     // new to old: got them
  kState = 6,        // old to new, frozen: a memfd with the state
  kTaken = 7,        // new to old: the commit
  kRefused = 8,      // either way: why it ends here
};

/// Descriptors in one message that belong to one link or listener.
struct HandoffParcel {
  uint64_t link = 0;
  uint32_t listener = 0;
  uint32_t ring_bytes = 0;  // shared memory: socket, segment, doorbell, pipe; else one socket
  uint32_t count = 0;
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.link), a(2, s.listener), a(3, s.ring_bytes), a(4, s.count);
  }
};

struct HandoffMessage {
  HandoffStep step{};
  uint32_t version = 0, oldest_version = 0;  // kHello: both; kOffer: version
  std::string text;                          // kHello: of the software; kRefused: the reason
  std::vector<HandoffParcel> parcels;
  uint64_t frozen_at_ns = 0;  // kState: on the machine's monotonic clock
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.step), a(2, s.version), a(3, s.oldest_version), a(4, s.text), a(5, s.parcels), a(6, s.frozen_at_ns);
  }
};

enum class HandoffRead : uint8_t { kMessage, kNothing, kEnded, kMalformed };

class HandoffSocket {
 public:
  explicit HandoffSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  /// False: the peer is gone or does not read.
  bool send(const HandoffMessage& message, const std::vector<int>& fds = {});
  /// Sends kRefused. The text is cut at 1024 bytes.
  void refuse(std::string_view why);
  HandoffRead receive(HandoffMessage* message, ReceivedFds* fds);
  /// Waits until there is something to receive. False: not within that time.
  bool wait_readable(int64_t timeout_ns);
  /// From now on no message of the peer succeeds; what it sent before can still be received.
  void shut();
  /// Whether the process at the other end runs as this user, or as root.
  bool peer_is_trusted(uint32_t* pid) const;
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

/// Bytes in a memfd, and back. The reader takes a copy of at most `kMaxHandoffBytes`.
inline constexpr uint64_t kMaxHandoffBytes = uint64_t{4} << 30;
Result<UniqueFd> to_memfd(const std::string& bytes);
Result<std::string> from_memfd(int fd);

/// The takeover socket of another agent.
Result<UniqueFd> connect_handoff(const std::string& path);

/// Descriptors of one link as they arrived; `segment` is mapped at once, so that nothing of that is left for the freeze. It is empty where
/// what came is no segment (any more): the link has ended meanwhile, or its app wrote over it.
struct MovedDescriptors {
  UniqueFd socket;
  Segment segment;
  UniqueFd eventfd;
  UniqueFd pipe_write;
};

/// All that arrived, by packed link handle and by listener id. What belongs to links is polled from its arrival on, because that is most of the work
/// that an engine has with a moved link, and the other one still serves meanwhile. Nobody waits on that poller before the commit, so nothing that it
/// has to tell is lost.
struct DescriptorStore {
  std::unordered_map<uint64_t, MovedDescriptors> links;
  std::unordered_map<uint32_t, UniqueFd> listeners;
  UniqueFd poller = make_poller();

  /// Takes what came with a kDescriptors message.
  Result<Unit> take(const HandoffMessage& message, ReceivedFds* fds);
  /// Takes what belongs to one link, under its packed handle.
  Result<Unit> add_link(uint64_t handle, MovedDescriptors moved);

 private:
  static UniqueFd make_poller();
};

}  // namespace ringside
