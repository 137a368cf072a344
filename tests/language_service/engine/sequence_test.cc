#include "language_service/engine/sequence.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/language_service/engine/engine_fixture.h"
#include "tests/testing/tiny_tokenizer.h"

namespace diptych::language {
namespace {

using testing::EngineQuestion;
using testing::TinyByteToken;

class SequenceTest : public ::testing::Test {
 protected:
  SequenceTest() : model_(testing::LoadServed(checkpoint_.folder())) {}

  Sequence Start(const EngineQuestion& question, SteadyTime deadline = SteadyTime::max()) {
    call_ = std::make_shared<CallContext>(deadline);
    stream_ = std::make_shared<TokenStream>(TokenStream::Reader{.on_delta =
                                                                    [this](TokenDelta delta) {
                                                                      deltas_.push_back(delta.text);
                                                                      stream_->Next();
                                                                    },
                                                                .on_end = nullptr});
    stream_->Next();
    return Sequence({.prompt = *blip2::BuildPrompt({.images = static_cast<int64_t>(question.images.size()),
                                                    .text = question.text,
                                                    .turns = {},
                                                    .max_new_tokens = question.options.max_new_tokens},
                                                   model_.config, *model_.tokenizer),
                     .options = question.options,
                     .images = question.images,
                     .clock = StageClock(SteadyClock::now()),
                     .call = call_,
                     .stream = stream_},
                    model_);
  }

  // [ids, V] logits that make each of `ids` the likeliest of its row.
  at::Tensor Favouring(const std::vector<int64_t>& ids) const {
    at::Tensor logits = at::zeros({static_cast<int64_t>(ids.size()), model_.config.text.vocab_size});
    for (size_t row = 0; row < ids.size(); ++row) logits[static_cast<int64_t>(row)][ids[row]] = 9;
    return logits;
  }

