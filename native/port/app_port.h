// The JavaScript face of native/app: the class AppLink, which src/native/app-link.ts wraps.
#pragma once

#include <napi.h>

namespace ringside {

/// Adds AppLink(socketPath, hello, events) with write, hasRoom, writeFrame, close, ref and unref to the addon's exports.
void init_app_port(Napi::Env env, Napi::Object exports);

}  // namespace ringside
