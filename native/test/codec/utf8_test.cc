// UTF-8 validity against an independent decoder that works on code points, over all two-, three- and selected
// four-byte sequences, and the alignment of the eight-bytes-at-a-time path.
#include "native/codec/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace ringside {
namespace {

bool valid_utf8(const std::string& s) { return is_utf8(reinterpret_cast<const uint8_t*>(s.data()), s.size()); }
bool ascii(const std::string& s) { return is_ascii(reinterpret_cast<const uint8_t*>(s.data()), s.size()); }

// By definition: decode by the lead byte's length, then demand the shortest form and a scalar value.
bool valid_by_code_point(const std::string& s) {
  for (size_t i = 0; i < s.size();) {
    const auto lead = static_cast<uint8_t>(s[i]);
    const size_t length = lead < 0x80             ? 1
                          : (lead & 0xE0) == 0xC0 ? 2
                          : (lead & 0xF0) == 0xE0 ? 3
                          : (lead & 0xF8) == 0xF0 ? 4
                                                  : 0;
    if (length == 0 || i + length > s.size()) return false;
    uint32_t point = length == 1 ? lead : lead & (0xFFU >> (length + 1));
    for (size_t k = 1; k < length; ++k) {
      const auto next = static_cast<uint8_t>(s[i + k]);
      if ((next & 0xC0) != 0x80) return false;
      point = (point << 6) | (next & 0x3FU);
    }
    constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < kSmallest[length] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return false;
    i += length;
  }
  return true;
}

TEST(Utf8, AgreesWithTheDefinitionOnAllTwoAndThreeByteSequences) {
  uint32_t disagreements = 0;
  uint32_t accepted = 0;
  for (uint32_t v = 0; v < 0x1000000; v += 1) {
    // Third bytes matter only by class; the edges of each class stand for it.
    const uint32_t third = v & 0xFF;
    if (third != 0 && third != 0x7F && third != 0x80 && third != 0xBF && third != 0xC0) continue;
    const std::string s = {static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
    const bool got = valid_utf8(s);
    accepted += got ? 1 : 0;
    if (got != valid_by_code_point(s)) ++disagreements;
  }
  EXPECT_EQ(disagreements, 0U);
  EXPECT_GT(accepted, 1000U);
}

TEST(Utf8, AgreesWithTheDefinitionOnFourByteSequences) {
  uint32_t disagreements = 0;
  for (uint32_t lead = 0xEE; lead <= 0xFF; ++lead) {
    for (uint32_t second = 0; second <= 0xFF; ++second) {
      for (const int third : {0x7F, 0x80, 0xBF, 0xC0}) {
        for (const int fourth : {0x7F, 0x80, 0xBF, 0xC0}) {
          const std::string s = {static_cast<char>(lead), static_cast<char>(second), static_cast<char>(third),
                                 static_cast<char>(fourth)};
          if (valid_utf8(s) != valid_by_code_point(s)) ++disagreements;
        }
      }
    }
  }
  EXPECT_EQ(disagreements, 0U);
}

TEST(Utf8, FindsABadByteWhereverItStands) {
  for (size_t length = 1; length <= 40; ++length) {
    EXPECT_TRUE(ascii(std::string(length, 'a')));
    for (size_t at = 0; at < length; ++at) {
      std::string s(length, 'a');
      s[at] = '\x80';
      EXPECT_FALSE(ascii(s)) << length << " " << at;
      EXPECT_FALSE(valid_utf8(s)) << length << " " << at;
      s.replace(at, 1, "\xC3\xA9");
      EXPECT_FALSE(ascii(s)) << length << " " << at;
      EXPECT_TRUE(valid_utf8(s)) << length << " " << at;
    }
  }
}

TEST(Utf8, RefusesSequencesCutOffByTheEnd) {
  const std::string face = "\xF0\x9F\x98\x80";
  for (size_t n = 1; n < face.size(); ++n) EXPECT_FALSE(valid_utf8(face.substr(0, n)));
  EXPECT_TRUE(valid_utf8(face));
  EXPECT_TRUE(valid_utf8(""));
}

}  // namespace
}  // namespace ringside
