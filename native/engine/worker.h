// A worker: the thread that runs one engine. Other threads hand it command batches and take event batches; nothing else is shared.
// The port (native/port/engine_port.cc) owns it.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "native/base/status.h"
#include "native/engine/clock.h"
#include "native/engine/commands.h"
#include "native/engine/engine.h"

namespace ringside {

class Worker {
 public:
  /// `wake` is called on the worker's thread when events wait in the mailbox.
  Worker(EngineOptions options, std::function<void()> wake)
      : engine_(std::move(options), &clock_, &mailbox_, std::move(wake)) {}
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  Result<Unit> start();
  /// Decodes a batch here and applies it on the worker. INVALID_ARGUMENT leaves everything as it was.
  Result<Unit> submit(const uint8_t* bytes, size_t n);
  void post(Command command);
  std::vector<uint8_t> take_events() { return mailbox_.take(); }
  /// Ends the thread; links close. Safe to call twice.
  void stop();

 private:
  void run();
  void wake_worker();

  MonotonicClock clock_;
  EventMailbox mailbox_;
  Engine engine_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  // guards inbox_ only; the worker looks at it when it was woken for it
  std::vector<Command> inbox_;
  std::atomic<bool> inbox_filled_{false};
};

}  // namespace ringside
