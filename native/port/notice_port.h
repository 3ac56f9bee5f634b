// The JavaScript face of a service manager's socket, which src/native/service-notice.ts wraps.
#pragma once

#include <napi.h>

namespace ringside {

/// Adds sendServiceNotice(address, text) to the addon's exports; it throws an Error with the system's reason.
void init_notice_port(Napi::Env env, Napi::Object exports);

}  // namespace ringside
