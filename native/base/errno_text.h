// What an errno means, in words. strerror() may share its buffer between threads; agent, worker and addon threads all report errors.
#pragma once

#include <cstring>
#include <string>

namespace ringside {

namespace detail {
// strerror_r answers with a pointer in glibc, with a number elsewhere (the text is in the buffer then).
inline const char* text_of(const char* answer, const char*) { return answer; }
inline const char* text_of(int failed, const char* buffer) { return failed == 0 ? buffer : "unknown error"; }
}  // namespace detail

inline std::string errno_text(int error) {
  char buffer[128];
  return detail::text_of(strerror_r(error, buffer, sizeof buffer), buffer);
}

}  // namespace ringside
