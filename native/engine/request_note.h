// What is remembered of a request for the case that it fails or is slow: the record of it names the method and the trace (report.cc), and its header is
// gone by then. One per pending, in a table of their own, so that a pending stays small; written when it is sent on, read only for a record.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "native/codec/mesh_header.h"

namespace ringside {

/// The trace id in a W3C traceparent, "00-<32 hexadecimal digits>-...", or empty.
inline std::string_view trace_id_of(std::string_view traceparent) {
  constexpr size_t kFrom = 3, kDigits = 32;
  if (traceparent.size() <= kFrom + kDigits || traceparent[kFrom - 1] != '-' || traceparent[kFrom + kDigits] != '-') return {};
  return traceparent.substr(kFrom, kDigits);
}

/// The parts of a header that a note keeps.
struct RequestName {
  std::string_view method;
  std::string_view trace_id;

  static RequestName of(const HeaderView& view) { return {view.method, trace_id_of(view.traceparent)}; }
};

class RequestNote {
 public:
  void clear() { method_bytes_ = trace_bytes_ = 0; }
  /// Keeps the beginning of what is longer.
  void set(const RequestName& name) {
    method_bytes_ = copy(method_, sizeof method_, name.method);
    trace_bytes_ = copy(trace_id_, sizeof trace_id_, name.trace_id);
  }
  std::string_view method() const { return {method_, method_bytes_}; }
  std::string_view trace_id() const { return {trace_id_, trace_bytes_}; }
  RequestName name() const { return {method(), trace_id()}; }

 private:
  static uint8_t copy(char* to, size_t room, std::string_view from) {
    const size_t bytes = std::min(room, from.size());
    if (bytes > 0) std::memcpy(to, from.data(), bytes);
    return static_cast<uint8_t>(bytes);
  }

  uint8_t method_bytes_;
  uint8_t trace_bytes_;
  char method_[62];
  char trace_id_[32];
};
static_assert(sizeof(RequestNote) == 96);

}  // namespace ringside
