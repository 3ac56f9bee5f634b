// The fixed part: every row of the list of protocol errors, the layout byte by byte, patches, splitting.
#include "native/codec/frame.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace ringside {
namespace {

using Bytes = std::array<uint8_t, kFixedBytes>;

// The example of docs/wire-format.md, written out so that a changed offset cannot hide in encode and decode both.
constexpr Bytes kExample = {0xF5, 0x52, 1, 2, 0x82, 14, 3, 0, 0x10, 0x20, 0, 0, 0x30, 0x40, 0,    0,
                            1,    2,    3, 4, 5,    6,  7, 8, 9,    0,    0, 0, 0xEF, 0xBE, 0xAD, 0xDE};

FixedPart example_part() {
  return {FrameType::kResponse, 0x82, 14, 3, 0x2010, 0x4030, 0x0807060504030201ULL, 9, 0xDEADBEEF};
}

std::string reason_for(size_t offset, uint8_t byte) {
  Bytes bytes = kExample;
  bytes[offset] = byte;
  FixedPart part;
  const char* reason = decode_fixed(bytes.data(), &part);
  return reason == nullptr ? "" : reason;
}

TEST(Frame, DecodesEachFieldFromItsOffset) {
  FixedPart part;
  ASSERT_EQ(decode_fixed(kExample.data(), &part), nullptr);
  EXPECT_EQ(part.type, FrameType::kResponse);
  EXPECT_EQ(part.flags, 0x82) << "unknown flag bits travel on";
  EXPECT_EQ(part.status, 14);
  EXPECT_EQ(part.attempt, 3);
  EXPECT_EQ(part.header_bytes, 0x2010U);
  EXPECT_EQ(part.body_bytes, 0x4030U);
  EXPECT_EQ(part.request_id, 0x0807060504030201ULL);
  EXPECT_EQ(part.timeout_ms, 9U);
  EXPECT_EQ(part.value, 0xDEADBEEFU);
  EXPECT_EQ(frame_bytes(part), 32U + 0x2010U + 0x4030U);
}

TEST(Frame, EncodesTheSameBytes) {
  Bytes bytes{};
  bytes.fill(0xAA);
  encode_fixed(example_part(), bytes.data());
  EXPECT_EQ(bytes, kExample);
}

TEST(Frame, RefusesEachProtocolError) {
  EXPECT_EQ(reason_for(0, 0xF4), "wrong magic");
  EXPECT_EQ(reason_for(1, 0x53), "wrong magic");
  EXPECT_EQ(reason_for(2, 0), "unknown protocol version");
  EXPECT_EQ(reason_for(2, 2), "unknown protocol version");
  EXPECT_EQ(reason_for(3, 0), "unknown frame type");
  EXPECT_EQ(reason_for(3, 13), "unknown frame type");
  EXPECT_EQ(reason_for(5, 17), "status code over 16");
  EXPECT_EQ(reason_for(7, 1), "reserved byte is not 0");
  EXPECT_EQ(reason_for(11, 0x80), "header over 16384 bytes");
  EXPECT_EQ(reason_for(15, 0x80), "body over 65536 bytes in one frame");
}

TEST(Frame, AcceptsTheLimitsThemselves) {
  for (uint8_t type = 1; type <= 12; ++type) EXPECT_EQ(reason_for(3, type), "");
  EXPECT_EQ(reason_for(5, 16), "");
  FixedPart part = example_part();
  Bytes bytes{};
  part.header_bytes = kMaxHeaderBytes;
  part.body_bytes = kMaxFrameBodyBytes;
  encode_fixed(part, bytes.data());
  ASSERT_EQ(decode_fixed(bytes.data(), &part), nullptr);
  EXPECT_EQ(frame_bytes(part), kMaxFrameBytes);
  patch_header_bytes(bytes.data(), kMaxHeaderBytes + 1);
  EXPECT_STREQ(decode_fixed(bytes.data(), &part), "header over 16384 bytes");
  patch_header_bytes(bytes.data(), 0);
  patch_body_bytes(bytes.data(), kMaxFrameBodyBytes + 1);
  EXPECT_STREQ(decode_fixed(bytes.data(), &part), "body over 65536 bytes in one frame");
}

TEST(Frame, LeavesTheResultAloneOnError) {
  Bytes bytes = kExample;
  bytes[5] = 99;
  FixedPart part;
  part.request_id = 7;
  ASSERT_NE(decode_fixed(bytes.data(), &part), nullptr);
  EXPECT_EQ(part.request_id, 7U);
}

TEST(Frame, PatchesInPlaceAndTouchesNothingElse) {
  FixedPart part = example_part();
  Bytes bytes = kExample;
  patch_flags(bytes.data(), part.flags = 2);
  patch_status(bytes.data(), part.status = 4);
  patch_attempt(bytes.data(), part.attempt = 255);
  patch_header_bytes(bytes.data(), part.header_bytes = 77);
  patch_body_bytes(bytes.data(), part.body_bytes = 78);
  patch_request_id(bytes.data(), part.request_id = 0xFFFFFFFFFFFFFFFFULL);
  patch_timeout_ms(bytes.data(), part.timeout_ms = 0xFFFFFFFF);
  patch_value(bytes.data(), part.value = 1);
  Bytes expected{};
  encode_fixed(part, expected.data());
  EXPECT_EQ(bytes, expected);
}

TEST(Frame, SplitsAStreamAtEveryPossibleCut) {
  FixedPart part{};
  part.header_bytes = 5;
  part.body_bytes = 7;
  std::vector<uint8_t> stream(2 * (kFixedBytes + 12));
  encode_fixed(part, stream.data());
  encode_fixed(part, stream.data() + kFixedBytes + 12);
  const size_t whole = frame_bytes(part);
  for (size_t n = 0; n <= stream.size(); ++n) {
    FixedPart got;
    const char* reason = nullptr;
    EXPECT_EQ(split_frame(stream.data(), n, &got, &reason), n < whole ? Split::kNeedMore : Split::kFrame) << n;
    if (n >= whole) {
      EXPECT_EQ(frame_bytes(got), whole);
    }
  }
}

TEST(Frame, SplitReportsABadFixedPartBeforeTheBodyIsThere) {
  Bytes bytes = kExample;
  bytes[7] = 1;
  FixedPart part;
  const char* reason = nullptr;
  EXPECT_EQ(split_frame(bytes.data(), kFixedBytes - 1, &part, &reason), Split::kNeedMore);
  EXPECT_EQ(split_frame(bytes.data(), kFixedBytes, &part, &reason), Split::kError);
  EXPECT_STREQ(reason, "reserved byte is not 0");
}

}  // namespace
}  // namespace ringside
