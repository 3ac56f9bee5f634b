#include "native/engine/worker.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

#include "native/engine/batch_scheduling.h"

namespace ringside {

Result<Unit> Worker::start() {
  if (engine_.init_error() != nullptr) return Error{Code::kResourceExhausted, engine_.init_error()};
  // Signals are the main thread's: Node handles them there.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return Unit{};
}

void Worker::run() {
  pthread_setname_np(pthread_self(), "ringside-worker");
  BatchScheduling scheduling;
  if (engine_.options().batch_scheduling && scheduling.start(clock_.now_ns())) engine_.count_scheduling(true);
  while (!stopping_.load(std::memory_order_acquire)) {
    engine_.turn(-1);
    if (scheduling.after_turn(engine_.now_ns())) engine_.count_scheduling(scheduling.batch());
    scheduling.set_urgent(engine_.is_taking_over());
    if (!inbox_filled_.load(std::memory_order_acquire)) continue;
    std::vector<Command> commands;
    {
      const std::lock_guard lock(mutex_);
      commands.swap(inbox_);
      inbox_filled_.store(false, std::memory_order_release);
    }
    engine_.apply(std::move(commands));
  }
}

void Worker::wake_worker() {
  const uint64_t one = 1;
  const ssize_t ignored = write(engine_.wake_fd(), &one, sizeof one);  // a full counter has woken it already
  (void)ignored;
}

Result<Unit> Worker::submit(const uint8_t* bytes, size_t n) {
  std::vector<Command> commands;
  Result<Unit> decoded = decode_commands(bytes, n, &commands);
  if (!decoded) return decoded;
  {
    const std::lock_guard lock(mutex_);
    for (Command& command : commands) inbox_.push_back(std::move(command));
    inbox_filled_.store(true, std::memory_order_release);
  }
  wake_worker();
  return Unit{};
}

void Worker::post(Command command) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(command));
    inbox_filled_.store(true, std::memory_order_release);
  }
  wake_worker();
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);
  wake_worker();
  thread_.join();
}

}  // namespace ringside
