#include "common/text/utf8.h"

#include <gtest/gtest.h>

namespace diptych {
namespace {

TEST(Utf8Test, AcceptsEveryLengthOfSequence) {
  EXPECT_TRUE(IsValidUtf8(""));
  EXPECT_TRUE(IsValidUtf8(std::string_view("a\0b", 3)));
  EXPECT_TRUE(IsValidUtf8("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8e\xa8"));
  EXPECT_TRUE(IsValidUtf8("\xf4\x8f\xbf\xbf")) << "U+10FFFF is the last code point";
}

TEST(Utf8Test, RefusesWhatUnicodeCallsIllFormed) {
  EXPECT_FALSE(IsValidUtf8("\x80")) << "continuation without a lead";
  EXPECT_FALSE(IsValidUtf8("\xe2\x82")) << "cut off";
  EXPECT_FALSE(IsValidUtf8("\xe2\x28\xa1")) << "bad continuation";
  EXPECT_FALSE(IsValidUtf8("\xc0\xaf")) << "overlong '/'";
  EXPECT_FALSE(IsValidUtf8("\xe0\x80\xaf")) << "overlong in three bytes";
  EXPECT_FALSE(IsValidUtf8("\xed\xa0\x80")) << "surrogate";
  EXPECT_FALSE(IsValidUtf8("\xf4\x90\x80\x80")) << "above U+10FFFF";
  EXPECT_FALSE(IsValidUtf8("fine until \xff"));
}

// Unicode 15, table 3-8 and section 3.9: U+FFFD substitution of maximal subparts.
TEST(Utf8Test, ReplacesEachMaximalSubpart) {
  EXPECT_EQ(ReplaceInvalidUtf8("a\xc3\xa9"), "a\xc3\xa9");
  EXPECT_EQ(ReplaceInvalidUtf8("\xe2\x82x"), "\ufffdx") << "a cut character is one subpart";
  EXPECT_EQ(ReplaceInvalidUtf8("\xe2\x82"), "\ufffd") << "also at the end";
  EXPECT_EQ(ReplaceInvalidUtf8("\xc0\xaf\xe0\x80\xbf"), "\ufffd\ufffd\ufffd\ufffd\ufffd")
      << "overlong forms are single bytes";
  EXPECT_EQ(ReplaceInvalidUtf8("\xed\xa0\x80"), "\ufffd\ufffd\ufffd") << "so are surrogates";
  EXPECT_EQ(ReplaceInvalidUtf8("\xf0\x80\x80\x41"), "\ufffd\ufffd\ufffd\x41");
  EXPECT_EQ(ReplaceInvalidUtf8("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41"), "\ufffd\ufffd\ufffd\ufffd\x41");
}

TEST(Utf8Test, FindsTheCharacterThatMoreBytesCouldComplete) {
  EXPECT_EQ(UnfinishedUtf8Suffix(""), 0u);
  EXPECT_EQ(UnfinishedUtf8Suffix("a"), 0u);
  EXPECT_EQ(UnfinishedUtf8Suffix("\xe2\x82\xac"), 0u);
  EXPECT_EQ(UnfinishedUtf8Suffix("a\xe2"), 1u);
  EXPECT_EQ(UnfinishedUtf8Suffix("a\xe2\x82"), 2u);
  EXPECT_EQ(UnfinishedUtf8Suffix("\xf0\x9f\x98"), 3u);
  EXPECT_EQ(UnfinishedUtf8Suffix("\xf0\x9f\x98\x80"), 0u);
  EXPECT_EQ(UnfinishedUtf8Suffix("\xed\xa0"), 0u) << "a surrogate cannot be completed";
  EXPECT_EQ(UnfinishedUtf8Suffix("\x80\x80\x80"), 0u);
  EXPECT_EQ(UnfinishedUtf8Suffix("\xff"), 0u);
}

TEST(ClipTextTest, EndsBetweenCharacters) {
  EXPECT_EQ(ClipText("abc", 3), "abc");
  EXPECT_EQ(ClipText("abcd", 3), "abc...");
  EXPECT_EQ(ClipText("ab\u00e9d", 3), "ab...");
  EXPECT_EQ(ClipText("", 0), "");
}

TEST(FirstLineTest, EndsBeforeTheFirstLineFeed) {
  EXPECT_EQ(FirstLine("CUDA error: no device\nException raised from\n"), "CUDA error: no device");
  EXPECT_EQ(FirstLine("one line"), "one line");
  EXPECT_EQ(FirstLine("\nnothing before"), "");
  EXPECT_EQ(FirstLine(""), "");
}

}  // namespace
}  // namespace diptych
