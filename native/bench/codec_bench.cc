// Nanoseconds per header parse, lookup, patch and fixed part, on a typical request header of about 100 bytes and
// on worse ones. Run by hand after a change to native/codec: build-plain/codec_bench. Prints the best of several
// rounds, because on a shared machine only the minimum is about the code.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "native/codec/frame.h"
#include "native/codec/mesh_header.h"
#include "native/codec/mesh_patch.h"

using namespace ringside;

namespace {

using Bytes = std::vector<uint8_t>;

void add(Bytes* out, uint32_t field, std::string_view text) {
  const size_t n = out->size();
  out->resize(n + text.size() + 8);
  const auto result = append_field(out->data(), n, out->size(), field, text);
  out->resize(result ? result.value() : n);
}

Bytes typical_header() {
  Bytes out;
  add(&out, 1, "shop.CartService");
  add(&out, 2, "AddItem");
  add(&out, 5, "storefront");
  add(&out, 7, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  return out;
}

template <typename Work>
void measure(const char* name, size_t bytes, Work work) {
  constexpr int kRounds = 15;
  constexpr int kCalls = 200'000;
  double best_ns = std::numeric_limits<double>::max();
  uint64_t sum = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) sum += work();
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
    best_ns = std::min(best_ns, spent.count() / kCalls);
  }
  // The sum is printed so that no compiler drops the work.
  std::printf("%-44s %5zu bytes %8.1f ns  (checksum %llu)\n", name, bytes, best_ns,
              static_cast<unsigned long long>(sum));
}

uint64_t parse(const Bytes& header) {
  HeaderView view;
  const char* reason = parse_header(header.data(), header.size(), &view);
  return reason == nullptr ? view.service.size() + view.traceparent.size() : 1;
}

}  // namespace

int main() {
  const Bytes typical = typical_header();
  Bytes not_ascii = typical;
  add(&not_ascii, 10, "h\xC3\xA9lo\xC3\xAFse-42");
  const std::vector<AttachmentChange> three = {{"tenant", "blue"}, {"user", "4711"}, {"zone", "eu-west-1a"}};
  const Bytes attached = set_attachments(typical.data(), typical.size(), three).take();
  Bytes large = typical;
  add(&large, 8, std::string(4000, 'x'));

  measure("parse_header, typical", typical.size(), [&] { return parse(typical); });
  measure("parse_header, not all ASCII", not_ascii.size(), [&] { return parse(not_ascii); });
  measure("parse_header, 3 attachments", attached.size(), [&] { return parse(attached); });
  measure("parse_header, large", large.size(), [&] { return parse(large); });
  measure("find_attachment, third of 3", attached.size(), [&]() -> uint64_t {
    const auto found = find_attachment(attached.data(), attached.size(), "zone");
    return found ? found->size() : 0;
  });

  Bytes patched = typical;
  patched.resize(typical.size() + 64);
  measure("append_field", typical.size(), [&]() -> uint64_t {
    const auto result = append_field(patched.data(), typical.size(), patched.size(), 5, "storefront-agent");
    return result ? result.value() : 0;
  });
  const std::vector<AttachmentChange> change = {{"user", std::nullopt}, {"zone", "eu-west-1b"}};
  measure("set_attachments, 2 changes", attached.size(), [&]() -> uint64_t {
    const auto result = set_attachments(attached.data(), attached.size(), change);
    return result ? result.value().size() : 0;
  });
  uint8_t fixed[kFixedBytes];
  FixedPart part;
  part.header_bytes = 100;
  encode_fixed(part, fixed);
  uint64_t id = 0;
  measure("decode_fixed and patch id and timeout", kFixedBytes, [&]() -> uint64_t {
    patch_request_id(fixed, ++id);
    patch_timeout_ms(fixed, static_cast<uint32_t>(id));
    return decode_fixed(fixed, &part) == nullptr ? part.request_id & 1 : 0;
  });
  return 0;
}
