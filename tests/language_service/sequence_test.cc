#include "language_service/sequence.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/testing/tiny_checkpoint.h"

namespace diptych {
namespace {

class SequenceTest : public ::testing::Test {
 protected:
  SequenceTest() : model_(*LoadLanguageModel(Options())) {
    model_.forward = [this, forward = model_.forward](const at::Tensor& embeddings, blip2::KvCache& cache) {
      ++passes_;
      return forward(embeddings, cache);
    };
  }

  LanguageOptions Options() const {
    LanguageOptions options;
    options.model = checkpoint_.folder();
    return options;
  }

  GenerateWork Work(int64_t max_new_tokens, SteadyTime deadline = SteadyTime::max()) {
    watch_ = std::make_shared<CallWatch>(deadline);
    return {.prompt = *blip2::BuildPrompt({.text = "the cat", .turns = {}, .max_new_tokens = max_new_tokens},
                                          model_.config, *model_.tokenizer),
            .options = {.max_new_tokens = max_new_tokens, .min_new_tokens = max_new_tokens},
            .images = {},
            .clock = StageClock(SteadyClock::now()),
            .watch = watch_,
            .stream = std::make_shared<TokenStream>(TokenStream::Reader{})};
  }

  testing::TinyCheckpoint checkpoint_;
  ServedLanguageModel model_;
  int passes_ = 0;
  std::shared_ptr<CallWatch> watch_;
};

TEST_F(SequenceTest, OnePassGivesOneToken) {
  Sequence sequence(Work(3), model_);
  ASSERT_TRUE(sequence.Prefill().ok());
  EXPECT_FALSE(sequence.finished());
  ASSERT_TRUE(sequence.Decode().ok());
  ASSERT_TRUE(sequence.Decode().ok());
  EXPECT_TRUE(sequence.finished());
  EXPECT_EQ(passes_, 3);
  const GenerateResult result = sequence.TakeResult();
  EXPECT_EQ(result.tokens.size(), 3u);
  EXPECT_EQ(result.finish_reason, v1::FINISH_REASON_LENGTH);
}

TEST_F(SequenceTest, ADeadlineThatPassedInTheQueueCostsNoPass) {
  Sequence sequence(Work(3, SteadyClock::now()), model_);
  const absl::Status status = sequence.Prefill();
  EXPECT_EQ(status, DeadlinePassed("language_queue"));
  EXPECT_EQ(passes_, 0);
}

TEST_F(SequenceTest, ACancelIsSeenBeforeTheNextPass) {
  Sequence sequence(Work(3), model_);
  ASSERT_TRUE(sequence.Prefill().ok());
  watch_->Cancel();
  EXPECT_EQ(sequence.Decode().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(passes_, 1);
}

}  // namespace
}  // namespace diptych
