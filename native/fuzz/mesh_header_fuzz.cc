// Fuzzes the header parser: no read beyond the header (an allocation of its own), every view inside it and valid
// UTF-8, limits held, parsing repeatable, and find_attachment total on any bytes at all.
#include <string_view>
#include <vector>

#include "native/base/limits.h"
#include "native/codec/mesh_header.h"
#include "native/codec/utf8.h"
#include "native/fuzz/require.h"

using namespace ringside;

namespace {

void require_inside(const std::vector<uint8_t>& bytes, std::string_view view) {
  if (view.empty()) return;
  const auto* p = reinterpret_cast<const uint8_t*>(view.data());
  REQUIRE(p >= bytes.data() && p + view.size() <= bytes.data() + bytes.size());
  REQUIRE(is_utf8(p, view.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes(data, data + size);
  HeaderView view;
  const char* reason = parse_header(bytes.data(), bytes.size(), &view);
  for (const std::string_view key : {"", "k", "key", "x-request-id"}) {
    const auto value = find_attachment(bytes.data(), bytes.size(), key);
    if (reason == nullptr && value) {
      require_inside(bytes, *value);
      REQUIRE(view.attachment_entries > 0);
    }
  }
  if (reason != nullptr) {
    REQUIRE(*reason != '\0');
    return 0;
  }
  REQUIRE(size <= kMaxHeaderBytes);
  REQUIRE(view.service.size() <= kMaxNameBytes && view.method.size() <= kMaxNameBytes);
  REQUIRE(view.attachment_entries <= kMaxAttachments);
  for (const std::string_view field :
       {view.service, view.method, view.group, view.version, view.source_app, view.status_message, view.traceparent,
        view.tracestate, view.content_type, view.hash_key}) {
    require_inside(bytes, field);
  }
  return 0;
}
