#include "cli/terminal/text.h"

#include <gtest/gtest.h>

#include "cli/questions/answer_table.h"

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

TEST(TextTest, ATableIsWrappedToItsWidth) {
  const std::vector<std::string> header{"part", "cache hits", "n"};
  const std::vector<std::vector<std::string>> rows{{"language", "tokens 97 %, kv 62 %", "1"}};
  EXPECT_EQ(FormatTable(header, rows, {2}, 25),
            "part      cache hits    n\nlanguage  tokens 97 %,  1\n          kv 62 %\n");
  EXPECT_EQ(FormatTable(header, rows, {2}, 0), FormatTable(header, rows, {2}, 33)) << "as wide as it is";
  EXPECT_EQ(FormatTable({"name"}, {{"red_circle.png"}}, {}, 10), "name\nred_circle\n.png\n") << "a word, if need be";
}

TEST(TextTest, WideCharactersTakeTwoColumnsAndMarksNone) {
  EXPECT_EQ(Columns("猫"), 2u);
  EXPECT_EQ(Columns("e\xcc\x81"), 1u) << "e and a combining accent";
  EXPECT_EQ(Columns("🐈a"), 3u);
  EXPECT_EQ(Columns("\xff\xfe"), 2u) << "no UTF-8";
  EXPECT_EQ(Shorten("猫猫猫", 4), "猫…") << "half a character is not shown";
  EXPECT_EQ(PadRight("猫", 4), "猫  ");
  EXPECT_EQ(PadLeft("猫", 4), "  猫");
  EXPECT_EQ(Shorten("abc", 0), "");
}

TEST(TextTest, OneLineHoldsNoNewlines) {
  EXPECT_EQ(OneLine("a\nb\tc\x1b"), "a b c?");
}

TEST(TextTest, WrapsAtSpaces) {
  EXPECT_EQ(WrapText("one two three", 7), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(WrapText("猫猫猫猫 a", 5), (std::vector<std::string>{"猫猫", "猫猫", "a"}));
  EXPECT_EQ(WrapText("a\n\nb", 9), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(WrapText("", 9), (std::vector<std::string>{""}));
}

TEST(AnswerTableTest, IsWholeWithoutATerminal) {
  const AnswerTable table(5, 20, 0);
  const std::string answer(200, 'a');
  EXPECT_NE(table.Row({"a.png", "Q", answer, "3", "1 ms"}).find(answer), std::string::npos);
}

TEST(AnswerTableTest, FillsTheTerminalAndNoMore) {
  for (const size_t columns : {20u, 40u, 59u, 80u, 200u}) {
    const AnswerTable table(12, 30, columns);
    for (const std::string& line : WrapText(table.Header() + table.Row({"猫猫猫猫猫猫猫猫.png", std::string(90, 'q'),
                                                                        std::string(300, 'a') + "\nb", "12", "1.24 s"}),
                                            100000)) {
      EXPECT_LE(Columns(line), columns) << line;
    }
  }
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
