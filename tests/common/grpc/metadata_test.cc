#include "common/grpc/metadata.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/test/server_context_test_spouse.h>
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

TEST(MetadataTest, AKeyNameIsOneThatALineOfALogMayHold) {
  const auto name_of = [](const std::string& sent) {
    grpc::ServerContext context;
    grpc::testing::ServerContextTestSpouse peer(&context);
    peer.AddClientMetadata("diptych-key-name", sent);
    return KeyNameOf(context);
  };
  EXPECT_EQ(name_of("ada"), "ada");
  for (const char* forged : {"ada\n2026-11-30 error gateway: on fire", "ada\x1b[2J", "\xff"}) {
    EXPECT_EQ(name_of(forged), "") << forged;
  }
}

TEST(MetadataTest, TextOfAHeaderHasNoWhiteSpaceAroundIt) {
  EXPECT_EQ(HeaderText(" \t the model\nis not known \r\n"), "the model\nis not known");
  EXPECT_EQ(HeaderText("\v \f"), "");
  EXPECT_EQ(HeaderText(""), "");
}

}  // namespace
}  // namespace diptych
