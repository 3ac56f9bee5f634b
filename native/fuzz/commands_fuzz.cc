// Fuzzes the decoder of the batches that TypeScript submits. It is trusted code on the other side, but a batch that
// does not decode must be refused whole, without a trace, and nothing may be read beyond it.
#include <vector>

#include "native/engine/commands.h"
#include "native/fuzz/require.h"

using namespace ringside;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes(data, data + size);
  std::vector<Command> commands;
  commands.emplace_back(ReadStats{42});
  const auto result = decode_commands(bytes.data(), bytes.size(), &commands);
  REQUIRE(!commands.empty() && std::get<ReadStats>(commands.front()).id == 42);
  if (!result) {
    REQUIRE(commands.size() == 1);
    REQUIRE(!result.error().text.empty());
  }
  // Type and length take five bytes: more commands than that would have come from nowhere.
  REQUIRE((commands.size() - 1) * 5 <= size);
  return 0;
}
