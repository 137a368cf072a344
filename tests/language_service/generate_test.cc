// Generate of a real language service: what an answer holds, and what is refused before any work.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "blip2/prompt.h"
#include "common/grpc/grpc_status.h"
#include "common/stage_clock.h"
#include "common/status.h"
#include "tests/language_service/language_fixture.h"

namespace diptych::language {
namespace {

using testing::GenerateOutcome;
using testing::RequestWithImage;
using testing::TextRequest;

class GenerateTest : public testing::LanguageFixture {
 protected:
  void StartTrue() {
    StartWithVision([](const v1::EncodeImageRequest& request, int) { return True(request); });
  }

  // Greedy tokens as the parts of the model give them, without any of the service's code.
  std::vector<int> ExpectedTokens(const std::vector<std::string>& encoded, const std::string& prompt, int count) {
    const c10::InferenceMode inference_mode;
    const auto model = LoadLanguageModel(options_);
    const auto built = blip2::BuildPrompt({.images = static_cast<int64_t>(encoded.size()), .text = prompt, .turns = {}},
                                          model->config, *model->tokenizer);
    std::vector<at::Tensor> parts;
    for (const std::string& image : encoded) {
      v1::EncodeImageRequest request;
      request.set_image(image);
      std::string bytes;
      for (const auto& message : True(request).messages) bytes += message.chunk().data();
      parts.push_back(model->project(at::from_blob(bytes.data(), {1, 5, 32}, at::kFloat).clone()));
    }
    const std::vector<int64_t> text(built->ids.begin() + built->budget.image_tokens, built->ids.end());
    parts.push_back(model->embed(text, {}));
    blip2::KvPool pool = model->make_kv_pool(/*blocks=*/1, /*block_tokens=*/128);
    const std::vector<int32_t> blocks = {0};
    std::vector<int> tokens;
    at::Tensor next = at::cat(parts, 1)[0];
    for (int64_t past = 0;;) {
      const blip2::DecoderRow row{.embeddings = next, .past = past, .blocks = blocks, .wants_logits = true};
      tokens.push_back(static_cast<int>(model->forward({&row, 1}, pool).argmax().item<int64_t>()));
      if (tokens.back() == 2 || static_cast<int>(tokens.size()) == count) return tokens;
      past += next.size(0);
      const std::vector<int64_t> chosen = {tokens.back()};
      next = model->embed(chosen, {})[0];
    }
  }

  static std::vector<int> Tokens(const GenerateOutcome& outcome) {
    const auto& ids = outcome.answer().token_ids();
    return {ids.begin(), ids.end()};
  }

