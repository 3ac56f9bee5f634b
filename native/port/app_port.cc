// Drives an AppLink from the app's own event loop: uv_poll on its socket and its doorbell, and an idle handle for
// what is to be done in the next turn without waiting. One callback into JavaScript per drained batch and turn, so
// that other work of the loop gets its turns. Two objects: AppLinkObject belongs to JavaScript and its collector,
// AppLinkDriver to the uv handles; the driver survives until the last of its handles is closed.
#include "native/port/app_port.h"

#include <uv.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "native/app/app_link.h"
#include "native/codec/frame.h"
#include "native/port/event_target.h"

namespace ringside {
namespace {

// Takes a good number of small frames and three of the largest; also the bound of one callback.
constexpr size_t kSlabBytes = 256 * 1024;
static_assert(kSlabBytes >= kMaxFrameBytes);

enum Event : size_t { kOnOpen, kOnData, kOnSpace, kOnClose };

/// Whether the whole frames in bytes[0, n) are all chunks, which nobody keeps beyond the callback.
bool all_chunks(const uint8_t* bytes, size_t n) {
  FixedPart fixed;
  const char* reason = nullptr;
  for (size_t at = 0; at < n; at += frame_bytes(fixed)) {
    if (split_frame(bytes + at, n - at, &fixed, &reason) != Split::kFrame) return false;
    if (fixed.type != FrameType::kChunk) return false;
  }
  return true;
}

class AppLinkDriver {
 public:
  // The driver keeps itself alive from here until its handles are closed. False: an exception is pending.
  static std::shared_ptr<AppLinkDriver> open(Napi::Env env, const std::string& path, Napi::Uint8Array hello,
                                             Napi::Object events, const std::vector<uint32_t>* agent_uids);

  AppLink* link() { return link_.get(); }
  // For what must not happen inside a call from JavaScript: one turn of the loop later.
  void wake_next_turn() { uv_idle_start(&next_turn_, [](uv_idle_t* h) { of(h)->on_next_turn(); }); }
  void set_ref(bool keeps_loop_alive);

 private:
  static constexpr int kMaxHandles = 3;

  template <typename Handle>
  static AppLinkDriver* of(Handle* handle) {
    return static_cast<AppLinkDriver*>(handle->data);
  }
  uv_handle_t* adopt(uv_handle_t* handle);
  bool poll_socket();
  void poll_doorbell();
  void on_socket();
  void on_doorbell();
  void on_next_turn();
  void run_turn();
  void deliver_welcome();
  void deliver_batch();
  bool find_slab(napi_value* slab);
  bool make_slab(napi_value* slab);
  void close_handles();
  void finish();
  void on_environment_ends();
  void on_handle_closed();

