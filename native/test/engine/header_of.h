// Headers of requests for the engine's tests and fuzzers, made with the engine's own codec (which has tests of its own).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "native/base/limits.h"
#include "native/codec/mesh_patch.h"

namespace ringside::testing {

struct HeaderFields {
  std::string service = {};
  std::string method = {};
  std::string group = {};
  std::string version = {};
  std::string source_app = {};
  std::string traceparent = {};
  std::string hash_key = {};
  std::vector<std::pair<std::string, std::string>> attachments = {};
};

inline std::string header_of(const HeaderFields& fields) {
  std::vector<uint8_t> bytes(kMaxHeaderBytes);
  size_t n = 0;
  const auto put = [&](uint32_t number, std::string_view value) {
    if (value.empty()) return;
    if (const Result<size_t> grown = append_field(bytes.data(), n, bytes.size(), number, value)) n = grown.value();
  };
  put(1, fields.service);
  put(2, fields.method);
  put(3, fields.group);
  put(4, fields.version);
  put(5, fields.source_app);
  put(7, fields.traceparent);
  put(10, fields.hash_key);
  bytes.resize(n);
  for (const auto& [key, value] : fields.attachments) {
    const AttachmentChange change{key, value};
    if (Result<std::vector<uint8_t>> changed = set_attachments(bytes.data(), bytes.size(), {&change, 1})) {
      bytes = changed.take();
    }
  }
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace ringside::testing
