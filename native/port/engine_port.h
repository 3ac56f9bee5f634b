// The engine for JavaScript: class `Engine` of the addon, used by src/native/engine.ts and nothing else.
#pragma once

#include <napi.h>

namespace ringside {

/// Adds `Engine` to the addon's exports.
void init_engine_port(Napi::Env env, Napi::Object exports);

}  // namespace ringside