  absl::Status Refusal(const std::function<void(v1::Question&)>& change) {
    v1::GenerateRequest request = TextRequest("the cat");
    change(*request.mutable_question());
    return Ask(request).status;
  }
};

TEST_F(GenerateTest, ATextAnswerIsWhatTheModelSays) {
  Start();
  const GenerateOutcome outcome = Ask(TextRequest("the cat"));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(Tokens(outcome), ExpectedTokens({}, "the cat", 20));
}

TEST_F(GenerateTest, ImagesStandBeforeTheTextInTheirOrder) {
  StartTrue();
  v1::GenerateRequest request = RequestWithImage(testing::GoodPng(), "the cat");
  request.mutable_question()->add_images()->set_data(testing::GoodJpeg());
  const GenerateOutcome outcome = Ask(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(Tokens(outcome), ExpectedTokens({testing::GoodPng(), testing::GoodJpeg()}, "the cat", 20));
  EXPECT_EQ(vision_->calls(), 2);
}

TEST_F(GenerateTest, TheStreamIsStartedDeltasFinished) {
  StartTrue();
  const GenerateOutcome outcome = AskImage();
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  ASSERT_GE(outcome.messages.size(), 3u);
  EXPECT_TRUE(outcome.messages.front().has_started());
  for (size_t i = 1; i + 1 < outcome.messages.size(); ++i) EXPECT_TRUE(outcome.messages[i].has_delta());
  EXPECT_TRUE(outcome.messages.back().has_finished());
  EXPECT_EQ(outcome.joined_deltas(), outcome.answer().text());
  EXPECT_EQ(outcome.delta_tokens(), Tokens(outcome));
  EXPECT_EQ(outcome.started().request_id(), outcome.answer().request_id());
  EXPECT_FALSE(outcome.answer().request_id().empty());
}

TEST_F(GenerateTest, BudgetAndUsageAddUp) {
  StartTrue();
  v1::GenerateRequest request = RequestWithImage(testing::GoodPng(), "the cat");
  request.mutable_question()->mutable_generation()->set_max_new_tokens(7);
  request.mutable_question()->set_request_id("mine");
  const GenerateOutcome outcome = Ask(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  const v1::ContextBudget& before = outcome.started().context_budget();
  EXPECT_EQ(before.window(), 128);
  EXPECT_EQ(before.image_tokens(), 4);
  EXPECT_EQ(before.reserved_output(), 7);
  EXPECT_EQ(before.generated(), 0);
  EXPECT_EQ(before.dense_patch_tokens(), 4);
  EXPECT_EQ(before.remaining(), 128 - 4 - before.text_tokens());

  const v1::Answer& answer = outcome.answer();
  EXPECT_EQ(answer.request_id(), "mine");
  EXPECT_EQ(answer.usage().prompt_tokens(), answer.prompt_token_ids_size());
  EXPECT_EQ(answer.usage().prompt_tokens(), 4 + before.text_tokens());
  EXPECT_EQ(answer.usage().completion_tokens(), answer.token_ids_size());
  EXPECT_EQ(answer.usage().total_tokens(), answer.usage().prompt_tokens() + answer.usage().completion_tokens());
  EXPECT_EQ(answer.context_budget().generated(), answer.token_ids_size());
  EXPECT_EQ(answer.context_budget().remaining(), before.remaining() - answer.token_ids_size());
}

TEST_F(GenerateTest, AnotherResolutionCostsNoMoreQueryTokens) {
  StartTrue();
  v1::GenerateRequest request = RequestWithImage(testing::GoodPng(), "");
  request.mutable_question()->mutable_image_options()->set_image_size(56);
  const GenerateOutcome outcome = Ask(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.started().context_budget().image_tokens(), 4);
  EXPECT_EQ(outcome.started().context_budget().dense_patch_tokens(), 16);
}

TEST_F(GenerateTest, StagesAddUpToTheTotal) {
  StartTrue();
  for (const GenerateOutcome& outcome : {AskText(), AskImage()}) {
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    const v1::StageTimings& t = outcome.answer().timings();
    SteadyDuration sum{};
    for (int i = 0; i < static_cast<int>(Stage::kCount); ++i)
      sum += FromProtoDuration(TimeOf(t, static_cast<Stage>(i)));
    sum += FromProtoDuration(t.unattributed());
    EXPECT_EQ(sum, FromProtoDuration(t.total()));
    EXPECT_GT(FromProtoDuration(t.gateway()), SteadyDuration::zero());  // the message was read
    EXPECT_GT(FromProtoDuration(t.tokenize()), SteadyDuration::zero());
    EXPECT_GT(FromProtoDuration(t.prefill()), SteadyDuration::zero());
    EXPECT_GT(FromProtoDuration(t.decode()), SteadyDuration::zero());
    EXPECT_GT(t.decode_tokens_per_second(), 0);
    EXPECT_GT(FromProtoDuration(t.time_to_first_token()), SteadyDuration::zero());
    EXPECT_LE(FromProtoDuration(t.time_to_first_token()), FromProtoDuration(t.total()));
  }
}

TEST_F(GenerateTest, VisionsOwnTimesAreTakenOver) {
  StartWithVision([](const v1::EncodeImageRequest& request, int) {
    auto answer = True(request);
    answer.messages.back().mutable_trailer()->mutable_vit()->set_nanos(1);
    answer.messages.back().mutable_trailer()->mutable_image_decode()->set_nanos(2);
    return answer;
  });
  const v1::StageTimings timings = AskImage().answer().timings();
  EXPECT_EQ(timings.vit().nanos(), 1);
  EXPECT_EQ(timings.image_decode().nanos(), 2);
  EXPECT_GT(FromProtoDuration(timings.token_transfer()), SteadyDuration::zero());
  EXPECT_GT(FromProtoDuration(timings.qformer()), SteadyDuration::zero());
}

TEST_F(GenerateTest, OptionsReachTheModel) {
  Start();
  v1::GenerateRequest request = TextRequest("the cat");
  v1::GenerationOptions& options = *request.mutable_question()->mutable_generation();
  options.set_max_new_tokens(6);
  options.set_min_new_tokens(6);
  options.set_temperature(2);
  options.set_seed(7);
  options.set_logprobs(3);
  const GenerateOutcome first = Ask(request);
  ASSERT_TRUE(first.status.ok()) << first.status;
  EXPECT_EQ(first.answer().token_ids_size(), 6);
  EXPECT_EQ(first.answer().finish_reason(), v1::FINISH_REASON_LENGTH);
  ASSERT_EQ(first.answer().logprobs_size(), 6);
  EXPECT_EQ(first.answer().logprobs(0).chosen().token_id(), first.answer().token_ids(0));
  EXPECT_EQ(first.answer().logprobs(0).top_size(), 3);
  EXPECT_EQ(Tokens(Ask(request)), Tokens(first)) << "the same seed draws the same tokens";
}

TEST_F(GenerateTest, RefusesWhatItDoesNotServe) {
  Start();
  using Q = v1::Question;
  const auto expect_range = [this](const std::string& field, const std::function<void(Q&)>& change) {
    const absl::Status status = Refusal(change);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_EQ(ReasonOf(status), reason::kOptionRange) << field;
    EXPECT_EQ(FieldOf(status), field);
  };
  expect_range("question.generation.num_beams", [](Q& q) { q.mutable_generation()->set_num_beams(9); });
  expect_range("question.generation.temperature", [](Q& q) { q.mutable_generation()->set_temperature(0.0 / 0.0); });
  expect_range("question.generation.top_p", [](Q& q) { q.mutable_generation()->set_top_p(0); });
  expect_range("question.generation.max_new_tokens", [](Q& q) { q.mutable_generation()->set_max_new_tokens(0); });
  expect_range("question.generation.min_new_tokens", [](Q& q) { q.mutable_generation()->set_min_new_tokens(21); });
  expect_range("question.image_options.token_merging",
               [](Q& q) { q.mutable_image_options()->set_token_merging(0.75); });
  expect_range("question.image_options.image_size", [](Q& q) { q.mutable_image_options()->set_image_size(30); });
  expect_range("question.return_relevance", [](Q& q) { q.set_return_relevance(true); });
  expect_range("question.prompt", [](Q& q) { q.set_prompt(std::string((64 << 10) + 1, 'a')); });
  expect_range("question.request_id", [](Q& q) { q.set_request_id(std::string(129, 'a')); });
}

TEST_F(GenerateTest, RefusesAQuestionWithoutForm) {
  Start();
  EXPECT_EQ(ReasonOf(Refusal([](v1::Question& q) { q.clear_prompt(); })), reason::kQuestionForm);
  EXPECT_EQ(ReasonOf(Refusal([](v1::Question& q) { q.add_turns()->set_role(v1::ROLE_USER); })), reason::kQuestionForm);
}

TEST_F(GenerateTest, TextThatIsNotUtf8IsNamed) {
  Start();
  const absl::Status status = Refusal([](v1::Question& q) { q.set_prompt("caf\xe9"); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), reason::kTextEncoding);
  EXPECT_EQ(FieldOf(status), "question.prompt");
}

TEST_F(GenerateTest, AnUnknownModelIsNotFound) {
  Start();
  const absl::Status status = Refusal([](v1::Question& q) { q.set_model("another"); });
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), reason::kModelUnknown);
}

TEST_F(GenerateTest, RefusesImagesBeforeAnyVisionCall) {
  StartTrue();
  for (const testing::RefusedImage& image : testing::RefusedImages()) {
    SCOPED_TRACE(image.name);
    const absl::Status status = Ask(RequestWithImage(image.bytes, "")).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ReasonOf(status), image.reason);
    EXPECT_EQ(FieldOf(status), "question.images[0]");
  }
  v1::GenerateRequest many = TextRequest("");
  for (int i = 0; i < 9; ++i) many.mutable_question()->add_images()->set_data(testing::GoodPng());
  EXPECT_EQ(ReasonOf(Ask(many).status), reason::kTooManyImages);
  EXPECT_EQ(vision_->calls(), 0);
}

TEST_F(GenerateTest, AQuestionThatDoesNotFitMakesNoVisionCall) {
  StartTrue();
  v1::GenerateRequest request = RequestWithImage(testing::GoodPng(), std::string(2000, 'x'));
  absl::Status status = Ask(request).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ReasonOf(status), reason::kContextLengthExceeded);
  request = RequestWithImage(testing::GoodPng(), "the cat");
  request.mutable_question()->mutable_generation()->set_max_new_tokens(2'000'000'000);
  EXPECT_EQ(Ask(request).status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(vision_->calls(), 0);
}

TEST_F(GenerateTest, TheOldestTurnsAreDroppedAndCounted) {
  Start();
  v1::GenerateRequest request;
  for (int i = 0; i < 9; ++i) {
    v1::Turn* turn = request.mutable_question()->add_turns();
    turn->set_role(i % 2 == 0 ? v1::ROLE_USER : v1::ROLE_ASSISTANT);
    turn->set_text("what is this");
  }
  const GenerateOutcome outcome = Ask(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_GT(outcome.started().context_budget().turns_dropped(), 0);
  EXPECT_GT(outcome.started().context_budget().history_tokens(), 0);
}

TEST_F(GenerateTest, CountsTheTokensThatGenerateWouldTake) {
  Start();
  grpc::ClientContext prompt_context, turns_context;
  v1::CountTokensRequest request;
  v1::CountTokensResponse response;
  request.set_prompt("the cat");
  ASSERT_TRUE(stub_->CountTokens(&prompt_context, request, &response).ok());
  EXPECT_EQ(response.text_tokens(), AskText().started().context_budget().text_tokens());

  v1::GenerateRequest generate;
  for (const char* text : {"is it red", "yes", "why"}) {
    v1::Turn* turn = generate.mutable_question()->add_turns();
    turn->set_role(generate.question().turns_size() % 2 == 1 ? v1::ROLE_USER : v1::ROLE_ASSISTANT);
    turn->set_text(text);
  }
  request.clear_prompt();
  *request.mutable_turns() = generate.question().turns();
  ASSERT_TRUE(stub_->CountTokens(&turns_context, request, &response).ok());
  const GenerateOutcome outcome = Ask(generate);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  ASSERT_EQ(response.history_pair_tokens_size(), 1);
  EXPECT_EQ(response.history_pair_tokens(0), outcome.started().context_budget().history_tokens());
}

TEST_F(GenerateTest, EncodesThePromptThatGenerateWouldTake) {
  Start();
  v1::EncodePromptRequest request;
  v1::EncodePromptResponse whole, bare, with_images;
  request.set_prompt("the cat");
  const auto encode = [this, &request](v1::EncodePromptResponse& response) {
    grpc::ClientContext context;
    return stub_->EncodePrompt(&context, request, &response);
  };
  ASSERT_TRUE(encode(whole).ok());
  EXPECT_EQ(whole.token_ids_size(), AskText().started().context_budget().text_tokens());
  request.set_images(2);
  ASSERT_TRUE(encode(with_images).ok());
  const int image_tokens = with_images.token_ids_size() - whole.token_ids_size();
  EXPECT_GT(image_tokens, 0);
  EXPECT_TRUE(
      std::equal(whole.token_ids().begin(), whole.token_ids().end(), with_images.token_ids().begin() + image_tokens));
  request.set_images(0);
  request.set_without_bos(true);
  ASSERT_TRUE(encode(bare).ok());
  EXPECT_EQ(bare.token_ids_size(), whole.token_ids_size() - 1);
  for (const int images : {-1, 9}) {
    request.set_images(images);
    EXPECT_EQ(encode(bare).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(GenerateTest, DecodesTokensOfTheVocabularyAlone) {
  Start();
  v1::DecodeTokensResponse response;
  const auto decode = [this, &response](std::vector<int32_t> ids) {
    grpc::ClientContext context;
    v1::DecodeTokensRequest request;
    request.mutable_token_ids()->Add(ids.begin(), ids.end());
    return FromGrpcStatus(stub_->DecodeTokens(&context, request, &response));
  };
  EXPECT_TRUE(decode({}).ok());
  EXPECT_EQ(response.text(), "");
  for (const int32_t id : {-1, 1 << 20}) {
    const absl::Status status = decode({0, id});
    EXPECT_EQ(ReasonOf(status), reason::kOptionRange);
    EXPECT_EQ(FieldOf(status), "token_ids");
  }
}

TEST_F(GenerateTest, DescribesItsModel) {
  Start();
  grpc::ClientContext context;
  v1::GetLanguageModelResponse response;
  ASSERT_TRUE(stub_->GetLanguageModel(&context, {}, &response).ok());
  const v1::ModelDescription& model = response.model();
  EXPECT_EQ(model.window_tokens(), 128);
  EXPECT_EQ(model.query_tokens(), 4);
  EXPECT_EQ(model.visual_tokens(), 5);
  EXPECT_EQ(model.fingerprint().size(), 64u);
  ASSERT_EQ(model.parts_size(), 3);
  for (const v1::ModelPart& part : model.parts()) EXPECT_EQ(part.bytes(), 4 * part.parameters()) << part.name();
}

}  // namespace
}  // namespace diptych::language
