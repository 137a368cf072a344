// An encoder without a wire, whose model a test can bend and hold.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/testing/gate.h"
#include "tests/testing/sample_images.h"
#include "vision_service/encoder.h"

namespace diptych::vision::testing {

using namespace diptych::testing;  // NOLINT: one name for the doubles of this folder and of tests/testing

using Outcome = absl::StatusOr<EncodeResult>;

// Tokens [B, 2, 3] that tell images of 28 pixels apart.
inline at::Tensor TokensOf(const at::Tensor& pixels, int /*merging*/ = 0) {
  return pixels.reshape({-1, 2, 3, 3 * 28 * 28 / 6}).mean(3);
}

class EncoderTest : public ::testing::Test {
 protected:
  struct Caller {
    std::shared_ptr<EncodeWaiter> waiter;
    std::future<Outcome> outcome;
    absl::Status accepted;
  };

  void Start(ServedVisionModel::Encode encode, VisionOptions options = {}, int visual_tokens = 2) {
    ServedVisionModel model;
    model.description.set_fingerprint("f00d");
    model.description.set_dtype("float32");
    model.description.set_patch_size(14);
    model.description.set_image_size(28);
    model.description.set_visual_width(1000);
    model.description.set_visual_tokens(visual_tokens);
    model.encode = std::move(encode);
    model.pin = pin_;
    encoder_ = std::make_unique<Encoder>(options, model);
  }
  // The model waits at the gate in each pass.
  void StartHeld(VisionOptions options = {}, int visual_tokens = 2) {
    Start(
        [this](const at::Tensor& pixels, int) {
          gate_.Pass();
          return TokensOf(pixels);
        },
        options, visual_tokens);
  }

  // Asks for the image shrunk to `side` first: another image for each side.
  Caller Ask(int side, SteadyTime deadline = SteadyTime::max(), v1::NumberType dtype = v1::NUMBER_TYPE_UNSPECIFIED) {
    auto promise = std::make_shared<std::promise<Outcome>>();
    Caller caller{.waiter = std::make_shared<EncodeWaiter>(), .outcome = promise->get_future(), .accepted = {}};
    caller.waiter->arrival = SteadyClock::now();
    caller.waiter->deadline = deadline;
    caller.waiter->done = [promise](Outcome outcome) { promise->set_value(std::move(outcome)); };
    auto memory = encoder_->memory().Take(static_cast<int64_t>(png_.size()));
    if (!memory.ok()) {
      caller.accepted = memory.status();
      return caller;
    }
    caller.accepted = encoder_->Encode({.encoded = png_,
                                        .preparation = {.image_size = 28, .max_side = side},
                                        .memory = *std::move(memory),
                                        .dtype = dtype},
                                       caller.waiter);
    return caller;
  }
  Outcome AskAs(v1::NumberType dtype) { return Ask(8, SteadyTime::max(), dtype).outcome.get(); }

  // One image that is in a pass, and so many others that wait behind it: of the sides 8, 9, … The model waits at the
  // gate.
  std::vector<Caller> AskForOneAndOthers(int others) {
    std::vector<Caller> callers;
    callers.push_back(Ask(8));
    gate_.AwaitArrivals(1);
    for (int side = 9; side < 9 + others; ++side) callers.push_back(Ask(side));
    AwaitInEngine(others);
    return callers;
  }

  // With one image in a pass: until so many others wait behind it.
  void AwaitInEngine(int images) {
    while (encoder_->stats().decoded_images < images + 1 || encoder_->stats().images_waiting < images) {
      std::this_thread::yield();
    }
  }

  // All memory and all places are free.
  void ExpectIdle() {
    while (encoder_->stats().inflight_bytes > 0) std::this_thread::yield();
    const VisionStats stats = encoder_->stats();
    EXPECT_EQ(stats.images_waiting, 0);
    EXPECT_EQ(stats.images_decoding, 0);
  }

  const std::string png_ = GoodPng();
  Gate gate_;
  decltype(ServedVisionModel::pin) pin_;  // of models that start from now on
  std::unique_ptr<Encoder> encoder_;
};

}  // namespace diptych::vision::testing
