#include "blip2/vision_graphs.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blip2/device/transfer.h"
#include "tests/testing/device_observer.h"
#include "tests/testing/fake_card.h"
#include "tests/testing/random_checkpoint.h"

namespace diptych::blip2 {
namespace {

using diptych::testing::DeviceObserver;
using diptych::testing::FakeCard;
using diptych::testing::RandomCheckpoint;
using diptych::testing::TinyConfig;

constexpr double kRoundingOfTokens = 1e-5;  // of float32, on values of order one

class VisionGraphsTest : public ::testing::Test {
 protected:
  // Of images number `first` and the following.
  at::Tensor Pixels(int64_t images, int64_t first = 0) const { return PixelsOf(images, first, size_); }
  static at::Tensor PixelsOf(int64_t images, int64_t first, int64_t size) {
    const at::Tensor places = at::arange(images * 3 * size * size, at::kDouble).add_(1000 * first);
    return at::sin(places.square().mul_(0.7)).to(at::kFloat).view({images, 3, size, size});
  }

  void ExpectAsBefore(VisionGraphs& graphs, const at::Tensor& pixels, int merging = 0) const {
    const at::Tensor seen = graphs.Forward(pixels, merging), expected = model_.Forward(pixels, merging);
    ASSERT_EQ(seen.sizes(), expected.sizes());
    EXPECT_LT((seen - expected).abs().max().item<double>(), kRoundingOfTokens);
  }

  const RandomCheckpoint checkpoint_{TinyConfig(), /*seed=*/12};
  const std::unique_ptr<Checkpoint> open_ = checkpoint_.Open();
  const VisionModel model_{*open_, Placement{}};
  const int64_t size_ = checkpoint_.config().vision.image_size;
  FakeCard card_;
  VisionGraphs graphs_{card_.Recorder(), card_.OnFailure(), model_};
};

TEST_F(VisionGraphsTest, APassIsRecordedOnceForEachSizeOfBatch) {
  for (const auto& [images, first] : {std::pair{1, 0}, {3, 5}, {4, 9}, {5, 1}, {1, 7}, {32, 2}, {3, 0}}) {
    ExpectAsBefore(graphs_, Pixels(images, first));
  }
  EXPECT_EQ(card_.recorded, 4) << "of 1, 4, 8 and 32 images";
  EXPECT_EQ(card_.replayed, 7);
  EXPECT_TRUE(card_.failures.empty());
}

TEST_F(VisionGraphsTest, OtherSizesMergedTokensAndMoreImagesAreNotRecorded) {
  ExpectAsBefore(graphs_, PixelsOf(2, 0, 2 * size_));
  ExpectAsBefore(graphs_, Pixels(2), /*merging=*/100);
  ExpectAsBefore(graphs_, Pixels(33));
  EXPECT_EQ(card_.recorded, 0);
}

TEST_F(VisionGraphsTest, WhatIsNoImageIsRefusedAsBefore) {
  EXPECT_THROW(graphs_.Forward(at::zeros({1, 4, size_, size_})), c10::Error);
  EXPECT_THROW(graphs_.Forward(at::zeros({size_, size_})), c10::Error);
  ExpectAsBefore(graphs_, Pixels(2));
  EXPECT_TRUE(card_.failures.empty());
}

TEST_F(VisionGraphsTest, AfterAFailurePassesRunAsBeforeAndItIsToldOnce) {
  card_.refuses_to_record = true;
  ExpectAsBefore(graphs_, Pixels(3));
  card_.refuses_to_record = false;  // it is not asked again
  ExpectAsBefore(graphs_, Pixels(3));
  EXPECT_EQ(card_.failures, std::vector<std::string>{"operation not permitted when stream is capturing"});
  EXPECT_EQ(card_.recorded, 0);
}

TEST_F(VisionGraphsTest, ARecordedPassThatFailsIsRunAsBefore) {
  ExpectAsBefore(graphs_, Pixels(3));
  card_.refuses_to_replay = true;
  ExpectAsBefore(graphs_, Pixels(3, 4));
  EXPECT_EQ(card_.failures, std::vector<std::string>{"no such graph"});
}

// A card writes each pass's tokens where it wrote the last one's.
TEST_F(VisionGraphsTest, TokensStayWhenTheNextPassComes) {
  const auto record = [](const std::function<void()>& work) -> std::function<void()> { return work(), [] {}; };
  VisionGraphs graphs(record, nullptr, model_);
  const at::Tensor first = graphs.Forward(Pixels(3)), second = graphs.Forward(Pixels(3, 5));
  EXPECT_TRUE(first.equal(second)) << "nothing was done again";
  EXPECT_FALSE(first.is_alias_of(second));
}

// What a card records must copy nothing between the host and itself.
TEST_F(VisionGraphsTest, PixelsAreUploadedBeforehand) {
  const VisionModel model(*open_, {.device = c10::Device(c10::DeviceType::Meta), .dtype = c10::ScalarType::Half});
  int recorded = 0;
  const auto record = [&recorded](const std::function<void()>& work) -> std::function<void()> {
    const TransferCounts before = Transfers();
    work();
    EXPECT_EQ(Transfers().uploads, before.uploads);
    ++recorded;
    return work;
  };
  VisionGraphs graphs(
      record, [](const std::string& why) { ADD_FAILURE() << why; }, model);
  for (int pass = 0; pass < 2; ++pass) {
    const TransferCounts before = Transfers();
    const DeviceObserver seen;
    EXPECT_TRUE(graphs.Forward(Pixels(3)).is_meta());
    EXPECT_EQ(seen.uploads(), 1);
    EXPECT_EQ(Transfers().uploads - before.uploads, 1);
    EXPECT_EQ(seen.downloads(), 0);
    EXPECT_TRUE(seen.mixed().empty() && seen.waits().empty());
  }
  EXPECT_EQ(recorded, 1);
}

TEST_F(VisionGraphsTest, PixelsOnTheCardAreNotUploadedAgain) {
  const VisionModel model(*open_, {.device = c10::Device(c10::DeviceType::Meta), .dtype = c10::ScalarType::Half});
  VisionGraphs graphs(card_.Recorder(), card_.OnFailure(), model);
  const at::Tensor there = Upload(Pixels(3), model.placement().device);
  const TransferCounts before = Transfers();
  EXPECT_TRUE(graphs.Forward(there).is_meta());
  EXPECT_EQ(Transfers().uploads, before.uploads);
  EXPECT_EQ(card_.recorded, 1);
}

}  // namespace
}  // namespace diptych::blip2
