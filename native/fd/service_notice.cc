#include "native/fd/service_notice.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "native/base/errno_text.h"
#include "native/fd/unique_fd.h"

namespace ringside {

Result<Unit> send_service_notice(const std::string& address, const std::string& text) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  const bool sensible = address.size() > 1 && (address[0] == '/' || address[0] == '@') && address.size() < sizeof to.sun_path;
  if (!sensible) return Error{Code::kInvalidArgument, "neither a path nor an abstract name: " + address};
  std::memcpy(to.sun_path, address.data(), address.size());
  if (address[0] == '@') to.sun_path[0] = '\0';
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  // An abstract name ends with the address, not with a zero.
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  const ssize_t sent = !fd.valid() ? -1
                                   : ::sendto(fd.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                                              reinterpret_cast<const sockaddr*>(&to), bytes);
  if (sent == static_cast<ssize_t>(text.size())) return Unit{};
  return Error{Code::kUnavailable, address + ": " + errno_text(errno)};
}

}  // namespace ringside
