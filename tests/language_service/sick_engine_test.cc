// An engine that fails, told apart from requests that make it fail.
#include <gtest/gtest.h>

#include <atomic>
#include <span>
#include <stdexcept>
#include <thread>

#include "common/engine_health.h"
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
