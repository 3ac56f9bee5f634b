// A JavaScript object whose methods are called from libuv callbacks: the events object of a link or a pacer. Makes
// each call a proper turn of the event loop (microtasks and nextTicks run after it) and lets what a callback throws
// surface as 'uncaughtException', as Node's own callbacks do. Used by the ports only, on the thread of their environment.
#pragma once

#include <napi.h>

#include <array>
#include <cstddef>

namespace ringside {

class EventTarget {
 public:
  static constexpr size_t kMaxMethods = 4;

  /// Holds `target` and the methods named. False, with a TypeError pending, when one of them is no function.
  bool attach(Napi::Object target, const char* resource_name, std::initializer_list<const char*> methods);

  /// Calls the method with that index. After release(): nothing. The caller has a HandleScope open.
  void call(size_t method, std::initializer_list<napi_value> arguments);

  /// Lets go of all references. Must happen before the environment ends.
  void release();

  bool attached() const { return context_ != nullptr; }

 private:
  napi_env env_ = nullptr;
  napi_async_context context_ = nullptr;
  napi_ref target_ = nullptr;
  std::array<napi_ref, kMaxMethods> methods_{};
};

}  // namespace ringside
