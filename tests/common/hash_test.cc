#include "common/hash.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace diptych
