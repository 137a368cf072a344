#include "language_service/answer_messages.h"

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <span>

namespace diptych::language {
namespace {

v1::ContextBudget Budget(const AnswerHead& head, int64_t generated) {
  const blip2::PromptBudget& prompt = head.prompt.budget;
  const int64_t taken = prompt.image_tokens + prompt.text_tokens + prompt.history_tokens + generated;
  v1::ContextBudget budget;
  budget.set_window(static_cast<int>(prompt.window));
  budget.set_image_tokens(static_cast<int>(prompt.image_tokens));
  budget.set_text_tokens(static_cast<int>(prompt.text_tokens));
  budget.set_history_tokens(static_cast<int>(prompt.history_tokens));
  budget.set_reserved_output(static_cast<int>(prompt.reserved_output));
  budget.set_generated(static_cast<int>(generated));
  budget.set_remaining(static_cast<int>(prompt.window - taken));
  budget.set_turns_dropped(static_cast<int>(prompt.turns_dropped));
  budget.set_dense_patch_tokens(head.dense_patch_tokens);
  return budget;
}

v1::Usage UsageOf(const AnswerHead& head, const GenerateResult& result) {
  const auto generated = static_cast<int64_t>(result.tokens.size()) + result.discarded_tokens;
  const auto prompt_tokens = static_cast<int64_t>(head.prompt.ids.size());
  v1::Usage usage;
  usage.set_prompt_tokens(static_cast<int>(prompt_tokens));
  usage.set_completion_tokens(static_cast<int>(generated));
  usage.set_total_tokens(static_cast<int>(prompt_tokens + generated));
  usage.set_cached_tokens(result.timings.cache_hits().kv_prefix());
  return usage;
}

void FillLogprob(const AnswerHead& head, int64_t id, float logprob, v1::TokenLogprob& message) {
  message.set_token_id(static_cast<int>(id));
  message.set_logprob(logprob);
  message.set_text(std::string(head.tokenizer->BytesOf(id)));
}

void FillStep(const AnswerHead& head, const blip2::ChosenToken& token, v1::StepLogprobs& step) {
  FillLogprob(head, token.id, token.logprob, *step.mutable_chosen());
  for (const blip2::TokenLogprob& top : token.top) FillLogprob(head, top.id, top.logprob, *step.add_top());
}

// Works for Delta and Answer, which have the same two fields. Of the first `begun` tokens only the ids are known.
template <typename Message>
void FillTokens(const AnswerHead& head, std::span<const blip2::ChosenToken> tokens, int64_t begun, Message& message) {
  for (const blip2::ChosenToken& token : tokens) message.add_token_ids(static_cast<int>(token.id));
  if (!head.logprobs) return;
  for (const blip2::ChosenToken& token : tokens.subspan(begun)) FillStep(head, token, *message.add_logprobs());
}

void FillRelevance(const AnswerRelevance& relevance, v1::Answer& answer) {
  const float* share = relevance.image_share.const_data_ptr<float>();
  for (int64_t token = 0; token < relevance.image_share.size(0); ++token) {
    v1::TokenRelevance& message = *answer.add_relevance();
    message.set_image_share(share[token]);
    for (const at::Tensor& image : relevance.images) {
      const int64_t patches = image.size(1);
      const auto side = static_cast<int>(std::lround(std::sqrt(static_cast<double>(patches))));
      const float* values = image.const_data_ptr<float>() + token * patches;
      v1::FloatGrid& grid = *message.add_images();
      grid.set_rows(side);
      grid.set_columns(side);
      grid.mutable_values()->Add(values, values + patches);
    }
  }
}

}  // namespace

v1::GenerateResponse StartedMessage(const AnswerHead& head) {
  v1::GenerateResponse message;
  v1::Started* started = message.mutable_started();
  *started->mutable_context_budget() = Budget(head, head.begun);
  started->set_request_id(head.request_id);
  started->set_model(head.model);
  return message;
}

v1::GenerateResponse DeltaMessage(const AnswerHead& head, const TokenDelta& delta) {
  v1::GenerateResponse message;
  message.mutable_delta()->set_text(delta.text);
  FillTokens(head, delta.tokens, 0, *message.mutable_delta());
  for (const auto& token : delta.prompt_scores) FillStep(head, token, *message.mutable_delta()->add_prompt_logprobs());
  return message;
}

v1::GenerateResponse FinishedMessage(const AnswerHead& head, const GenerateResult& result) {
  const auto generated = static_cast<int64_t>(result.tokens.size());
  v1::GenerateResponse message;
  v1::Answer* answer = message.mutable_finished();
  answer->set_text(result.text);
  FillTokens(head, result.tokens, head.begun, *answer);
  for (const auto& token : result.prompt_scores) FillStep(head, token, *answer->add_prompt_logprobs());
  for (const int64_t id : head.prompt.ids) answer->add_prompt_token_ids(static_cast<int>(id));
  if (result.relevance) FillRelevance(*result.relevance, *answer);
  answer->set_finish_reason(result.finish_reason);
  *answer->mutable_usage() = UsageOf(head, result);
  *answer->mutable_timings() = result.timings;
  answer->mutable_timings()->mutable_cache_hits()->set_vision_tokens(head.vision_hits);
  answer->mutable_timings()->mutable_cache_hits()->set_projected_tokens(head.projected_hits);
  *answer->mutable_context_budget() = Budget(head, generated);
  answer->set_model(head.model);
  answer->set_request_id(head.request_id);
  return message;
}

}  // namespace diptych::language
