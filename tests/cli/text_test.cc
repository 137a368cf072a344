#include "cli/terminal/text.h"

#include <gtest/gtest.h>

namespace diptych::cli {
namespace {

TEST(TextTest, PrintableKeepsTextAndDropsControls) {
  EXPECT_EQ(Printable("a caf\xc3\xa9\n\tb"), "a caf\xc3\xa9\n\tb");
  EXPECT_EQ(Printable("\x1b[31m\r\x7f"), "?[31m??");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "31m"),
            "?31m")
      << "C1 control sequence introducer";
}

TEST(TextTest, ShortenCutsBetweenCharacters) {
  EXPECT_EQ(Shorten("short", 5), "short");
  EXPECT_EQ(Shorten("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 3), "\xc3\xa9\xc3\xa9…");
  EXPECT_EQ(Columns(Shorten("a longer text", 6)), 6u);
}

TEST(TextTest, TableAlignsByCharactersNotBytes) {
  EXPECT_EQ(FormatTable({"a", "n"}, {{"\xc3\xa9\xc3\xa9", "1"}, {"x", "12"}}, {1}),
            "a    n\n\xc3\xa9\xc3\xa9   1\nx   12\n");
}

TEST(TextTest, NumbersAreReadable) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(-1234567), "-1,234,567");
  EXPECT_EQ(FormatSeconds(0.0004), "0.4 ms");
  EXPECT_EQ(FormatSeconds(0.086), "86 ms");
  EXPECT_EQ(FormatSeconds(1.239), "1.24 s");
  EXPECT_EQ(FormatBytes(7'500'000'000), "7.5 GB");
}

}  // namespace
}  // namespace diptych::cli
