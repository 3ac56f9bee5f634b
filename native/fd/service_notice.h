// One datagram to a service manager, as sd_notify(3) describes it: Node has no unix datagrams. Called by native/port/notice_port.cc when an agent is
// ready, takes over, or leaves.
#pragma once

#include <string>

#include "native/base/status.h"

namespace ringside {

/// Sends `text` to the datagram socket at `address`, which systemd puts into NOTIFY_SOCKET: an absolute path, or `@` and an abstract name.
Result<Unit> send_service_notice(const std::string& address, const std::string& text);

}  // namespace ringside
