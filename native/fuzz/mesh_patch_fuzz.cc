// Fuzzes the header patcher. The input is cut into a recipe (which field, which value, which attachments) and a
// header; whatever the patcher accepts must parse to exactly what was asked for, with every other field as it was.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "native/base/limits.h"
#include "native/codec/mesh_header.h"
#include "native/codec/mesh_patch.h"
#include "native/fuzz/require.h"

using namespace ringside;

namespace {

using Fields = std::array<std::string, kLastStringField>;

Fields fields_of(const HeaderView& v) {
  return {std::string(v.service),     std::string(v.method),     std::string(v.group),
          std::string(v.version),     std::string(v.source_app), std::string(v.status_message),
          std::string(v.traceparent), std::string(v.tracestate), std::string(v.content_type),
          std::string(v.hash_key)};
}

Fields must_parse(const uint8_t* p, size_t n) {
  HeaderView view;
  REQUIRE(parse_header(p, n, &view) == nullptr);
  return fields_of(view);
}

void fuzz_append(const std::vector<uint8_t>& header, uint32_t field, std::string_view value, size_t room) {
  const Fields before = must_parse(header.data(), header.size());
  std::vector<uint8_t> bytes = header;
  bytes.resize(header.size() + room);
  const auto result = append_field(bytes.data(), header.size(), bytes.size(), field, value);
  REQUIRE(std::equal(header.begin(), header.end(), bytes.begin()));
  if (!result) return;
  REQUIRE(result.value() <= bytes.size() && result.value() <= kMaxHeaderBytes);
  Fields expected = before;
  expected[field - 1] = std::string(value);
  REQUIRE(must_parse(bytes.data(), result.value()) == expected);
}

void fuzz_attachments(const std::vector<uint8_t>& header, const std::vector<AttachmentChange>& changes) {
  const auto result = set_attachments(header.data(), header.size(), changes);
  HeaderView view;
  if (parse_header(header.data(), header.size(), &view) != nullptr) {
    REQUIRE(!result);
    return;
  }
  if (!result) return;
  const auto& out = result.value();
  REQUIRE(must_parse(out.data(), out.size()) == fields_of(view));
  for (const AttachmentChange& change : changes) {
    const auto last =
        std::find_if(changes.rbegin(), changes.rend(), [&](const auto& c) { return c.key == change.key; });
    REQUIRE(find_attachment(out.data(), out.size(), change.key) == last->value);
  }
  for (const std::string_view untouched : {"k", "key", "x-request-id"}) {
    if (std::any_of(changes.begin(), changes.end(), [&](const auto& c) { return c.key == untouched; })) continue;
    REQUIRE(find_attachment(out.data(), out.size(), untouched) ==
            find_attachment(header.data(), header.size(), untouched));
  }
}

void fuzz_status_message(std::string_view text, size_t capacity) {
  std::vector<uint8_t> out(capacity);
  const size_t n = encode_status_message(out.data(), capacity, text);
  REQUIRE(n <= capacity);
  const Fields fields = must_parse(out.data(), n);
  for (uint32_t i = 0; i < kLastStringField; ++i) REQUIRE(i == kStatusMessageField - 1 || fields[i].empty());
}

}  // namespace

// Recipe: field, room, then two texts of a length byte each; the rest is the header.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  size_t at = 0;
  const auto byte = [&]() -> uint8_t { return at < size ? data[at++] : 0; };
  const auto text = [&] {
    const size_t n = std::min<size_t>(byte(), size - at);
    const std::string_view out(reinterpret_cast<const char*>(data) + at, n);
    at += n;
    return out;
  };
  const uint32_t field = byte() % 13;
  const uint8_t room = byte();
  const std::string_view first = text();
  const std::string_view second = text();
  const std::vector<uint8_t> header(data + at, data + size);

  HeaderView view;
  if (parse_header(header.data(), header.size(), &view) == nullptr) fuzz_append(header, field, first, room);
  fuzz_attachments(header, {{"k", first}, {first, second}, {second, std::nullopt}});
  fuzz_attachments(header, {{"key", std::nullopt}, {second, first}});
  fuzz_status_message(first, room);
  return 0;
}
