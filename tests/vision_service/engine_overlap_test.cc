// In which order the vision engine computes and delivers, on the host and on a card.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/gate.h"
#include "vision_service/engine.h"

namespace diptych::vision {
namespace {

// The model is one of the host in any case; the engine believes what the description says.
class EngineOverlapTest : public ::testing::Test {
 protected:
  void Start(const std::string& device) {
    ServedVisionModel model;
    model.description.set_device(device);
    model.description.set_image_size(28);
    model.encode = [this](const at::Tensor& pixels, int) {
      Note("run " + std::to_string(pixels.size(3)));
      if (on_run_) on_run_();
      gate_.Pass();
      if (pixels.size(0) > most_) throw std::runtime_error("no room for so many");
      return pixels.reshape({pixels.size(0), 3, -1}).slice(2, 0, 2).clone();
    };
    if (notes_uploads_) {
      model.upload = [this](const at::Tensor& pixels) {
        Note("send " + std::to_string(pixels.size(3)));
        if (on_send_) on_send_();
        if (pixels.size(3) == refused_upload_) throw std::runtime_error("no room for these pixels");
        return blip2::SideUploads(at::kCPU).Send(pixels);
      };
    }
    engine_ = std::make_unique<VisionEngine>(
        model, Batcher::Options{.max_batch = 4, .image_size = 84}, std::chrono::minutes(5),
        [this](std::shared_ptr<EncodeJob> job, auto image) {
          Note((image.ok() ? "give " : "fail ") + std::to_string(job->preparation.image_size));
          std::lock_guard lock(mutex_);
          if (image.ok()) first_numbers_ += FirstNumber(**image);
          if (--awaited_ == 0) all_given_.set_value();
        });
  }

  // Another size is another pass.
  void Submit(int size, double pixel = 0, const std::string& caller = "") {
    auto job = std::make_shared<EncodeJob>();
    job->id = next_id_++;
    job->caller = caller;
    job->preparation.image_size = size;
    job->pixel_values = at::full({1, 3, size, size}, pixel, at::kFloat);
    job->deadline = SteadyTime::max();
    engine_->Submit(std::move(job));
  }
  // Submits images of these sizes while the first is in its pass, and returns what then happened.
  std::string OrderOf(const std::vector<int>& sizes) {
    awaited_ = static_cast<int>(sizes.size());
    Submit(sizes[0]);
    gate_.AwaitArrivals(1);
    for (size_t i = 1; i < sizes.size(); ++i) Submit(sizes[i], static_cast<double>(i));
    gate_.Open();
    all_given_.get_future().get();
    engine_.reset();
    return order_;
  }

  void Note(const std::string& what) {
    std::lock_guard lock(mutex_);
    order_ += (order_.empty() ? "" : ", ") + what;
  }
  static float FirstNumber(const VisualTokens& image) {
    float number = 0;
    std::memcpy(&number, image.bytes().data(), sizeof(number));
    return number;
  }

  testing::Gate gate_;
  int64_t most_ = 4;  // images that the model takes at a time
  bool notes_uploads_ = false;
  std::function<void()> on_send_, on_run_;
  int refused_upload_ = 0;  // pixels
  std::mutex mutex_;
  std::string order_;
  int awaited_ = 0;
  float first_numbers_ = 0;  // of all tokens, summed
  std::promise<void> all_given_;
  uint64_t next_id_ = 1;
  std::unique_ptr<VisionEngine> engine_;
};

TEST_F(EngineOverlapTest, OnTheHostTokensAreGivenBeforeTheNextPass) {
  Start("cpu");
  EXPECT_EQ(OrderOf({28, 56}), "run 28, give 28, run 56, give 56");
}

TEST_F(EngineOverlapTest, OnACardTheyAreGivenWhileTheNextPassRuns) {
  Start("cuda:0");
  EXPECT_EQ(OrderOf({28, 56, 56}), "run 28, run 56, give 28, give 56, give 56");
  EXPECT_EQ(first_numbers_, 1 + 2) << "each image has its own";
}

TEST_F(EngineOverlapTest, OnACardAnImageThatIsAloneWaitsForNone) {
  Start("cuda:0");
  EXPECT_EQ(OrderOf({28}), "run 28, give 28");
}

TEST_F(EngineOverlapTest, OnACardTheNextPixelsAreSentWhileAPassRuns) {
  notes_uploads_ = true;
  Start("cuda:0");
  EXPECT_EQ(OrderOf({28, 56, 56, 84}),
            "send 28, run 28, send 56, send 56, run 56, give 28, send 84, run 84, give 56, give 56, give 84");
  EXPECT_EQ(first_numbers_, 1 + 2 + 3);
}

TEST_F(EngineOverlapTest, PixelsThatCannotBeSentFailAloneAndInTheirTurn) {
  notes_uploads_ = true;
  refused_upload_ = 56;
  Start("cuda:0");
  EXPECT_EQ(OrderOf({28, 56, 84}), "send 28, run 28, send 56, send 56, give 28, send 84, fail 56, run 84, give 84");
}

// Callers take turns, so the image that was next need not stay it.
TEST_F(EngineOverlapTest, ACardKeepsThePixelsOfOnePassAlone) {
  notes_uploads_ = true;
  Start("cuda:0");
  const auto submit_of_others = [this] {
    for (const char* caller : {"bob", "cid", "dot"}) Submit(84, 0, caller);
  };
  int sent = 0, passes = 0;
  on_send_ = [&] {
    if (++sent == 5) submit_of_others();
  };
  on_run_ = [&] {
    if (++passes == 2) submit_of_others();
  };
  awaited_ = 11;
  Submit(28, 0, "ada");
  gate_.AwaitArrivals(1);
  for (int image = 0; image < 4; ++image) Submit(84, 0, "ada");
  gate_.Open();
  all_given_.get_future().get();
  engine_.reset();
  EXPECT_EQ(sent, 11 + 2) << "the last two of ada's were sent, given up for others' and sent again";
}

TEST_F(EngineOverlapTest, APassThatFailsIsOverBeforeTheNext) {
  most_ = 1;
  Start("cuda:0");
  EXPECT_EQ(OrderOf({28, 56, 56, 84}), "run 28, run 56, give 28, run 56, give 56, run 56, give 56, run 84, give 84");
}

TEST_F(EngineOverlapTest, WhatHasBeenComputedIsGivenBeforeTheEngineEnds) {
  Start("cuda:0");
  awaited_ = 2;
  Submit(28);
  gate_.AwaitArrivals(1);
  Submit(56);
  gate_.Open();
  engine_.reset();
  EXPECT_EQ(awaited_, 0);
}

}  // namespace
}  // namespace diptych::vision
