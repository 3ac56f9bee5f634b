// What an old client queues between MULTI and EXEC: commands as the bytes they came in, so that EXEC only has to read them again. It bounds
// the queue and says whether EXEC may run; the link (legacy_caller_link.h) answers and runs. Nothing is isolated or undone:
// EXEC is a batch whose replies come as one array.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "native/codec/resp.h"
#include "native/link/legacy_state.h"

namespace ringside {

/// Commands between MULTI and EXEC.
inline constexpr size_t kMaxQueuedCommands = 1024;

class LegacyTransaction {
 public:
  bool is_open() const { return open_; }
  /// Whether a command could not be queued, so that EXEC must refuse all.
  bool is_spoilt() const { return spoilt_; }
  size_t count() const { return count_; }
  size_t bytes() const { return commands_.size(); }

  void begin() { open_ = true; }
  /// Keeps a whole command. False: there are too many.
  bool queue(std::string_view command) {
    if (count_ >= kMaxQueuedCommands) return false;
    if (!spoilt_) commands_ += command;  // none of a spoilt transaction is ever read again
    count_++;
    return true;
  }
  void spoil() {
    spoilt_ = true;
    std::string().swap(commands_);
  }
  /// Ends it and returns what was queued, one command behind the other.
  std::string end() {
    std::string commands = std::move(commands_);
    *this = LegacyTransaction{};
    return commands;
  }

  /// For another engine: none where none is open.
  std::vector<LegacyTransactionState> save() const {
    if (!open_) return {};
    return {{spoilt_, static_cast<uint32_t>(count_), commands_}};
  }
  /// False: no transaction can be in that state.
  bool restore(const LegacyTransactionState& saved, size_t max_command_bytes) {
    begin();
    for (size_t at = 0; at < saved.commands.size();) {
      RespCommand command;
      size_t wanted = 0;
      const char* problem = nullptr;
      const auto* const p = reinterpret_cast<const uint8_t*>(saved.commands.data()) + at;
      const size_t left = saved.commands.size() - at;
      if (cut_resp_command(p, left, max_command_bytes, &command, &wanted, &problem) != RespCut::kWhole) return false;
      if (!queue(saved.commands.substr(at, command.bytes))) return false;
      at += command.bytes;
    }
    if (saved.spoilt) {
      if (!saved.commands.empty() || saved.count > kMaxQueuedCommands) return false;
      count_ = saved.count;
      spoil();
    }
    return count_ == saved.count;
  }

 private:
  bool open_ = false, spoilt_ = false;
  size_t count_ = 0;
  std::string commands_;
};

}  // namespace ringside
