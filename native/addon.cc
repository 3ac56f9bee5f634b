// Registers the addon's functions, one line per port, and nothing else. Context-aware: Node calls it once for the main
// thread and once for each worker thread that loads the addon, so no port keeps process-wide state.
#include <napi.h>

#include "native/port/app_port.h"
#include "native/port/codec_port.h"
#include "native/port/engine_port.h"
#include "native/port/notice_port.h"
#include "native/port/pacer_port.h"
#include "native/port/peer_port.h"

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  ringside::init_app_port(env, exports);
  ringside::init_pacer_port(env, exports);
  ringside::init_engine_port(env, exports);
  ringside::init_codec_port(env, exports);
  ringside::init_notice_port(env, exports);
  ringside::init_peer_port(env, exports);
  return exports;
}

NODE_API_MODULE(ringside, init)
