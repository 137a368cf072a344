#include "common/grpc/metadata.h"

#include <gtest/gtest.h>

namespace diptych {
namespace {

TEST(MetadataTest, OnlyPrintableAsciiIsAValue) {
  EXPECT_TRUE(IsMetadataValue("Bearer abc~ 019"));
  EXPECT_TRUE(IsMetadataValue(""));
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(IsMetadataValue(std::string("a") + static_cast<char>(byte)), byte >= 0x20 && byte <= 0x7e) << byte;
  }
}

TEST(MetadataTest, TextOfAHeaderHasNoWhiteSpaceAroundIt) {
  EXPECT_EQ(HeaderText(" \t the model\nis not known \r\n"), "the model\nis not known");
  EXPECT_EQ(HeaderText("\v \f"), "");
  EXPECT_EQ(HeaderText(""), "");
}

}  // namespace
}  // namespace diptych
