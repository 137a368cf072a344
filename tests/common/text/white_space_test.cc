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

}  // namespace
}  // namespace diptych
