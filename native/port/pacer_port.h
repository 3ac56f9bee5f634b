// The JavaScript face of a timerfd: the class Pacer, which src/native/pacer.ts wraps.
#pragma once

#include <napi.h>

namespace ringside {

/// Adds Pacer(ratePerSecond, { onTick }) with intervalNs and stop to the addon's exports.
void init_pacer_port(Napi::Env env, Napi::Object exports);

}  // namespace ringside
