// An engine that fails, told apart from requests that make it fail.
#include <ATen/ATen.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>

#include "common/status.h"
#include "common/tiers/engine_health.h"
#include "tests/language_service/language_fixture.h"

namespace diptych::language {
namespace {

class SickEngineTest : public testing::LanguageFixture {
 protected:
  void FailOften() {
    for (int i = 0; i < 2 * EngineHealth::kFailuresBeforeTrial; ++i) {
      EXPECT_EQ(AskText().status.code(), absl::StatusCode::kInternal);
    }
  }
};

TEST_F(SickEngineTest, ADecoderThatAlwaysFailsIsSick) {
  Start([](ServedLanguageModel& model) {
    model.forward = [](auto, auto&) -> at::Tensor { throw std::runtime_error("the device is gone"); };
  });
  EXPECT_TRUE(server_->health().ok());
  FailOften();
  EXPECT_EQ(server_->health().code(), absl::StatusCode::kUnavailable);
}

TEST_F(SickEngineTest, ADecoderWhoseScoresAreNeverFiniteIsSickWhateverImagesAreRead) {
  StartWithVision([](const v1::EncodeImageRequest& request, int) { return True(request); },
                  [](ServedLanguageModel& model) {
                    model.forward = [whole = model.forward](std::span<const blip2::DecoderRow> rows,
                                                            blip2::KvPool& pool) {
                      return at::full_like(whole(rows, pool), NAN);
                    };
                  });
  for (int i = 0; i < 2 * EngineHealth::kFailuresBeforeTrial; ++i) {
    const auto request = testing::RequestWithImage(testing::GoodPng() + std::to_string(i), "the cat");
    EXPECT_EQ(Ask(request).status.code(), absl::StatusCode::kInternal);
  }
  EXPECT_EQ(server_->health().code(), absl::StatusCode::kUnavailable);
}

TEST_F(SickEngineTest, AProjectionThatIsNeverFiniteIsSick) {
  StartWithVision([](const v1::EncodeImageRequest& request, int) { return True(request); },
                  [](ServedLanguageModel& model) {
                    model.project = [whole = model.project](const at::Tensor& tokens) {
                      return at::full_like(whole(tokens), NAN);
                    };
                  });
  for (int i = 0; i < EngineHealth::kFailuresBeforeTrial; ++i) {
    EXPECT_EQ(AskImage().status.code(), absl::StatusCode::kInternal);
  }
  while (server_->health().ok()) std::this_thread::yield();
}

TEST_F(SickEngineTest, RequestsThatMakeItFailAreNoSickness) {
  Start([](ServedLanguageModel& model) {
    model.forward = [whole = model.forward](std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool) {
      if (rows[0].embeddings.size(0) > 1) throw std::runtime_error("a prompt that cannot be read");
      return whole(rows, pool);
    };
  });
  FailOften();
  EXPECT_TRUE(server_->health().ok()) << server_->health();
}

[[noreturn]] void ThrowLost() {
  throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 700, "CUDA error: an illegal memory access was met");
}

[[noreturn]] void ThrowOutOfMemory() {
  throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "CUDA out of memory. Tried to allocate 20 GiB");
}

TEST_F(SickEngineTest, ALostDeviceIsSicknessAtOnceAndTheQuestionMayGoElsewhere) {
  std::atomic<int> passes = 0;
  Start([&passes](ServedLanguageModel& model) {
    model.forward = [&passes](auto, auto&) -> at::Tensor {
      ++passes;
      ThrowLost();
    };
  });
  const absl::Status status = AskText().status;
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), reason::kDeviceLost);
  EXPECT_EQ(server_->health().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(passes, 1) << "the lost device was asked again";
}

TEST_F(SickEngineTest, ADeviceThatIsLostWhileAnImageIsProjectedIsSickness) {
  StartWithVision(
      [](const v1::EncodeImageRequest& request, int) { return True(request); },
      [](ServedLanguageModel& model) { model.project = [](const at::Tensor&) -> at::Tensor { ThrowLost(); }; });
  EXPECT_EQ(ReasonOf(AskImage().status), reason::kDeviceLost);
  EXPECT_FALSE(server_->health().ok());
}

TEST_F(SickEngineTest, NoRoomOnTheDeviceEndsTheRequestThatAskedForItAndNothingElse) {
  Start([](ServedLanguageModel& model) {
    model.forward = [whole = model.forward](std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool) {
      for (const auto& row : rows) {
        if (row.embeddings.size(0) > 8) ThrowOutOfMemory();
      }
      return whole(rows, pool);
    };
  });
  for (int i = 0; i < 2 * EngineHealth::kFailuresBeforeTrial; ++i) {
    const absl::Status status =
        Ask(testing::TextRequest("the cat and the dog and the cat and the dog and the cat")).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(ReasonOf(status), reason::kOutOfMemory);
    EXPECT_TRUE(AskText().status.ok());
  }
  EXPECT_TRUE(server_->health().ok()) << server_->health();
}

TEST_F(SickEngineTest, APassThatDoesNotEndIsSickness) {
  options_.longest_pass = absl::Milliseconds(50);
  std::atomic<bool> go_on = false;
  Start([&](ServedLanguageModel& model) {
    model.forward = [&go_on, whole = model.forward](std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool) {
      while (!go_on) std::this_thread::yield();
      return whole(rows, pool);
    };
  });
  std::thread caller([this] { AskText(); });
  while (server_->health().ok()) std::this_thread::yield();
  EXPECT_EQ(server_->health().code(), absl::StatusCode::kUnavailable);
  go_on = true;
  caller.join();
}

}  // namespace
}  // namespace diptych::language
