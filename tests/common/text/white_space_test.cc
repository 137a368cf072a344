#include "common/text/white_space.h"

#include <gtest/gtest.h>

namespace diptych {
namespace {

TEST(StripWhitespaceTest, IsPythonsStrip) {
  EXPECT_EQ(StripRight(StripLeft("\xE2\x80\x83 a \xC2\x85")), "a");
  EXPECT_EQ(StripLeft(" \t "), "");
}

TEST(StripWhitespaceTest, OneEndIsLeftAlone) {
  EXPECT_EQ(StripLeft("\u3000 a\u00A0"), "a\u00A0");
  EXPECT_EQ(StripRight("\u3000 a\u00A0\x1F"), "\u3000 a");
}

TEST(IsBlankTest, HoldsForWhiteSpaceOfAnyKind) {
  for (const char* blank : {"", " \t\n", "\u00A0", "\u3000 \u2003"}) EXPECT_TRUE(IsBlank(blank)) << blank;
  for (const char* text : {".", " a ", "\u3000?"}) EXPECT_FALSE(IsBlank(text)) << text;
}

}  // namespace
}  // namespace diptych
