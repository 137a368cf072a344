#include "common/grpc/transport_bounds.h"

#include <gtest/gtest.h>

namespace diptych {
namespace {

class UnfinishedHeadersTest : public ::testing::Test {
 protected:
  using Frame = UnfinishedHeaders::Frame;

  // Any address stands for a reader.
  const int readers_[2] = {};
  const void* const one_ = &readers_[0];
  const void* const other_ = &readers_[1];
  UnfinishedHeaders headers_;
};

TEST_F(UnfinishedHeadersTest, OfAHeaderInOnePieceNothingIsKept) {
  headers_.BeginFrame(one_, Frame::kLast);
  EXPECT_TRUE(headers_.Count(one_, kMaxHeaderBytes, /*ends_frame=*/true));
  EXPECT_EQ(headers_.size(), 0u);
  headers_.BeginFrame(one_, Frame::kLast);
  EXPECT_FALSE(headers_.Count(one_, kMaxHeaderBytes + 1, /*ends_frame=*/true));
}

TEST_F(UnfinishedHeadersTest, ThePiecesOfAFrameCountTogether) {
  headers_.BeginFrame(one_, Frame::kLast);
  EXPECT_TRUE(headers_.Count(one_, kMaxHeaderBytes, /*ends_frame=*/false));
  EXPECT_FALSE(headers_.Count(one_, 1, /*ends_frame=*/true));
  EXPECT_EQ(headers_.size(), 0u);
}

TEST_F(UnfinishedHeadersTest, TheFramesOfAHeaderCountTogether) {
  headers_.BeginFrame(one_, Frame::kGoesOn);
  EXPECT_TRUE(headers_.Count(one_, kMaxHeaderBytes - 1, /*ends_frame=*/true));
  headers_.BeginFrame(other_, Frame::kLast);
  EXPECT_TRUE(headers_.Count(other_, kMaxHeaderBytes, /*ends_frame=*/true)) << "another connection's";
  headers_.BeginFrame(one_, Frame::kGoesOn);
  EXPECT_TRUE(headers_.Count(one_, 1, /*ends_frame=*/true));
  headers_.BeginFrame(one_, Frame::kLast);
  EXPECT_FALSE(headers_.Count(one_, 1, /*ends_frame=*/true));
}

TEST_F(UnfinishedHeadersTest, TooManyFramesAreTooLongHoweverShortTheyAre) {
  for (int i = 0; i < kMaxHeaderFrames; ++i) {
    headers_.BeginFrame(one_, Frame::kGoesOn);
    EXPECT_TRUE(headers_.Count(one_, 1, /*ends_frame=*/true));
  }
  headers_.BeginFrame(one_, Frame::kLast);
  EXPECT_FALSE(headers_.Count(one_, 1, /*ends_frame=*/true));
}

TEST_F(UnfinishedHeadersTest, TheNextHeaderBeginsAnew) {
  for (int i = 0; i < 3; ++i) {
    headers_.BeginFrame(one_, Frame::kGoesOn);
    EXPECT_TRUE(headers_.Count(one_, kMaxHeaderBytes - 2, /*ends_frame=*/true));
    headers_.BeginFrame(one_, Frame::kLast);
    EXPECT_TRUE(headers_.Count(one_, 1, /*ends_frame=*/false));
    EXPECT_TRUE(headers_.Count(one_, 1, /*ends_frame=*/true));
    EXPECT_EQ(headers_.size(), 0u);
  }
}

TEST_F(UnfinishedHeadersTest, OfHeadersThatAreSkippedThereMayBeMany) {
  for (int i = 0; i < 2; ++i) {
    for (size_t bytes = 0; bytes < kMaxSkippedBytes; bytes += 128) {
      headers_.BeginFrame(one_, Frame::kSkipped);
      ASSERT_TRUE(headers_.Count(one_, 128, /*ends_frame=*/true));
    }
    headers_.BeginFrame(one_, Frame::kLast);
    EXPECT_TRUE(headers_.Count(one_, kMaxHeaderBytes, /*ends_frame=*/true)) << "one that is wanted begins anew";
    EXPECT_EQ(headers_.size(), 0u);
  }
}

TEST_F(UnfinishedHeadersTest, OfHeadersThatAreSkippedThereIsABound) {
  headers_.BeginFrame(one_, Frame::kSkipped);
  EXPECT_TRUE(headers_.Count(one_, kMaxSkippedBytes, /*ends_frame=*/true));
  headers_.BeginFrame(one_, Frame::kSkipped);
  EXPECT_FALSE(headers_.Count(one_, 1, /*ends_frame=*/true));
}

TEST_F(UnfinishedHeadersTest, OfAReaderThatIsGoneNothingIsKept) {
  headers_.BeginFrame(one_, Frame::kGoesOn);
  EXPECT_EQ(headers_.size(), 1u);
  headers_.Forget(other_);
  EXPECT_EQ(headers_.size(), 1u);
  headers_.Forget(one_);
  EXPECT_EQ(headers_.size(), 0u);
}

class OpenStreamsTest : public ::testing::Test {
 protected:
  // Streams of connection `number` from `first` on.
  void Open(int number, size_t first, size_t count) {
    for (size_t i = first; i < first + count; ++i) streams_.Opened(&connections_[number], &places_[i]);
  }
  bool MayGoOn(int number) { return streams_.MayGoOn(&connections_[number]); }

  static constexpr size_t kMost = OpenStreams::kMostBytes / OpenStreams::kStreamBytes;

  char places_[2 * kMost] = {};
  char connections_[4] = {};
  OpenStreams streams_;
};

TEST_F(OpenStreamsTest, OneConnectionMayHaveAllThatThereAre) {
  Open(0, 0, kMost - 1);
  EXPECT_TRUE(MayGoOn(0));
}

TEST_F(OpenStreamsTest, WhoHasMoreThanItsShareOfTooManyEnds) {
  Open(0, 0, kMost);
  Open(1, kMost, 1);
  EXPECT_FALSE(MayGoOn(0));
  EXPECT_TRUE(MayGoOn(1));
  EXPECT_TRUE(MayGoOn(2)) << "it has none yet";
}

TEST_F(OpenStreamsTest, WhatIsClosedCountsNoMore) {
  Open(0, 0, kMost);
  Open(1, kMost, 1);
  for (size_t i = 0; i < 2; ++i) streams_.Closed(&places_[i]);
  streams_.Closed(&places_[0]);
  EXPECT_TRUE(MayGoOn(0));
}

TEST_F(OpenStreamsTest, LongHeadersCountAsTheirBytes) {
  Open(0, 0, 9);
  streams_.AddHeader(&places_[0], OpenStreams::kStreamBytes);
  streams_.AddHeader(&places_[0], OpenStreams::kMostBytes - 9 * OpenStreams::kStreamBytes - 1);
  EXPECT_TRUE(MayGoOn(0));
  streams_.AddHeader(&places_[0], 2);
  EXPECT_FALSE(MayGoOn(0));
  streams_.AddHeader(&connections_[0], 1);
  streams_.Closed(&places_[0]);
  EXPECT_TRUE(MayGoOn(0));
}

TEST_F(OpenStreamsTest, MoreMayBeAllowedAndNotFewer) {
  streams_.Raise(OpenStreams::kMostBytes + 2 * OpenStreams::kStreamBytes);
  streams_.Raise(1);
  Open(0, 0, kMost + 1);
  EXPECT_TRUE(MayGoOn(0));
}

TEST(GrpcTransportsTest, AreBoundedInThisProcess) {
  EXPECT_TRUE(BoundGrpcTransports(1));
}

}  // namespace
}  // namespace diptych
