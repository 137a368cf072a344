#include "common/grpc/header_bound.h"

#include <gtest/gtest.h>

namespace diptych {
namespace {

class UnfinishedHeadersTest : public ::testing::Test {
 protected:
  // Any address stands for a reader.
  const int readers_[2] = {};
  const void* const one_ = &readers_[0];
  const void* const other_ = &readers_[1];
  UnfinishedHeaders headers_;
};

TEST_F(UnfinishedHeadersTest, OfAHeaderInOnePieceNothingIsKept) {
  headers_.BeginFrame(one_, /*is_last=*/true);
  EXPECT_TRUE(headers_.Count(one_, kMaxHeaderBytes, /*ends_frame=*/true));
  EXPECT_EQ(headers_.size(), 0u);
  headers_.BeginFrame(one_, /*is_last=*/true);
  EXPECT_FALSE(headers_.Count(one_, kMaxHeaderBytes + 1, /*ends_frame=*/true));
}

TEST_F(UnfinishedHeadersTest, ThePiecesOfAFrameCountTogether) {
  headers_.BeginFrame(one_, /*is_last=*/true);
  EXPECT_TRUE(headers_.Count(one_, kMaxHeaderBytes, /*ends_frame=*/false));
  EXPECT_FALSE(headers_.Count(one_, 1, /*ends_frame=*/true));
  EXPECT_EQ(headers_.size(), 0u);
}

TEST_F(UnfinishedHeadersTest, TheFramesOfAHeaderCountTogether) {
  headers_.BeginFrame(one_, /*is_last=*/false);
  EXPECT_TRUE(headers_.Count(one_, kMaxHeaderBytes - 1, /*ends_frame=*/true));
  headers_.BeginFrame(other_, /*is_last=*/true);
  EXPECT_TRUE(headers_.Count(other_, kMaxHeaderBytes, /*ends_frame=*/true)) << "another connection's";
  headers_.BeginFrame(one_, /*is_last=*/false);
  EXPECT_TRUE(headers_.Count(one_, 1, /*ends_frame=*/true));
  headers_.BeginFrame(one_, /*is_last=*/true);
  EXPECT_FALSE(headers_.Count(one_, 1, /*ends_frame=*/true));
}

TEST_F(UnfinishedHeadersTest, TheNextHeaderBeginsAnew) {
  for (int i = 0; i < 3; ++i) {
    headers_.BeginFrame(one_, /*is_last=*/false);
    EXPECT_TRUE(headers_.Count(one_, kMaxHeaderBytes - 2, /*ends_frame=*/true));
    headers_.BeginFrame(one_, /*is_last=*/true);
    EXPECT_TRUE(headers_.Count(one_, 1, /*ends_frame=*/false));
    EXPECT_TRUE(headers_.Count(one_, 1, /*ends_frame=*/true));
    EXPECT_EQ(headers_.size(), 0u);
  }
}

TEST_F(UnfinishedHeadersTest, OfAReaderThatIsGoneNothingIsKept) {
  headers_.BeginFrame(one_, /*is_last=*/false);
  EXPECT_EQ(headers_.size(), 1u);
  headers_.Forget(other_);
  EXPECT_EQ(headers_.size(), 1u);
  headers_.Forget(one_);
  EXPECT_EQ(headers_.size(), 0u);
}

TEST(GrpcHeadersTest, AreBoundedInThisProcess) {
  EXPECT_TRUE(GrpcHeadersAreBounded());
}

}  // namespace
}  // namespace diptych