  napi_env env_ = nullptr;
  uv_loop_t* loop_ = nullptr;
  std::unique_ptr<AppLink> link_ = std::make_unique<AppLink>();
  EventTarget events_;
  napi_ref slab_ = nullptr;
  uint8_t* slab_data_ = nullptr;
  size_t slab_used_ = kSlabBytes;
  bool opened_ = false;
  uv_poll_t socket_poll_{};
  uv_poll_t doorbell_poll_{};
  uv_idle_t next_turn_{};
  uv_handle_t* handles_[kMaxHandles] = {};
  int handle_count_ = 0;
  int open_handles_ = 0;
  bool keeps_loop_alive_ = true;
  bool closing_ = false;
  napi_async_cleanup_hook_handle cleanup_hook_ = nullptr;
  std::shared_ptr<AppLinkDriver> self_;
};

std::shared_ptr<AppLinkDriver> AppLinkDriver::open(Napi::Env env, const std::string& path, Napi::Uint8Array hello,
                                                   Napi::Object events, const std::vector<uint32_t>* agent_uids) {
  auto driver = std::make_shared<AppLinkDriver>();
  driver->env_ = env;
  if (napi_get_uv_event_loop(env, &driver->loop_) != napi_ok) return nullptr;
  if (!driver->events_.attach(events, "RingsideAppLink", {"onOpen", "onData", "onSpace", "onClose"})) return nullptr;
  const auto on_end = [](napi_async_cleanup_hook_handle, void* arg) {
    static_cast<AppLinkDriver*>(arg)->on_environment_ends();
  };
  if (napi_add_async_cleanup_hook(env, on_end, driver.get(), &driver->cleanup_hook_) != napi_ok) {
    driver->events_.release();
    return nullptr;
  }
  driver->self_ = driver;
  uv_idle_init(driver->loop_, &driver->next_turn_);
  driver->next_turn_.data = driver.get();
  driver->adopt(reinterpret_cast<uv_handle_t*>(&driver->next_turn_));
  driver->link_->start(path, hello.Data(), hello.ByteLength(), agent_uids);
  driver->link_->on_socket();
  if (driver->link_->state() == AppLink::State::kClosed || !driver->poll_socket()) driver->wake_next_turn();
  return driver;
}

uv_handle_t* AppLinkDriver::adopt(uv_handle_t* handle) {
  handles_[handle_count_++] = handle;
  ++open_handles_;
  if (!keeps_loop_alive_) uv_unref(handle);
  return handle;
}

bool AppLinkDriver::poll_socket() {
  if (uv_poll_init(loop_, &socket_poll_, link_->socket_fd()) != 0) {
    link_->close("the event loop cannot watch the agent's socket");
    return false;
  }
  socket_poll_.data = this;
  adopt(reinterpret_cast<uv_handle_t*>(&socket_poll_));
  const int events = UV_READABLE | (link_->wants_writable() ? UV_WRITABLE : 0);
  uv_poll_start(&socket_poll_, events, [](uv_poll_t* h, int, int) { of(h)->on_socket(); });
  return true;
}

void AppLinkDriver::poll_doorbell() {
  if (uv_poll_init(loop_, &doorbell_poll_, link_->doorbell_fd()) != 0) {
    return link_->close("the event loop cannot watch the agent's doorbell");
  }
  doorbell_poll_.data = this;
  adopt(reinterpret_cast<uv_handle_t*>(&doorbell_poll_));
  uv_poll_start(&doorbell_poll_, UV_READABLE, [](uv_poll_t* h, int, int) { of(h)->on_doorbell(); });
}

void AppLinkDriver::on_socket() {
  const bool wrote_hello = link_->wants_writable();
  link_->on_socket();
  if (wrote_hello && !link_->wants_writable()) {
    uv_poll_start(&socket_poll_, UV_READABLE, [](uv_poll_t* h, int, int) { of(h)->on_socket(); });
  }
  run_turn();
}

void AppLinkDriver::on_doorbell() {
  link_->on_doorbell();
  // A batch that is due anyway comes with the next turn: two in one turn would not let others run in between.
  if (uv_is_active(reinterpret_cast<uv_handle_t*>(&next_turn_)) == 0) run_turn();
}

void AppLinkDriver::on_next_turn() {
  uv_idle_stop(&next_turn_);
  run_turn();
}

// Every event ends here. Before it returns, the doorbell is armed, or the next turn is scheduled, or all is closed.
void AppLinkDriver::run_turn() {
  if (closing_) return;
  deliver_welcome();
  deliver_batch();
  if (link_->space_returned()) {
    const Napi::HandleScope scope(env_);
    events_.call(kOnSpace, {});
  }
  // A callback may have ended the environment's wish for us, or closed the link.
  if (closing_) return;
  if (link_->state() == AppLink::State::kClosed) return finish();
  if (link_->state() == AppLink::State::kDraining) {
    // Both descriptors report the hang-up for ever now.
    uv_poll_stop(&socket_poll_);
    uv_poll_stop(&doorbell_poll_);
  }
  if (link_->arm() == AppLink::Sleep::kMore) wake_next_turn();
}

void AppLinkDriver::deliver_welcome() {
  if (opened_ || !link_->has_welcome()) return;
  opened_ = true;
  if (link_->state() == AppLink::State::kOpen) poll_doorbell();
  const Napi::HandleScope scope(env_);
  napi_value welcome = nullptr;
  const auto& bytes = link_->welcome();
  if (napi_create_buffer_copy(env_, bytes.size(), bytes.data(), nullptr, &welcome) == napi_ok) {
    events_.call(kOnOpen, {welcome});
  }
}

void AppLinkDriver::deliver_batch() {
  const AppLink::State state = link_->state();
  if (state != AppLink::State::kOpen && state != AppLink::State::kDraining) return;
  const Napi::HandleScope scope(env_);
  napi_value slab = nullptr;
  if (!find_slab(&slab)) return link_->close("no memory for received frames");
  const size_t start = slab_used_;
  slab_used_ += link_->drain(slab_data_ + start, kSlabBytes - start);
  if (slab_used_ == start) return;
  const size_t end = slab_used_;
  // A large body would else use up slabs as long as itself, each new to the core's caches.
  if (all_chunks(slab_data_ + start, end - start)) slab_used_ = start;
  napi_value from = nullptr;
  napi_value to = nullptr;
  if (napi_create_uint32(env_, static_cast<uint32_t>(start), &from) == napi_ok &&
      napi_create_uint32(env_, static_cast<uint32_t>(end), &to) == napi_ok) {
    events_.call(kOnData, {slab, from, to});
  }
}

/// The slab, with room for the largest frame. A new one if the application gave its memory away (transferred it to a worker).
bool AppLinkDriver::find_slab(napi_value* slab) {
  if (slab_ != nullptr && kSlabBytes - slab_used_ >= kMaxFrameBytes) {
    void* data = nullptr;
    size_t bytes = 0;
    if (napi_get_reference_value(env_, slab_, slab) == napi_ok &&
        napi_get_buffer_info(env_, *slab, &data, &bytes) == napi_ok && data == slab_data_ && bytes == kSlabBytes) {
      return true;
    }
  }
  return make_slab(slab);
}

bool AppLinkDriver::make_slab(napi_value* slab) {
  void* data = nullptr;
  if (napi_create_buffer(env_, kSlabBytes, &data, slab) != napi_ok) return false;
  if (slab_ != nullptr) napi_delete_reference(env_, slab_);
  slab_ = nullptr;
  if (napi_create_reference(env_, *slab, 1, &slab_) != napi_ok) return false;
  slab_data_ = static_cast<uint8_t*>(data);
  slab_used_ = 0;
  return true;
}

void AppLinkDriver::set_ref(bool keeps_loop_alive) {
  keeps_loop_alive_ = keeps_loop_alive;
  for (int i = 0; i < handle_count_; ++i) {
    if (keeps_loop_alive) {
      uv_ref(handles_[i]);
    } else {
      uv_unref(handles_[i]);
    }
  }
}

// uv_close lets go of the descriptors at once, so the link may close them right after.
void AppLinkDriver::close_handles() {
  closing_ = true;
  for (int i = 0; i < handle_count_; ++i) {
    uv_close(handles_[i], [](uv_handle_t* h) { of(h)->on_handle_closed(); });
  }
}

void AppLinkDriver::finish() {
  const std::string reason = link_->reason();
  close_handles();
  link_.reset();
  const Napi::HandleScope scope(env_);
  napi_value text = nullptr;
  if (napi_create_string_utf8(env_, reason.data(), reason.size(), &text) == napi_ok) events_.call(kOnClose, {text});
  events_.release();
  if (slab_ != nullptr) napi_delete_reference(env_, slab_);
  slab_ = nullptr;
}

void AppLinkDriver::on_environment_ends() {
  if (closing_) return;  // the handles' own closing removes the hook
  close_handles();
  link_.reset();
  events_.release();
  if (slab_ != nullptr) napi_delete_reference(env_, slab_);
  slab_ = nullptr;
}

void AppLinkDriver::on_handle_closed() {
  if (--open_handles_ > 0) return;
  napi_remove_async_cleanup_hook(cleanup_hook_);
  self_.reset();
}

class AppLinkObject : public Napi::ObjectWrap<AppLinkObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "AppLink",
                       {
                           InstanceMethod<&AppLinkObject::write>("write"),
                           InstanceMethod<&AppLinkObject::has_room>("hasRoom"),
                           InstanceMethod<&AppLinkObject::write_frame>("writeFrame"),
                           InstanceMethod<&AppLinkObject::close>("close"),
                           InstanceMethod<&AppLinkObject::ref>("ref"),
                           InstanceMethod<&AppLinkObject::unref>("unref"),
                       });
  }

  explicit AppLinkObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<AppLinkObject>(info) {
    if (!info[0].IsString() || !is_bytes(info[1]) || !info[2].IsObject()) {
      Napi::TypeError::New(info.Env(), "expected (socketPath: string, hello: Uint8Array, events: object)")
          .ThrowAsJavaScriptException();
      return;
    }
    std::vector<uint32_t> agent_uids;
    if (info[3].IsArray()) {
      const Napi::Array uids = info[3].As<Napi::Array>();
      for (uint32_t i = 0; i < uids.Length(); i++) agent_uids.push_back(uids.Get(i).ToNumber().Uint32Value());
    }
    driver_ = AppLinkDriver::open(info.Env(), info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::Uint8Array>(),
                                  info[2].As<Napi::Object>(), info[3].IsArray() ? &agent_uids : nullptr);
    if (driver_ == nullptr && !info.Env().IsExceptionPending()) {
      Napi::Error::New(info.Env(), "the environment is ending").ThrowAsJavaScriptException();
    }
  }

 private:
  static bool is_bytes(const Napi::Value& value) {
    return value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array;
  }

  Napi::Value write(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!is_bytes(info[0]) || !info[1].IsNumber() || !info[2].IsNumber()) {
      Napi::TypeError::New(env, "expected (bytes: Uint8Array, start: number, end: number)")
          .ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const auto bytes = info[0].As<Napi::Uint8Array>();
    const int64_t start = info[1].As<Napi::Number>().Int64Value();
    const int64_t end = info[2].As<Napi::Number>().Int64Value();
    if (start < 0 || end < start || static_cast<uint64_t>(end) > bytes.ByteLength()) {
      Napi::RangeError::New(env, "start and end do not lie in bytes").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    size_t taken = 0;
    const AppLink::Written written = use_link(AppLink::Written::kSome, [&](AppLink& link) {
      return link.write(bytes.Data() + start, static_cast<size_t>(end - start), &taken);
    });
    if (written == AppLink::Written::kMalformed) {
      Napi::TypeError::New(env, "bytes hold something other than whole valid frames").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    return Napi::Number::New(env, static_cast<double>(taken));
  }

  Napi::Value has_room(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), use_link(false, [](AppLink& link) { return link.has_room(); }));
  }

  Napi::Value write_frame(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!is_bytes(info[0]) || !is_bytes(info[1])) {
      Napi::TypeError::New(env, "expected (prefix: Uint8Array, body: Uint8Array)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const auto prefix = info[0].As<Napi::Uint8Array>();
    const auto body = info[1].As<Napi::Uint8Array>();
    const AppLink::Written written = use_link(AppLink::Written::kSome, [&](AppLink& link) {
      return link.write_frame(prefix.Data(), prefix.ByteLength(), body.Data(), body.ByteLength());
    });
    if (written == AppLink::Written::kMalformed) {
      Napi::TypeError::New(env, "prefix and body are no whole valid frame").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    return Napi::Boolean::New(env, written == AppLink::Written::kAll);
  }

  /// What `use` answers, or `otherwise` when the link is gone. If that ended the link, its end is told with the next turn.
  template <typename Answer, typename Use>
  Answer use_link(Answer otherwise, Use use) {
    AppLink* link = driver_ == nullptr ? nullptr : driver_->link();
    if (link == nullptr) return otherwise;
    const bool was_closed = link->state() == AppLink::State::kClosed;
    const Answer answer = use(*link);
    if (!was_closed && link->state() == AppLink::State::kClosed) driver_->wake_next_turn();
    return answer;
  }

  void close(const Napi::CallbackInfo&) {
    AppLink* link = driver_ == nullptr ? nullptr : driver_->link();
    if (link == nullptr || link->state() == AppLink::State::kClosed) return;
    link->close("closed by the application");
    driver_->wake_next_turn();
  }

  void ref(const Napi::CallbackInfo&) { set_ref(true); }
  void unref(const Napi::CallbackInfo&) { set_ref(false); }
  void set_ref(bool keeps_loop_alive) {
    if (driver_ != nullptr && driver_->link() != nullptr) driver_->set_ref(keeps_loop_alive);
  }

  std::shared_ptr<AppLinkDriver> driver_;
};

}  // namespace

void init_app_port(Napi::Env env, Napi::Object exports) { exports.Set("AppLink", AppLinkObject::define(env)); }

}  // namespace ringside
