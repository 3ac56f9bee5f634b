// Header changes: what was asked for is what parses afterwards, everything else keeps its bytes, limits hold.
#include "native/codec/mesh_patch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "native/base/limits.h"
#include "native/test/codec/header_builder.h"

namespace ringside {
namespace {

using test::HeaderBuilder;

std::string changed(const HeaderBuilder& b, std::vector<AttachmentChange> changes) {
  auto result = set_attachments(b.bytes().data(), b.bytes().size(), changes);
  if (!result) return "error: " + result.error().text;
  return {result.value().begin(), result.value().end()};
}

Code code_of(const HeaderBuilder& b, std::vector<AttachmentChange> changes) {
  auto result = set_attachments(b.bytes().data(), b.bytes().size(), changes);
  return result ? Code::kOk : result.error().code;
}

TEST(MeshPatch, AnAppendedFieldWinsAndTheRestStays) {
  HeaderBuilder b;
  b.text(1, "svc").text(7, "old").tag(99, 0).varint(7).entry("k", "v");
  std::vector<uint8_t> header = b.bytes();
  const size_t n = header.size();
  header.resize(n + 100, 0xEE);
  auto result = append_field(header.data(), n, header.size(), 7, "new");
  ASSERT_TRUE(result);
  EXPECT_EQ(result.value(), n + 5);
  EXPECT_TRUE(std::equal(b.bytes().begin(), b.bytes().end(), header.begin()));
  EXPECT_EQ(header[n + 5], 0xEE);
  HeaderView view;
  ASSERT_EQ(parse_header(header.data(), result.value(), &view), nullptr);
  EXPECT_EQ(view.traceparent, "new");
  EXPECT_EQ(view.service, "svc");
}

TEST(MeshPatch, AppendHoldsItsLimitsAndThenChangesNothing) {
  std::vector<uint8_t> header(10, 0xEE);
  const auto refused = [&](size_t n, size_t capacity, uint32_t field, std::string_view value) {
    const std::vector<uint8_t> before = header;
    auto result = append_field(header.data(), n, capacity, field, value);
    EXPECT_EQ(header, before);
    return result ? Code::kOk : result.error().code;
  };
  EXPECT_EQ(refused(5, 10, 3, "four"), Code::kResourceExhausted);
  EXPECT_EQ(refused(11, 10, 3, ""), Code::kResourceExhausted);
  EXPECT_EQ(refused(0, 10, 0, "x"), Code::kInvalidArgument);
  EXPECT_EQ(refused(0, 10, 11, "x"), Code::kInvalidArgument);
  EXPECT_EQ(refused(0, 10, 3, "\xFF"), Code::kInvalidArgument);
  EXPECT_EQ(append_field(header.data(), 5, 10, 3, "abc").value(), 10U);

  std::vector<uint8_t> large(kMaxHeaderBytes + 1000);
  const std::string name(257, 'x');
  EXPECT_EQ(append_field(large.data(), 0, large.size(), 1, name).error().code, Code::kInvalidArgument);
  EXPECT_TRUE(append_field(large.data(), 0, large.size(), 1, name.substr(1)));
  EXPECT_EQ(append_field(large.data(), kMaxHeaderBytes - 5, large.size(), 3, "abc").value(), kMaxHeaderBytes);
  EXPECT_FALSE(append_field(large.data(), kMaxHeaderBytes - 4, large.size(), 3, "abc"));
}

TEST(MeshPatch, SettingAnAttachmentReplacesAllItsEntries) {
  HeaderBuilder b;
  b.entry("k", "1").text(1, "svc").entry("other", "x").entry("k", "2").tag(12, 5).raw("abcd");
  HeaderBuilder expected;
  expected.text(1, "svc").entry("other", "x").tag(12, 5).raw("abcd").entry("k", "new").entry("added", "");
  EXPECT_EQ(changed(b, {{"k", "new"}, {"added", ""}}), expected.as_text());
}

TEST(MeshPatch, RemovingTakesOnlyTheNamed) {
  HeaderBuilder b;
  b.text(2, "m").entry("k", "1").entry("k2", "2").padded_varint(0x5A, 3).varint(3).text(1, "k");
  EXPECT_EQ(changed(b, {{"k", std::nullopt}}), HeaderBuilder().text(2, "m").entry("k2", "2").as_text())
      << "also an entry whose tag is padded";
  EXPECT_EQ(changed(b, {{"none", std::nullopt}}), b.as_text());
  EXPECT_EQ(changed(b, {}), b.as_text());
}

TEST(MeshPatch, TheLastChangeOfAKeyCounts) {
  const HeaderBuilder b = HeaderBuilder().entry("k", "0");
  EXPECT_EQ(changed(b, {{"k", "1"}, {"k", "2"}}), HeaderBuilder().entry("k", "2").as_text());
  EXPECT_EQ(changed(b, {{"k", "1"}, {"k", std::nullopt}}), "");
  EXPECT_EQ(changed(b, {{"k", std::nullopt}, {"k", "3"}}), HeaderBuilder().entry("k", "3").as_text());
}

TEST(MeshPatch, EntriesKeepUnknownFieldsInside) {
  const HeaderBuilder odd = HeaderBuilder().tag(9, 0).varint(1).text(1, "odd");
  const HeaderBuilder b = HeaderBuilder().text(11, odd.as_text());
  EXPECT_EQ(changed(b, {{"k", "v"}}), HeaderBuilder(b).entry("k", "v").as_text());
}

TEST(MeshPatch, AttachmentLimitsHoldAfterTheChange) {
  HeaderBuilder b;
  for (int i = 0; i < 64; ++i) b.entry("k" + std::to_string(i), "v");
  EXPECT_EQ(code_of(b, {{"new", "v"}}), Code::kResourceExhausted);
  EXPECT_EQ(code_of(b, {{"k7", "w"}}), Code::kOk);
  EXPECT_EQ(code_of(b, {{"k7", std::nullopt}, {"new", "v"}}), Code::kOk);
  EXPECT_EQ(code_of(b, {{"new", "v"}, {"k7", std::nullopt}}), Code::kOk) << "the order of changes does not matter";

  HeaderBuilder large;
  large.text(3, std::string(kMaxHeaderBytes - 3 - 9, 'x'));
  EXPECT_EQ(code_of(large, {{"k", "v2"}}), Code::kOk);
  EXPECT_EQ(code_of(large, {{"k", "v23"}}), Code::kResourceExhausted);
  EXPECT_EQ(code_of({}, {{"k", std::string(kMaxHeaderBytes + 1, 'x')}}), Code::kResourceExhausted);
}

TEST(MeshPatch, RefusesMalformedHeadersAndText) {
  EXPECT_EQ(code_of(HeaderBuilder().byte(0x0B), {{"k", "v"}}), Code::kInvalidArgument);
  EXPECT_EQ(code_of({}, {{"\x80", "v"}}), Code::kInvalidArgument);
  EXPECT_EQ(code_of({}, {{"k", "\x80"}}), Code::kInvalidArgument);
}

std::string status_message(std::string_view text, size_t capacity) {
  std::vector<uint8_t> out(capacity);
  const size_t n = encode_status_message(out.data(), capacity, text);
  EXPECT_LE(n, capacity);
  HeaderView view;
  EXPECT_EQ(parse_header(out.data(), n, &view), nullptr);
  return std::string(view.status_message);
}

TEST(MeshPatch, StatusMessagesAreCutOnCharacters) {
  EXPECT_EQ(status_message("no route", 64), "no route");
  EXPECT_EQ(status_message("no route", 5), "no ");
  EXPECT_EQ(status_message("a\xC3\xA9z", 4), "a") << "the second character does not fit";
  EXPECT_EQ(status_message("a\xC3\xA9z", 5), "a\xC3\xA9");
  for (size_t capacity = 0; capacity <= 2; ++capacity) EXPECT_EQ(status_message("text", capacity), "");
  EXPECT_EQ(status_message("", 64), "");
}

TEST(MeshPatch, StatusMessagesReplaceIllFormedBytes) {
  EXPECT_EQ(status_message("a\xFFz", 64), "a\xEF\xBF\xBDz");
  EXPECT_EQ(status_message("\xF0\x9F\x98", 64), "\xEF\xBF\xBD") << "one for a cut-off character";
  EXPECT_EQ(status_message("\xED\xA0\x80", 64), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD")
      << "a surrogate, as TextDecoder";
  EXPECT_EQ(status_message("\xFF", 4), "") << "the replacement does not fit";
}

TEST(MeshPatch, StatusMessagesOfEveryLengthAroundTheLengthOfTheLength) {
  for (const size_t length : {126U, 127U, 128U, 129U, 16380U, 16381U, 16382U, 20000U}) {
    const std::string text(length, 't');
    EXPECT_EQ(status_message(text, 40000).size(), std::min<size_t>(length, kMaxHeaderBytes - 3));
    for (size_t capacity = 120; capacity < 140; ++capacity) {
      EXPECT_GE(status_message(text, capacity).size(), std::min<size_t>(length, capacity - 3))
          << length << " " << capacity;
    }
  }
}

}  // namespace
}  // namespace ringside
