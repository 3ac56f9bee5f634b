// The six rules of docs/wire-format.md ("Header"), one test each or more, at their boundaries.
#include "native/codec/mesh_header.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "native/base/limits.h"
#include "native/test/codec/header_builder.h"

namespace ringside {
namespace {

using test::HeaderBuilder;
using test::why_malformed;

HeaderView parsed(const HeaderBuilder& b) {
  HeaderView view;
  const char* reason = parse_header(b.bytes().data(), b.bytes().size(), &view);
  EXPECT_EQ(reason, nullptr) << reason;
  return view;
}

std::optional<std::string_view> find(const HeaderBuilder& b, std::string_view key) {
  return find_attachment(b.bytes().data(), b.bytes().size(), key);
}

TEST(MeshHeader, ReadsEveryField) {
  HeaderBuilder b;
  const std::string values[] = {"svc", "m", "g", "v1", "app", "text", "00-ab-cd-01", "k=v", "type", "h\xC3\xA9"};
  for (uint32_t field = 1; field <= 10; ++field) b.text(field, values[field - 1]);
  b.entry("a", "1").entry("b", "2");
  const HeaderView view = parsed(b);
  EXPECT_EQ(view.service, "svc");
  EXPECT_EQ(view.method, "m");
  EXPECT_EQ(view.group, "g");
  EXPECT_EQ(view.version, "v1");
  EXPECT_EQ(view.source_app, "app");
  EXPECT_EQ(view.status_message, "text");
  EXPECT_EQ(view.traceparent, "00-ab-cd-01");
  EXPECT_EQ(view.tracestate, "k=v");
  EXPECT_EQ(view.content_type, "type");
  EXPECT_EQ(view.hash_key, "h\xC3\xA9");
  EXPECT_EQ(view.attachment_entries, 2U);
}

TEST(MeshHeader, AnEmptyHeaderIsValid) {
  EXPECT_EQ(parsed(HeaderBuilder()).service, "");
  HeaderView view;
  EXPECT_EQ(parse_header(nullptr, 0, &view), nullptr);
}

TEST(MeshHeader, TheLastOccurrenceWinsButAllAreChecked) {
  EXPECT_EQ(parsed(HeaderBuilder().text(1, "first").text(2, "m").text(1, "second")).service, "second");
  EXPECT_EQ(parsed(HeaderBuilder().text(1, "first").text(1, "")).service, "");
  EXPECT_NE(why_malformed(HeaderBuilder().text(1, "\xFF").text(1, "fine")), "");
  EXPECT_NE(why_malformed(HeaderBuilder().text(1, std::string(257, 'x')).text(1, "fine")), "");
}

TEST(MeshHeader, SkipsUnknownFieldsOfTheFourWireTypes) {
  HeaderBuilder b;
  b.tag(12, 0).varint(~uint64_t{0}).tag(900, 1).raw("12345678").tag(13, 2).varint(2).raw("\xFF\xFE");
  b.tag((1U << 29) - 1, 5).raw("1234").text(1, "svc");
  EXPECT_EQ(parsed(b).service, "svc");
}

TEST(MeshHeader, RefusesGroupsAndReservedWireTypes) {
  for (const uint32_t wire : {3U, 4U, 6U, 7U}) {
    EXPECT_NE(why_malformed(HeaderBuilder().tag(12, wire).raw("12345678")), "") << wire;
  }
}

TEST(MeshHeader, RefusesFieldNumberZero) {
  for (uint8_t tag = 0; tag < 8; ++tag)
    EXPECT_EQ(why_malformed(HeaderBuilder().byte(tag).byte(0)), "malformed field tag");
  EXPECT_EQ(why_malformed(HeaderBuilder().padded_varint(2, 3).byte(0)), "malformed field tag");
}

TEST(MeshHeader, KnownFieldsMustHaveWireTypeTwo) {
  for (uint32_t field = 1; field <= 11; ++field) {
    EXPECT_EQ(why_malformed(HeaderBuilder().tag(field, 0).varint(1)), "known field with a wrong wire type") << field;
    EXPECT_EQ(why_malformed(HeaderBuilder().tag(field, 5).raw("1234")), "known field with a wrong wire type");
  }
}

TEST(MeshHeader, AcceptsPaddedVarintsUpToTenBytes) {
  for (size_t width = 1; width <= 10; ++width) {
    EXPECT_EQ(parsed(HeaderBuilder().padded_varint(0x0A, width).varint(1).raw("s")).service, "s") << width;
    EXPECT_EQ(parsed(HeaderBuilder().byte(0x0A).padded_varint(1, width).raw("s")).service, "s") << width;
  }
  EXPECT_NE(why_malformed(HeaderBuilder().padded_varint(0x0A, 11).varint(1).raw("s")), "");
  EXPECT_NE(why_malformed(HeaderBuilder().byte(0x0A).padded_varint(1, 11).raw("s")), "");
}

TEST(MeshHeader, TagsAndLengthsMustFitThirtyTwoBits) {
  EXPECT_EQ(why_malformed(HeaderBuilder().varint(0xFFFFFFFDULL).raw("1234")), "") << "largest field, wire type 5";
  EXPECT_NE(why_malformed(HeaderBuilder().varint(0x100000000ULL | 0x0A).varint(1).raw("s")), "");
  EXPECT_NE(why_malformed(HeaderBuilder().byte(0x0A).varint(0x100000001ULL).raw("s")), "");
  EXPECT_NE(why_malformed(HeaderBuilder().byte(0x0A).varint(0x8000000000000001ULL).raw("s")), "");
}

TEST(MeshHeader, ValuesOfUnknownVarintsMayBeAnyTenBytes) {
  HeaderBuilder ten;
  ten.tag(12, 0);
  for (int i = 0; i < 9; ++i) ten.byte(0xFF);
  EXPECT_EQ(why_malformed(HeaderBuilder(ten).byte(0x7F)), "");
  EXPECT_NE(why_malformed(HeaderBuilder(ten).byte(0xFF).byte(0)), "");
}

TEST(MeshHeader, RefusesEveryTruncation) {
  HeaderBuilder b;
  b.text(1, "service").tag(12, 0).varint(300).tag(13, 1).raw("12345678").tag(14, 5).raw("1234").entry("k", "v");
  std::vector<size_t> ends_of_fields = {0};
  const auto& whole = b.bytes();
  for (const size_t field_bytes : {9U, 3U, 9U, 5U, 8U}) ends_of_fields.push_back(ends_of_fields.back() + field_bytes);
  ASSERT_EQ(ends_of_fields.back(), whole.size());
  for (size_t n = 0; n <= whole.size(); ++n) {
    // A copy of exactly n bytes, so that the address sanitizer sees a read beyond them.
    const std::vector<uint8_t> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n));
    const bool at_a_field = std::find(ends_of_fields.begin(), ends_of_fields.end(), n) != ends_of_fields.end();
    EXPECT_EQ(why_malformed(cut).empty(), at_a_field) << n;
  }
}

