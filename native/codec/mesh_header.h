// The protobuf header of a mesh frame, read in place (docs/wire-format.md, "Header"). The engine calls
// parse_header once per request on its own thread: no allocation, no copy, views point into the caller's bytes.
// The bytes must be private memory: a header still lying in a shared ring could change between check and use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ringside {

/// The fields of a header; absent ones are empty. Views live as long as the bytes that were parsed.
struct HeaderView {
  std::string_view service;
  std::string_view method;
  std::string_view group;
  std::string_view version;
  std::string_view source_app;
  std::string_view status_message;
  std::string_view traceparent;
  std::string_view tracestate;
  std::string_view content_type;
  std::string_view hash_key;
  /// Entries as they stand on the wire: before equal keys are merged.
  uint32_t attachment_entries = 0;
};

inline constexpr uint32_t kLastStringField = 10;
inline constexpr uint32_t kAttachmentsField = 11;
inline constexpr uint32_t kStatusMessageField = 6;

/// Checks all n bytes and fills *out. Returns nullptr, or the reason (static text) for which the header is
/// malformed; *out is then partly filled and must not be used.
const char* parse_header(const uint8_t* p, size_t n, HeaderView* out);

/// One attachment entry; views into the bytes parsed.
struct AttachmentView {
  std::string_view key;
  std::string_view value;
};

/// Reads the contents of one attachments field. Returns nullptr or the reason for which it is malformed.
const char* parse_attachment(const uint8_t* p, size_t n, AttachmentView* out);

/// Walks over the attachment entries of a header that parse_header accepted, in their order: `*at` begins at the header. False: no
/// more (or the bytes are not such a header: none beyond `end` is ever read).
bool next_attachment(const uint8_t** at, const uint8_t* end, AttachmentView* out);

/// The value of an attachment in a header that parse_header accepted; the last entry of that key wins.
/// nullopt if there is none (or if the bytes are not such a header: no byte beyond n is ever read).
std::optional<std::string_view> find_attachment(const uint8_t* p, size_t n, std::string_view key);

}  // namespace ringside
