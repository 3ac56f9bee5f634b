// The native codec's JavaScript face, for the differential tests against src/protocol: the object `codec`.
#pragma once

#include <napi.h>

namespace ringside {

/// Adds `codec` with splitFrame, parseHeader and patchHeader to the addon's exports.
void init_codec_port(Napi::Env env, Napi::Object exports);

}  // namespace ringside
