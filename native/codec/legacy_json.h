// The JSON of the legacy protocol, read in place: what of a request or a reply the agent looks at, the rest as it stands. Duplicate
// members count as in JSON.parse: the last one. Views point into the bytes given, which must be private memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "native/codec/json.h"

namespace ringside {

/// {"action": ..., "params": {"m": ..., "args": [...]}, "props": {...}}
struct LegacyRequest {
  JsonText action;
  JsonText method;
  std::string_view args = "[]";  // JSON text of an array
  std::string_view props;        // JSON text of an object; empty: none
};

/// Why a message is refused: the legacy protocol's code, and a text.
struct LegacyProblem {
  int64_t ec = 0;  // 0: none
  const char* text = nullptr;
};

/// Checks all n bytes and fills *out, or says what is wrong with them. The members of `props` are not looked at.
LegacyProblem parse_legacy_request(const uint8_t* p, size_t n, LegacyRequest* out);

/// {"ec": 200, "em": "", "result": ...}
struct LegacyReply {
  int64_t ec = 0;
  JsonText em;
  std::string_view result = "null";  // JSON text
};

/// Checks all n bytes and fills *out. Returns nullptr or why it is no reply.
const char* parse_legacy_reply(const uint8_t* p, size_t n, LegacyReply* out);

}  // namespace ringside
