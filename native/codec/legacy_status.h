// The legacy protocol's result codes (`ec`) and the mesh's status codes, both ways (docs/legacy.md, "Results"). A code that came from an
// old server travels beside the status, so that an old caller sees the one the server sent.
#pragma once

#include <array>
#include <cstdint>

#include "native/base/status.h"

namespace ringside {

namespace ec {
inline constexpr int64_t kOk = 200;
inline constexpr int64_t kException = 300;
inline constexpr int64_t kSerialisation = 302;
inline constexpr int64_t kServerSerialisation = 3021;
inline constexpr int64_t kRemoting = 303;
inline constexpr int64_t kTimeout = 304;
inline constexpr int64_t kCancelled = 305;
inline constexpr int64_t kNoUri = 401;
inline constexpr int64_t kBadUri = 402;
inline constexpr int64_t kNoService = 501;
inline constexpr int64_t kNoMethod = 502;
inline constexpr int64_t kThrew = 503;
inline constexpr int64_t kPoolFull = 504;
inline constexpr int64_t kAsyncSubmit = 505;
inline constexpr int64_t kNotAllowed = 506;
}  // namespace ec

inline int64_t ec_of(Code code) {
  constexpr std::array<int64_t, kMaxCode + 1> kCodes = {
      ec::kOk,                   // OK
      ec::kCancelled,            // CANCELLED
      ec::kThrew,                // UNKNOWN: the handler failed
      ec::kException,            // INVALID_ARGUMENT
      ec::kTimeout,              // DEADLINE_EXCEEDED
      ec::kException,            // NOT_FOUND: what the method looked for
      ec::kException,            // ALREADY_EXISTS
      ec::kNotAllowed,           // PERMISSION_DENIED
      ec::kPoolFull,             // RESOURCE_EXHAUSTED
      ec::kException,            // FAILED_PRECONDITION
      ec::kException,            // ABORTED
      ec::kException,            // OUT_OF_RANGE
      ec::kNoMethod,             // UNIMPLEMENTED
      ec::kException,            // INTERNAL
      ec::kRemoting,             // UNAVAILABLE
      ec::kServerSerialisation,  // DATA_LOSS
      ec::kNotAllowed,           // UNAUTHENTICATED
  };
  return kCodes[static_cast<uint8_t>(code)];
}

inline Code status_of_ec(int64_t code) {
  switch (code) {
    case 0:
    case ec::kOk:
      return Code::kOk;
    case 301:
    case 3010:
    case 3011:
    case ec::kRemoting:
    case 3030:
    case 3031:
      return Code::kUnavailable;
    case ec::kSerialisation:
    case 3020:
    case ec::kNoUri:
    case ec::kBadUri:
      return Code::kInvalidArgument;
    case ec::kServerSerialisation:
      return Code::kInternal;
    case ec::kTimeout:
    case 3040:
    case 3041:
      return Code::kDeadlineExceeded;
    case ec::kCancelled:
      return Code::kCancelled;
    case ec::kNoService:
    case ec::kNoMethod:
      return Code::kUnimplemented;
    case ec::kPoolFull:
    case ec::kAsyncSubmit:
      return Code::kResourceExhausted;
    case ec::kNotAllowed:
      return Code::kPermissionDenied;
    default:
      return Code::kUnknown;
  }
}

}  // namespace ringside