TEST(MeshHeader, RefusesTextThatIsNotUtf8) {
  for (uint32_t field = 1; field <= 10; ++field) {
    EXPECT_EQ(why_malformed(HeaderBuilder().text(field, "ok\xC0\xAF")), "string is not valid UTF-8") << field;
  }
  EXPECT_NE(why_malformed(HeaderBuilder().entry("\xED\xA0\x80", "v")), "");
  EXPECT_NE(why_malformed(HeaderBuilder().entry("k", "\xF5\x80\x80\x80")), "");
}

TEST(MeshHeader, LimitsNamesOnly) {
  const std::string at_limit(256, 'n');
  EXPECT_EQ(why_malformed(HeaderBuilder().text(1, at_limit).text(2, at_limit)), "");
  EXPECT_EQ(why_malformed(HeaderBuilder().text(1, at_limit + "n")), "service or method over 256 bytes");
  EXPECT_EQ(why_malformed(HeaderBuilder().text(2, at_limit + "n")), "service or method over 256 bytes");
  EXPECT_EQ(why_malformed(HeaderBuilder().text(3, at_limit + "n")), "");
}

TEST(MeshHeader, LimitsTheWholeHeader) {
  HeaderBuilder b;
  b.text(3, std::string(kMaxHeaderBytes - 3, 'x'));
  ASSERT_EQ(b.bytes().size(), kMaxHeaderBytes);
  EXPECT_EQ(why_malformed(b), "");
  EXPECT_EQ(why_malformed(HeaderBuilder().text(3, std::string(kMaxHeaderBytes - 2, 'x'))), "header over 16384 bytes");
}

TEST(MeshHeader, CountsAttachmentsBeforeMerging) {
  HeaderBuilder b;
  for (int i = 0; i < 64; ++i) b.entry("same", std::to_string(i));
  EXPECT_EQ(parsed(b).attachment_entries, 64U);
  EXPECT_EQ(find(b, "same"), "63");
  EXPECT_EQ(why_malformed(b.entry("same", "64")), "more than 64 attachments");
}

TEST(MeshHeader, FindsAttachmentsAmongOtherFields) {
  const HeaderBuilder odd = HeaderBuilder().text(2, "old").tag(3, 0).varint(5).text(2, "new");
  HeaderBuilder b;
  b.text(1, "svc").entry("k", "1").tag(12, 0).varint(1).entry("other", "x").entry("k", "2");
  b.text(11, odd.as_text());
  EXPECT_EQ(why_malformed(b), "");
  EXPECT_EQ(find(b, "k"), "2");
  EXPECT_EQ(find(b, "other"), "x");
  EXPECT_EQ(find(b, ""), "new") << "a missing key is the empty string, the last value wins";
  EXPECT_EQ(find(b, "none"), std::nullopt);
}

TEST(MeshHeader, AttachmentEntriesFollowTheRulesOfTheHeader) {
  const auto entry = [](const HeaderBuilder& inner) {
    return why_malformed(HeaderBuilder().text(11, inner.as_text()));
  };
  EXPECT_EQ(entry(HeaderBuilder()), "");
  EXPECT_EQ(entry(HeaderBuilder().tag(3, 0).varint(1)), "");
  EXPECT_NE(entry(HeaderBuilder().tag(1, 0).varint(1)), "");
  EXPECT_NE(entry(HeaderBuilder().tag(3, 3)), "");
  EXPECT_NE(entry(HeaderBuilder().byte(2).byte(0)), "");
  EXPECT_NE(entry(HeaderBuilder().tag(1, 2).varint(5).raw("abc")), "") << "must not reach beyond its entry";
}

TEST(MeshHeader, FindNeverReadsBeyondGarbage) {
  const std::vector<uint8_t> garbage = {0x5A, 0x05, 0x0A, 0x09, 'k'};
  EXPECT_EQ(find_attachment(garbage.data(), garbage.size(), "k"), std::nullopt);
}

}  // namespace
}  // namespace ringside
