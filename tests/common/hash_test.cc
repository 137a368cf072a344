#include "common/hash.h"

#include <gtest/gtest.h>

#include <boost/crc.hpp>
#include <string>

namespace diptych {
namespace {

TEST(HashTest, Sha256MatchesFips180Example) {
  Sha256 sha;
  sha.Update("a");
  sha.Update("bc");
  EXPECT_EQ(ToHex(sha.Finish()), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(HashTest, FieldsDoNotRunIntoEachOther) {
  Sha256 one, two;
  one.UpdateField("ab");
  one.UpdateField("c");
  two.UpdateField("a");
  two.UpdateField("bc");
  EXPECT_NE(one.Finish(), two.Finish());
}

TEST(HashTest, Crc32cMatchesRfc3720CheckValue) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(HashTest, Crc32cIsThatOfATableForEachLengthAndPlace) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) bytes.push_back(static_cast<char>(i * i + 7 * i));
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t size = 0; begin + size <= bytes.size(); ++size) {
      boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> table;
      table.process_bytes(bytes.data() + begin, size);
      ASSERT_EQ(Crc32c(std::string_view(bytes).substr(begin, size)), table.checksum()) << begin << " " << size;
    }
  }
}

TEST(HashTest, Crc32cGoesOnFromWhatCameBefore) {
  std::string bytes;
  for (int i = 0; i < 50; ++i) bytes.push_back(static_cast<char>(i * i + 7 * i));
  for (size_t first = 0; first <= bytes.size(); ++first) {
    const std::string_view all = bytes;
    EXPECT_EQ(Crc32c(all.substr(first), Crc32c(all.substr(0, first))), Crc32c(all)) << first;
  }
}

}  // namespace
}  // namespace diptych
