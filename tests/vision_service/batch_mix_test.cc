// The visual tokens of an image do not depend on what else is in its batch.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <future>
#include <map>
#include <mutex>
#include <random>

#include "blip2/vision_model.h"
#include "tests/testing/tiny_checkpoint.h"
#include "vision_service/engine.h"

namespace diptych::vision {
namespace {

// Of the largest number of an image's tokens, in float32: matrix products of other heights may sum in another order.
constexpr double kMixTolerance = 1e-5;

class BatchMixTest : public ::testing::Test {
 protected:
  static constexpr int kImages = 24;  // different ones of each shape
  static constexpr BatchShape kShapes[] = {{.image_size = 28}, {.image_size = 56}, {.image_size = 56, .merging = 200}};

  void SetUp() override {
    at::manual_seed(5);
    for (const BatchShape& shape : kShapes) {
      for (int i = 0; i < kImages; ++i) {
        pixels_[shape].push_back(at::randn({1, 3, shape.image_size, shape.image_size}));
        alone_[shape].push_back(model_.Forward(pixels_[shape].back(), shape.merging)[0]);
      }
    }
  }

  // Puts a random mix of images into the engine while it can't run, then lets it run, and compares each.
  void RunMix(std::mt19937& random, VisionEngine& engine, std::mutex& hold);

  // Filled by the engine's thread.
  struct Outcome {
    std::promise<absl::StatusOr<std::shared_ptr<const VisualTokens>>> image;
  };

  const testing::TinyCheckpoint checkpoint_;
  const blip2::VisionModel model_{**blip2::Checkpoint::Open(checkpoint_.folder()), {}};
  std::map<BatchShape, std::vector<at::Tensor>> pixels_, alone_;
  std::map<uint64_t, Outcome> outcomes_;
  uint64_t next_id_ = 0;
  double worst_ = 0;  // difference seen, of an image's largest number
};

void BatchMixTest::RunMix(std::mt19937& random, VisionEngine& engine, std::mutex& hold) {
  outcomes_.clear();
  std::map<uint64_t, at::Tensor> expected;
  {
    std::lock_guard lock(hold);
    const int count = 1 + static_cast<int>(random() % 16);
    std::vector<std::shared_ptr<EncodeJob>> jobs;
    for (int i = 0; i < count; ++i) {
      const BatchShape shape = kShapes[random() % std::size(kShapes)];
      const size_t number = random() % kImages;
      auto job = std::make_shared<EncodeJob>();
      job->id = next_id_++;
      job->preparation = {.image_size = shape.image_size, .max_side = 0, .merging = shape.merging};
      job->pixel_values = pixels_[shape][number];
      job->deadline = SteadyTime::max();
      expected[job->id] = alone_[shape][number];
      outcomes_[job->id];
      jobs.push_back(std::move(job));
    }
    for (auto& job : jobs) engine.Submit(std::move(job));
  }
  for (const auto& [id, tokens] : expected) {
    const auto image = outcomes_[id].image.get_future().get();
    ASSERT_TRUE(image.ok()) << image.status();
    at::Tensor actual = at::empty_like(tokens);
    ASSERT_EQ(actual.nbytes(), (*image)->bytes().size());
    std::memcpy(actual.data_ptr(), (*image)->bytes().data(), actual.nbytes());
    const double difference = ((actual - tokens).abs().max() / tokens.abs().max()).item<double>();
    worst_ = std::max(worst_, difference);
    EXPECT_LE(difference, kMixTolerance);
  }
}

TEST_F(BatchMixTest, FiveHundredRandomMixesGiveEachImageItsOwnTokens) {
  std::mt19937 random(11);
  std::mutex hold;  // the engine can't run while a test has it
  ServedVisionModel served;
  served.encode = [&](const at::Tensor& pixels, int merging) {
    std::lock_guard lock(hold);
    return model_.Forward(pixels, merging);
  };
  VisionEngine engine(
      served, {.max_batch = 6, .image_size = 56}, std::chrono::minutes(5),
      [&](std::shared_ptr<EncodeJob> job, auto image) { outcomes_.at(job->id).image.set_value(std::move(image)); });
  for (int mix = 0; mix < 500 && !HasFatalFailure(); ++mix) RunMix(random, engine, hold);
  RecordProperty("worst_relative_difference", std::to_string(worst_));
  VisionStats stats;
  engine.AddTo(stats);
  EXPECT_GT(2 * stats.encoded_images, 3 * stats.passes) << "there was something to batch";
}

}  // namespace
}  // namespace diptych::vision