  testing::TinyCheckpoint checkpoint_;
  ServedLanguageModel model_;
  std::shared_ptr<CallContext> call_;
  std::shared_ptr<TokenStream> stream_;
  std::vector<std::string> deltas_;
};

TEST_F(SequenceTest, APromptIsQueryTokensAndThenIdsWhereverItIsCut) {
  const auto a = testing::MadeUpImage(model_, "a"), b = testing::MadeUpImage(model_, "b");
  const Sequence sequence = Start({.text = "why", .options = {}, .images = {a, b}});  // 4 + 4 query tokens, 4 ids
  EXPECT_TRUE(sequence.QueryTokensAt(0, 12).equal(at::cat({a->query_tokens[0], b->query_tokens[0]})));
  EXPECT_EQ(sequence.Ids(0, 0, 12).size(), 4u);
  EXPECT_TRUE(sequence.QueryTokensAt(3, 2).equal(
      at::cat({a->query_tokens[0].narrow(0, 3, 1), b->query_tokens[0].narrow(0, 0, 1)})));
  EXPECT_TRUE(sequence.Ids(0, 3, 2).empty());
  EXPECT_TRUE(sequence.QueryTokensAt(7, 2).equal(b->query_tokens[0].narrow(0, 3, 1)));
  EXPECT_EQ(sequence.Ids(0, 7, 2).size(), 1u);
  EXPECT_FALSE(sequence.QueryTokensAt(9, 3).defined());
  EXPECT_EQ(sequence.Ids(0, 9, 3)[0], TinyByteToken('w'));
}

TEST_F(SequenceTest, TellsTheSchedulerWhatItNeeds) {
  const Sequence sequence = Start(
      {.text = "why", .options = {.max_new_tokens = 5, .num_beams = 3}, .images = {testing::MadeUpImage(model_, "a")}});
  const ScheduledRequest request = sequence.ToScheduled(7);
  EXPECT_EQ(request.id, 7u);
  EXPECT_EQ(request.prompt.size(), 8u);
  EXPECT_EQ(request.image_keys, std::vector<std::string>{"a"});
  EXPECT_EQ(request.max_new_tokens, 5);
  EXPECT_EQ(request.beams, 3);
}

TEST_F(SequenceTest, EndsAfterMaxNewTokens) {
  Sequence sequence = Start({.text = "why", .options = {.max_new_tokens = 2}});
  ASSERT_TRUE(sequence.Accept(Favouring({TinyByteToken('x')}), SteadyClock::now()).ok());
  EXPECT_FALSE(sequence.finished());
  EXPECT_EQ(sequence.last_token(), TinyByteToken('x'));
  ASSERT_TRUE(sequence.Accept(Favouring({TinyByteToken('y')}), SteadyClock::now()).ok());
  ASSERT_TRUE(sequence.finished());
  EXPECT_EQ(deltas_, (std::vector<std::string>{"x", "y"}));
  const GenerateResult result = sequence.TakeResult(/*cached_tokens=*/3);
  EXPECT_EQ(result.text, "xy");
  EXPECT_EQ(result.finish_reason, v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(result.timings.cache_hits().kv_prefix(), 3);
}

TEST_F(SequenceTest, EndsWithTheEndOfSequenceToken) {
  Sequence sequence = Start({});
  ASSERT_TRUE(sequence.Accept(Favouring({2}), SteadyClock::now()).ok());
  ASSERT_TRUE(sequence.finished());
  EXPECT_EQ(sequence.TakeResult(0).finish_reason, v1::FINISH_REASON_STOP);
}

TEST_F(SequenceTest, NamesTheStageInWhichItsDeadlinePassed) {
  Sequence sequence = Start({}, SteadyClock::now());
  const SteadyTime now = SteadyClock::now();
  EXPECT_EQ(sequence.Check(now), DeadlinePassed(Stage::kLanguageQueue));
  sequence.BeginPass(now);
  EXPECT_EQ(sequence.Check(now), DeadlinePassed(Stage::kPrefill));
  ASSERT_TRUE(sequence.Accept(Favouring({TinyByteToken('x')}), SteadyClock::now()).ok());
  EXPECT_EQ(sequence.Check(now), DeadlinePassed(Stage::kDecode));
  call_->Cancel();
  EXPECT_EQ(sequence.Check(now).code(), absl::StatusCode::kCancelled);
}

TEST_F(SequenceTest, WaitingAndRelevanceAreNotDecoding) {
  Sequence sequence = Start({.text = "why", .options = {.max_new_tokens = 2}});
  const SteadyTime start = SteadyClock::now();
  const auto at = [start](int seconds) { return start + std::chrono::seconds(seconds); };
  sequence.BeginPass(at(10));
  ASSERT_TRUE(sequence.Accept(Favouring({TinyByteToken('x')}), at(12)).ok());
  sequence.BeginPass(at(15));
  ASSERT_TRUE(sequence.Accept(Favouring({TinyByteToken('y')}), at(16)).ok());
  sequence.BeginPass(at(20));
  sequence.EndRelevance(at(25));
  const v1::StageTimings timings = sequence.TakeResult(0).timings;
  EXPECT_NEAR(ToSeconds(FromProtoDuration(timings.language_queue())), 10, 1);
  EXPECT_EQ(timings.prefill().seconds(), 2);
  EXPECT_EQ(timings.decode_queue().seconds(), (15 - 12) + (20 - 16));
  EXPECT_EQ(timings.decode().seconds(), 1);
  EXPECT_EQ(timings.relevance().seconds(), 5);
  EXPECT_LT(ToSeconds(FromProtoDuration(timings.first_token())), 1) << "by the clock on the wall";
  EXPECT_GT(timings.decode_tokens_per_second(), 1) << "from the first token to the last, which took no second";
}

TEST_F(SequenceTest, BeamsShowTheirAnswerAtTheEndInOnePiece) {
  Sequence sequence = Start({.text = "why", .options = {.max_new_tokens = 2, .num_beams = 2}});
  ASSERT_TRUE(sequence.Accept(Favouring({TinyByteToken('x')}), SteadyClock::now()).ok());
  EXPECT_FALSE(sequence.finished());
  EXPECT_EQ(sequence.parents().size(), 2u);
  EXPECT_EQ(sequence.Ids(0, 4, 1)[0], TinyByteToken('x'));
  EXPECT_NE(sequence.Ids(1, 4, 1)[0], TinyByteToken('x'));
  EXPECT_TRUE(deltas_.empty());
  ASSERT_TRUE(sequence.Accept(Favouring({TinyByteToken('y'), TinyByteToken('z')}), SteadyClock::now()).ok());
  ASSERT_TRUE(sequence.finished());
  EXPECT_EQ(deltas_, std::vector<std::string>{"xy"});
  EXPECT_EQ(sequence.TakeResult(0).tokens.size(), 2u);
}

TEST_F(SequenceTest, AStopStringCutsTheBeamsAnswer) {
  Sequence sequence = Start({.text = "why", .options = {.max_new_tokens = 2, .num_beams = 2, .stop = {"y"}}});
  ASSERT_TRUE(sequence.Accept(Favouring({TinyByteToken('x')}), SteadyClock::now()).ok());
  ASSERT_TRUE(sequence.Accept(Favouring({TinyByteToken('y'), TinyByteToken('z')}), SteadyClock::now()).ok());
  const GenerateResult result = sequence.TakeResult(0);
  EXPECT_EQ(result.text, "x");
  EXPECT_EQ(result.finish_reason, v1::FINISH_REASON_STOP_STRING);
}

TEST_F(SequenceTest, ScoresThatAreNotFiniteAreAnError) {
  Sequence sequence = Start({});
  EXPECT_EQ(sequence.Accept(Favouring({5}) * std::numeric_limits<float>::quiet_NaN(), SteadyClock::now()).code(),
            absl::StatusCode::kInternal);
  EXPECT_FALSE(sequence.decoding());
}

}  // namespace
}  // namespace diptych::language
