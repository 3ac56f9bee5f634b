// The JavaScript face of who is at the other end of a connection, which src/native/peer-user.ts wraps.
#pragma once

#include <napi.h>

namespace ringside {

/// Adds listeningUser(fd) to the addon's exports; it answers with {place, uid, why}.
void init_peer_port(Napi::Env env, Napi::Object exports);

}  // namespace ringside
