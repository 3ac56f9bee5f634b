#include "native/engine/handoff_wire.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "native/base/errno_text.h"
#include "native/codec/protobuf_fields.h"
#include "native/engine/clock.h"
#include "native/engine/poll_tag.h"

namespace ringside {

namespace {

constexpr size_t kMaxMessageBytes = 64 * 1024;

Error system_error(const std::string& what) {
  const bool exhausted = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOSPC;
  return Error{exhausted ? Code::kResourceExhausted : Code::kUnavailable, what + ": " + errno_text(errno)};
}

}  // namespace

bool HandoffSocket::send(const HandoffMessage& message, const std::vector<int>& fds) {
  const std::string bytes = encode_fields(message);
  return send_with_fds(fd_.get(), bytes.data(), bytes.size(), fds.data(), fds.size()) == static_cast<ssize_t>(bytes.size());
}

void HandoffSocket::refuse(std::string_view why) {
  HandoffMessage message;
  message.step = HandoffStep::kRefused;
  message.text = why.substr(0, 1024);
  send(message);
}

HandoffRead HandoffSocket::receive(HandoffMessage* message, ReceivedFds* fds) {
  std::string bytes(kMaxMessageBytes, '\0');
  ssize_t n = recv_with_fds(fd_.get(), bytes.data(), bytes.size(), fds);
  // A peer that closed before it read everything is told of once, ahead of what it had sent.
  if (n < 0 && errno == ECONNRESET) n = recv_with_fds(fd_.get(), bytes.data(), bytes.size(), fds);
  if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? HandoffRead::kNothing : HandoffRead::kEnded;
  if (n == 0) return HandoffRead::kEnded;
  *message = HandoffMessage{};
  const bool readable = decode_fields(std::string_view(bytes.data(), static_cast<size_t>(n)), message);
  return readable ? HandoffRead::kMessage : HandoffRead::kMalformed;
}

bool HandoffSocket::wait_readable(int64_t timeout_ns) {
  pollfd one{fd_.get(), POLLIN, 0};
  const int64_t ms = std::clamp<int64_t>((timeout_ns + kNsPerMs - 1) / kNsPerMs, 0, INT_MAX);
  return ::poll(&one, 1, static_cast<int>(ms)) > 0;
}

void HandoffSocket::shut() { ::shutdown(fd_.get(), SHUT_RDWR); }

bool HandoffSocket::peer_is_trusted(uint32_t* pid) const {
  ucred credentials{};
  socklen_t bytes = sizeof credentials;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) return false;
  *pid = static_cast<uint32_t>(credentials.pid);
  return credentials.uid == ::geteuid() || credentials.uid == 0;
}

Result<UniqueFd> to_memfd(const std::string& bytes) {
  UniqueFd fd(::memfd_create("ringside-handoff", MFD_CLOEXEC));
  if (!fd.valid()) return system_error("cannot make a memfd");
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t put = ::write(fd.get(), bytes.data() + at, bytes.size() - at);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return system_error("cannot write the state down");
    at += static_cast<size_t>(put);
  }
  return fd;
}

Result<std::string> from_memfd(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return system_error("cannot stat what was handed over");
  if (!S_ISREG(info.st_mode) || info.st_size < 0 || static_cast<uint64_t>(info.st_size) > kMaxHandoffBytes) {
    return Error{Code::kInvalidArgument, "what was handed over is no file of a sensible size"};
  }
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t got = ::pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Error{Code::kDataLoss, "what was handed over is shorter than it was"};
    at += static_cast<size_t>(got);
  }
  return bytes;
}

Result<UniqueFd> connect_handoff(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error{Code::kInvalidArgument, "the takeover socket's path is too long: " + path};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return system_error("no socket for the takeover");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return system_error("no agent to take over from answers on " + path);
  }
  return fd;
}

Result<Unit> DescriptorStore::take(const HandoffMessage& message, ReceivedFds* fds) {
  if (fds->truncated) {
    return Error{Code::kResourceExhausted, "not all descriptors arrived: raise the limit on open files of the new process"};
  }
  size_t next = 0;
  for (const HandoffParcel& parcel : message.parcels) {
    const uint32_t expected = parcel.ring_bytes > 0 ? 4 : 1;
    if (parcel.count != expected || fds->count - next < expected) {
      return Error{Code::kInvalidArgument, "descriptors and what is said about them do not fit"};
    }
    if (parcel.listener != 0) {
      listeners[parcel.listener] = std::move(fds->fds[next++]);
      continue;
    }
    MovedDescriptors moved;
    moved.socket = std::move(fds->fds[next++]);
    if (parcel.ring_bytes > 0) {
      Result<Segment> segment = Segment::open(std::move(fds->fds[next++]), parcel.ring_bytes);
      if (segment) moved.segment = segment.take();
      // One link that ended, or whose app meddles, is no reason to keep the others from moving.
      else if (segment.error().code != Code::kInvalidArgument) return segment.error();
      moved.eventfd = std::move(fds->fds[next++]);
      moved.pipe_write = std::move(fds->fds[next++]);
    }
    if (Result<Unit> added = add_link(parcel.link, std::move(moved)); !added) return added;
  }
  if (next != fds->count) return Error{Code::kInvalidArgument, "more descriptors came than were named"};
  return Unit{};
}

UniqueFd DescriptorStore::make_poller() { return UniqueFd(::epoll_create1(EPOLL_CLOEXEC)); }

Result<Unit> DescriptorStore::add_link(uint64_t handle, MovedDescriptors moved) {
  if (handle != poll_rest(handle)) return Error{Code::kInvalidArgument, "what was handed over is no link's handle"};
  const int socket = moved.socket.get();
  const int doorbell = moved.eventfd.get();
  if (!links.emplace(handle, std::move(moved)).second) return Error{Code::kInvalidArgument, "descriptors of one link came twice"};
  if (!poll_edges(poller.get(), socket, EPOLLIN | EPOLLRDHUP, poll_data(PollTag::kSocket, handle))) return system_error("cannot poll a link");
  if (doorbell >= 0 && !poll_edges(poller.get(), doorbell, EPOLLIN, poll_data(PollTag::kDoorbell, handle))) {
    return system_error("cannot poll a doorbell");
  }
  return Unit{};
}

}  // namespace ringside
