#include "common/utf8.h"

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

}  // namespace
}  // namespace diptych
