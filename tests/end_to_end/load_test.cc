// Many requests of every kind at once: each ends with its answer or with a status that says why not.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

#include "tests/end_to_end/stack.h"
#include "tests/testing/mixed_load.h"

namespace diptych {
namespace {

using testing::LoadTally;
using testing::Stack;

constexpr int kRequests = 200;
// The model, libraries and threads take less than half of it.
constexpr double kMaxMegabytes = 1500;

void ExpectNoFault(const LoadTally& tally) {
  EXPECT_EQ(tally.wrong, 0) << tally.first_fault;
  EXPECT_EQ(tally.other, 0) << tally.first_fault;
  EXPECT_EQ(tally.late, 0);
  EXPECT_EQ(tally.answered + tally.refused + tally.past_deadline + tally.cancelled, kRequests);
}

// What the tiers say they hold for requests, in words; empty if nothing.
std::string Held(Stack& stack) {
  grpc::ClientContext context;
  v1::GetModelResponse response;
  const grpc::Status status = stack.stub().GetModel(&context, {}, &response);
  if (!status.ok()) return status.error_message();
  std::string held;
  for (const v1::TierStatus& tier : response.tiers()) {
    const v1::TierLoad& load = tier.load();
    if (!tier.serving() || load.running() + load.waiting() + load.inflight_bytes() > 0 || load.kv_cache_usage() > 0) {
      held += tier.ShortDebugString() + "\n";
    }
  }
  return held;
}

// Callers that left are noticed between two steps, so this may take a moment.
void ExpectNothingHeld(Stack& stack) {
  std::string held = Held(stack);
  for (int tries = 0; !held.empty() && tries < 500; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    held = Held(stack);
  }
  EXPECT_EQ(held, "");
}

void ExpectItGoesOn(Stack& stack) {
  ExpectNothingHeld(stack);
  const auto answer =
      stack.Ask(testing::QuestionAbout(testing::Sample("red_circle_blue_star.png"), "What color is the circle?"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->text(), "red");
  for (testing::ServerProcess* server : {&stack.gateway(), &stack.language(), &stack.vision()}) {
    const double peak = testing::PeakMegabytes(server->process().pid());
    EXPECT_GT(peak, 0);
    EXPECT_LT(peak, kMaxMegabytes);
  }
}

TEST(LoadTest, WithRoomForAllTwoHundredMixedRequestsAreAnswered) {
  Stack stack({.tier_flags = {"--queue_limit=256"}});
  const LoadTally tally = testing::RunMixedLoad(stack.stub(), {.requests = kRequests});
  ExpectNoFault(tally);
  EXPECT_EQ(tally.refused, 0);
  ExpectItGoesOn(stack);
}

TEST(LoadTest, WithRoomForFewTheRestIsToldWhenToComeBack) {
  Stack stack({.gateway_flags = {"--max_inflight=16"}});
  const LoadTally tally = testing::RunMixedLoad(stack.stub(), {.requests = kRequests});
  ExpectNoFault(tally);
  EXPECT_GT(tally.refused, 0);
  EXPECT_GT(tally.answered, 0);
  ExpectItGoesOn(stack);
}

TEST(LoadTest, ThoseWhoComeBackAreAnsweredInTheEnd) {
  Stack stack({.gateway_flags = {"--max_inflight=32"}});
  const LoadTally tally = testing::RunMixedLoad(stack.stub(), {.requests = kRequests, .patient = true});
  ExpectNoFault(tally);
  EXPECT_EQ(tally.refused, 0);
  ExpectItGoesOn(stack);
}

}  // namespace
}  // namespace diptych
