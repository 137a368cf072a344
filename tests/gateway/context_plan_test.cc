#include "gateway/context_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "common/status.h"
#include "tests/testing/fake_tiers.h"

namespace diptych::gateway {
namespace {

v1::PlanContextRequest WithImage(int height, int width, int patch_size) {
  v1::PlanContextRequest request;
  auto* image = request.add_images();
  image->set_height(height);
  image->set_width(width);
  request.set_patch_size(patch_size);
  return request;
}

v1::PlanContextResponse Plan(const v1::PlanContextRequest& request, const v1::CountTokensResponse& text = {}) {
  EXPECT_TRUE(CheckPlanRequest(request).ok()) << CheckPlanRequest(request);
  return PlanContext(request, testing::FakeLanguageModel(), text);
}

// The course notebook's formula, (H // P) * (W // P), and the counts it prints.
TEST(ContextPlanTest, CountsPatchesAsTheNotebookDoes) {
  const struct {
    int side, patch, tokens;
  } kNotebook[] = {{224, 16, 196}, {336, 14, 576}, {448, 16, 784}, {448, 14, 1024}, {672, 14, 2304}, {1024, 16, 4096}};
  for (const auto& row : kNotebook) {
    EXPECT_EQ(Plan(WithImage(row.side, row.side, row.patch)).patch_tokens(0), row.tokens)
        << row.side << "/" << row.patch;
  }
  EXPECT_EQ(Plan(WithImage(230, 450, 16)).patch_tokens(0), 14 * 28) << "partial patches don't count";
}

// "Available text budget after image tokens": max(0, window - tokens) for windows of 2048 to 16384.
TEST(ContextPlanTest, LeavesWhatTheNotebookLeavesWithoutAQFormer) {
  v1::PlanContextRequest request = WithImage(672, 672, 14);
  for (const int window : {2048, 4096, 8192, 16384}) request.add_windows(window);
  const v1::PlanContextResponse plan = Plan(request);
  ASSERT_EQ(plan.windows_size(), 4);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(std::max(0, plan.windows(i).remaining_dense()), std::max(0, request.windows(i) - 2304));
    EXPECT_EQ(plan.windows(i).budget().remaining(), request.windows(i) - 32) << "the Q-Former needs 32 tokens";
    EXPECT_EQ(plan.windows(i).budget().dense_patch_tokens(), 2304);
  }
}

TEST(ContextPlanTest, TheServedModelSquashesEveryImageToItsSquare) {
  v1::PlanContextRequest request = WithImage(1000, 300, 0);
  *request.add_images() = request.images(0);
  const v1::PlanContextResponse plan = Plan(request);
  EXPECT_EQ(plan.patch_tokens(0), 256);
  EXPECT_EQ(plan.windows(0).budget().window(), 2048);
  EXPECT_EQ(plan.windows(0).budget().image_tokens(), 64);
  EXPECT_EQ(plan.windows(0).budget().dense_patch_tokens(), 512);
}

TEST(ContextPlanTest, TheBudgetAddsUpToTheWindow) {
  v1::CountTokensResponse text;
  text.set_text_tokens(9);
  text.add_history_pair_tokens(12);
  const v1::PlanContextResponse plan = Plan(WithImage(224, 224, 0), text);
  const v1::ContextBudget& budget = plan.windows(0).budget();
  EXPECT_EQ(budget.image_tokens() + budget.text_tokens() + budget.history_tokens() + budget.remaining(),
            budget.window());
  EXPECT_EQ(budget.history_tokens(), 12);
  EXPECT_EQ(budget.reserved_output(), 20) << "the served default";
  EXPECT_EQ(plan.windows(0).images_that_fit(), (2048 - 9 - 12 - 20) / 32);
  EXPECT_EQ(plan.windows(0).images_that_fit_dense(), (2048 - 9 - 12 - 20) / 256);
}

// A conversation about an image: so many questions with their answers, and the last question.
v1::PlanContextRequest AfterPairs(int pairs) {
  v1::PlanContextRequest request = WithImage(224, 224, 0);
  for (int i = 0; i < 2 * pairs + 1; ++i) {
    v1::Turn* turn = request.add_turns();
    turn->set_role(i % 2 == 0 ? v1::ROLE_USER : v1::ROLE_ASSISTANT);
    turn->set_text("text");
  }
  return request;
}

TEST(ContextPlanTest, LeavesOutTheOldestPairsOfAShortWindow) {
  v1::CountTokensResponse text;
  text.set_text_tokens(10);
  for (const int pair : {30, 20, 10}) text.add_history_pair_tokens(pair);
  v1::PlanContextRequest request = AfterPairs(3);
  request.set_max_new_tokens(8);
  request.add_windows(32 + 10 + 10 + 20 + 8);  // all but the first pair fit, exactly
  request.add_windows(32 + 10 + 10 + 20 + 7);
  const v1::PlanContextResponse plan = Plan(request, text);
  EXPECT_EQ(plan.windows(0).budget().history_tokens(), 30);
  EXPECT_EQ(plan.windows(0).budget().turns_dropped(), 2);
  EXPECT_EQ(plan.windows(1).budget().history_tokens(), 10);
  EXPECT_EQ(plan.windows(1).budget().turns_dropped(), 4);
}

TEST(ContextPlanTest, CountsTheSpaceBetweenPairs) {
  v1::CountTokensResponse text;
  text.set_text_tokens(10);
  for (const int pair : {30, 20}) text.add_history_pair_tokens(pair);
  text.set_joint_tokens(1);
  v1::PlanContextRequest request = AfterPairs(2);
  request.set_max_new_tokens(8);
  request.add_windows(32 + 10 + 1 + 20 + 1 + 30 + 8);
  request.add_windows(32 + 10 + 1 + 20 + 1 + 30 + 7);
  request.add_windows(32 + 10 + 8);
  const v1::PlanContextResponse plan = Plan(request, text);
  EXPECT_EQ(plan.windows(0).budget().text_tokens(), 11) << "the last turn follows others";
  EXPECT_EQ(plan.windows(0).budget().history_tokens(), 51);
  EXPECT_EQ(plan.windows(1).budget().history_tokens(), 20) << "the first pair that is kept has no space before it";
  EXPECT_EQ(plan.windows(2).budget().text_tokens(), 10) << "the last turn stands alone";
  EXPECT_EQ(plan.windows(2).budget().turns_dropped(), 4);
}

TEST(ContextPlanTest, AWindowThatIsTooSmallIsShortByItsNegativeRemainder) {
  v1::PlanContextRequest request = WithImage(224, 224, 14);
  request.add_windows(20);
  const v1::PlanContextResponse plan = Plan(request);
  EXPECT_EQ(plan.windows(0).budget().remaining(), -12);
  EXPECT_EQ(plan.windows(0).images_that_fit(), 0);
}

TEST(ContextPlanTest, TheLargestNumbersAllowedDoNotOverflow) {
  v1::PlanContextRequest request = WithImage(8192, 8192, 1);
  for (int i = 1; i < 16; ++i) *request.add_images() = request.images(0);
  request.add_windows(1);
  EXPECT_EQ(Plan(request).windows(0).remaining_dense(), 1 - 16 * 8192 * 8192);
}

TEST(ContextPlanTest, OnlyArithmeticAloneNeedsNoTokenizer) {
  EXPECT_FALSE(NeedsTokenCount(WithImage(224, 224, 14)));
  EXPECT_TRUE(NeedsTokenCount(WithImage(224, 224, 0))) << "the served model adds its beginning-of-sequence token";
  v1::PlanContextRequest with_text = WithImage(224, 224, 14);
  with_text.set_prompt("hello");
  EXPECT_TRUE(NeedsTokenCount(with_text));
}

struct Fault {
  const char* name;
  std::function<void(v1::PlanContextRequest&)> make;
  const char* field;
};

class PlanFaultTest : public ::testing::TestWithParam<Fault> {};

TEST_P(PlanFaultTest, IsRefusedWithItsField) {
  v1::PlanContextRequest request = WithImage(224, 224, 14);
  GetParam().make(request);
  const absl::Status status = CheckPlanRequest(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FieldOf(status), GetParam().field);
}

const Fault kFaults[] = {
    {"FlatImage", [](auto& r) { r.mutable_images(0)->set_height(0); }, "images"},
    {"HugeImage", [](auto& r) { r.mutable_images(0)->set_width(8193); }, "images"},
    {"ManyImages",
     [](auto& r) {
       for (int i = 0; i < 16; ++i) *r.add_images() = r.images(0);
     },
     "images"},
    {"NegativePatch", [](auto& r) { r.set_patch_size(-1); }, "patch_size"},
    {"NegativeOutput", [](auto& r) { r.set_max_new_tokens(-1); }, "max_new_tokens"},
    {"NoWindow", [](auto& r) { r.add_windows(0); }, "windows"},
    {"HugeWindow", [](auto& r) { r.add_windows((1 << 24) + 1); }, "windows"},
    {"ManyWindows",
     [](auto& r) {
       for (int i = 0; i < 65; ++i) r.add_windows(10);
     },
     "windows"},
    {"LongPrompt", [](auto& r) { r.set_prompt(std::string(65537, 'a')); }, "prompt"},
};
INSTANTIATE_TEST_SUITE_P(Faults, PlanFaultTest, ::testing::ValuesIn(kFaults),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace diptych::gateway
