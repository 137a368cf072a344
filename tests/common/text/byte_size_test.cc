#include "common/text/byte_size.h"

#include <gtest/gtest.h>

#include <optional>

namespace diptych {
namespace {

std::optional<int64_t> Parse(const std::string& text) {
  ByteSize size;
  std::string error;
  if (AbslParseFlag(text, &size, &error)) return size.bytes;
  EXPECT_NE(error.find("4GiB"), std::string::npos) << "an example";
  return std::nullopt;
}

TEST(ByteSizeTest, TakesANumberWithOrWithoutAUnit) {
  EXPECT_EQ(Parse("0"), 0);
  EXPECT_EQ(Parse("268435456"), 268435456);
  EXPECT_EQ(Parse("-1"), -1) << "whether it may be negative is the flag's business";
  EXPECT_EQ(Parse("4GiB"), int64_t{4} << 30);
  EXPECT_EQ(Parse("4 gib"), int64_t{4} << 30);
  EXPECT_EQ(Parse("512MB"), 512'000'000);
  EXPECT_EQ(Parse("512M"), 512 << 20);
  EXPECT_EQ(Parse("64k"), 64 << 10);
  EXPECT_EQ(Parse("64kB"), 64'000);
  EXPECT_EQ(Parse("1.5GiB"), int64_t{3} << 29);
  EXPECT_EQ(Parse("2TiB"), int64_t{2} << 40);
  EXPECT_EQ(Parse("100B"), 100);
}

TEST(ByteSizeTest, RefusesTheRest) {
  for (const char* text : {"", "GiB", "4XB", "4GiBs", "-4GiB", "1e3MB", "4,5GiB", "1.2.3GiB", "9223372036854775808",
                           "8388608TiB", "nan", "inf"}) {
    EXPECT_EQ(Parse(text), std::nullopt) << text;
  }
}

TEST(ByteSizeTest, IsWrittenSoThatItIsReadAgain) {
  EXPECT_EQ(AbslUnparseFlag({256 << 20}), "256MiB");
  EXPECT_EQ(AbslUnparseFlag({0}), "0");
  EXPECT_EQ(AbslUnparseFlag({1000}), "1000");
  for (const int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{1536}, int64_t{5} << 41, INT64_MAX}) {
    EXPECT_EQ(Parse(AbslUnparseFlag({bytes})), bytes);
  }
}

}  // namespace
}  // namespace diptych
