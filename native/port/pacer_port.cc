// Ticks for load generators from a timerfd with an absolute start and a fixed interval, watched by uv_poll on the
// caller's loop. The kernel counts expirations that nobody read in time, so a late loop gets one callback with their
// number and the time the first of them was due. Owned like app_port.cc: the driver lives until its handle is closed.
#include "native/port/pacer_port.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <cmath>
#include <memory>

#include "native/fd/unique_fd.h"
#include "native/port/event_target.h"

namespace ringside {
namespace {

constexpr double kMaxRatePerSecond = 1e6;
constexpr int64_t kNsPerSecond = 1'000'000'000;

timespec to_timespec(int64_t ns) {
  timespec out{};
  out.tv_sec = ns / kNsPerSecond;
  out.tv_nsec = ns % kNsPerSecond;
  return out;
}

int64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

class PacerDriver {
 public:
  // The driver keeps itself alive from here until its handle is closed. Null: perhaps an exception is pending.
  static std::shared_ptr<PacerDriver> start(Napi::Env env, int64_t interval_ns, Napi::Object events) {
    auto driver = std::make_shared<PacerDriver>();
    driver->env_ = env;
    driver->interval_ns_ = interval_ns;
    driver->timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    uv_loop_t* loop = nullptr;
    if (!driver->timer_.valid() || napi_get_uv_event_loop(env, &loop) != napi_ok) return nullptr;
    if (!driver->events_.attach(events, "RingsidePacer", {"onTick"})) return nullptr;
    if (!driver->arm() || uv_poll_init(loop, &driver->poll_, driver->timer_.get()) != 0) {
      driver->events_.release();
      return nullptr;
    }
    driver->poll_.data = driver.get();
    driver->self_ = driver;
    const auto on_end = [](napi_async_cleanup_hook_handle, void* arg) { static_cast<PacerDriver*>(arg)->stop(); };
    if (napi_add_async_cleanup_hook(env, on_end, driver.get(), &driver->cleanup_hook_) != napi_ok) {
      driver->stop();
      return nullptr;
    }
    uv_poll_start(&driver->poll_, UV_READABLE, [](uv_poll_t* h, int, int) {
      static_cast<PacerDriver*>(h->data)->on_readable();
    });
    return driver;
  }

  // Safe inside a tick and when called again.
  void stop() {
    if (closing_) return;
    closing_ = true;
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_), [](uv_handle_t* h) {
      static_cast<PacerDriver*>(h->data)->on_handle_closed();
    });
    timer_.reset();
    events_.release();
  }

 private:
  bool arm() {
    next_due_ns_ = monotonic_ns() + interval_ns_;
    itimerspec spec{};
    spec.it_value = to_timespec(next_due_ns_);
    spec.it_interval = to_timespec(interval_ns_);
    return ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) == 0;
  }

  void on_readable() {
    uint64_t count = 0;
    if (::read(timer_.get(), &count, sizeof count) != static_cast<ssize_t>(sizeof count) || count == 0) return;
    const int64_t due_ns = next_due_ns_;
    next_due_ns_ += static_cast<int64_t>(count) * interval_ns_;
    const Napi::HandleScope scope(env_);
    napi_value ticks = nullptr;
    napi_value intended = nullptr;
    if (napi_create_double(env_, static_cast<double>(count), &ticks) == napi_ok &&
        napi_create_double(env_, static_cast<double>(due_ns), &intended) == napi_ok) {
      events_.call(0, {ticks, intended});
    }
  }

  void on_handle_closed() {
    if (cleanup_hook_ != nullptr) napi_remove_async_cleanup_hook(cleanup_hook_);
    self_.reset();
  }

  napi_env env_ = nullptr;
  int64_t interval_ns_ = 0;
  int64_t next_due_ns_ = 0;
  UniqueFd timer_;
  uv_poll_t poll_{};
  EventTarget events_;
  bool closing_ = false;
  napi_async_cleanup_hook_handle cleanup_hook_ = nullptr;
  std::shared_ptr<PacerDriver> self_;
};

class PacerObject : public Napi::ObjectWrap<PacerObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Pacer",
                       {
                           InstanceAccessor<&PacerObject::interval_ns>("intervalNs"),
                           InstanceMethod<&PacerObject::stop>("stop"),
                       });
  }

  explicit PacerObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PacerObject>(info) {
    if (!info[0].IsNumber() || !info[1].IsObject()) {
      Napi::TypeError::New(info.Env(), "expected (ratePerSecond: number, events: object)").ThrowAsJavaScriptException();
      return;
    }
    const double rate = info[0].As<Napi::Number>().DoubleValue();
    // Below the second bound an interval would not fit the clock; also refuses NaN.
    if (!(rate <= kMaxRatePerSecond && rate >= 1e-6)) {
      Napi::RangeError::New(info.Env(), "ratePerSecond must be above 0 and at most 1000000")
          .ThrowAsJavaScriptException();
      return;
    }
    interval_ns_ = std::llround(static_cast<double>(kNsPerSecond) / rate);
    driver_ = PacerDriver::start(info.Env(), interval_ns_, info[1].As<Napi::Object>());
    if (driver_ == nullptr && !info.Env().IsExceptionPending()) {
      Napi::Error::New(info.Env(), "cannot make a timer").ThrowAsJavaScriptException();
    }
  }

 private:
  Napi::Value interval_ns(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(interval_ns_));
  }
  void stop(const Napi::CallbackInfo&) {
    if (driver_ != nullptr) driver_->stop();
  }

  int64_t interval_ns_ = 0;
  std::shared_ptr<PacerDriver> driver_;
};

}  // namespace

void init_pacer_port(Napi::Env env, Napi::Object exports) { exports.Set("Pacer", PacerObject::define(env)); }

}  // namespace ringside
