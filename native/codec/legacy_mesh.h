// Between the legacy protocol's JSON and mesh messages (docs/legacy.md): a request's names and `props` become a header and back, its
// arguments are the body; a reply's `result` is the body, its `ec` a status. Nothing gets into JSON that was not checked to be
// JSON, so no body can add an `action` of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "native/base/status.h"
#include "native/codec/legacy_json.h"

namespace ringside {

/// Content type of bodies that are a legacy request's arguments or a legacy reply's result.
inline constexpr std::string_view kJsonContentType = "application/json";
/// Attachment of a reply that tells an old server's own `ec`.
inline constexpr std::string_view kEcAttachment = "moa.ec";

/// Writes the header of a legacy request to `out`, which has room for kMaxHeaderBytes; `*bytes` is its length.
LegacyProblem write_request_header(const LegacyRequest& request, uint8_t* out, size_t* bytes);

/// Appends the legacy JSON of a mesh request. Returns nullptr, or why it cannot be sent to an old server; `out` is unchanged then.
/// The header is one that parse_header accepted; header and body are private memory.
const char* append_request_json(const uint8_t* header, size_t header_bytes, std::string_view body, std::string* out);

/// Appends the legacy JSON of a mesh reply: status, header (as above, or malformed) and body. A body that is not JSON becomes a
/// failure of its own.
void append_reply_json(Code status, const uint8_t* header, size_t header_bytes, std::string_view body, std::string* out);

/// Appends the JSON of a failure that has no mesh reply behind it.
void append_failure_json(int64_t code, std::string_view text, std::string* out);

/// Writes the header of a mesh reply made of a legacy one to `out`, which has room for kMaxHeaderBytes. Returns its length; 0 for a success.
size_t write_reply_header(const LegacyReply& reply, uint8_t* out);

}  // namespace ringside
