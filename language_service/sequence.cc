#include "language_service/sequence.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/status.h"

namespace diptych {
namespace {

double Seconds(SteadyDuration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

Sequence::Sequence(GenerateWork work, const ServedLanguageModel& model)
    : model_(model),
      work_(std::move(work)),
      selector_(work_.options, model.config.text.eos_token_ids),
      text_(*model.tokenizer, work_.options.stop),
      context_(work_.prompt.ids) {}

absl::Status Sequence::Prefill() {
  DIPTYCH_RETURN_IF_ERROR(work_.watch->Check("language_queue"));
  const at::Tensor embeddings = EmbedPrompt();
  cache_ = model_.make_cache(static_cast<int64_t>(context_.size()) + work_.options.max_new_tokens);
  return Step(embeddings, Stage::kPrefill);
}

absl::Status Sequence::Decode() {
  DIPTYCH_RETURN_IF_ERROR(work_.watch->Check("decode"));
  return Step(model_.embed(std::span(context_).last(1)), Stage::kDecode);
}

at::Tensor Sequence::EmbedPrompt() const {
  std::vector<at::Tensor> parts;
  for (const auto& image : work_.images) parts.push_back(image->query_tokens);
  // The pictures' placeholders stand first; what follows is text.
  parts.push_back(model_.embed(std::span(context_).subspan(work_.prompt.budget.image_tokens)));
  return at::cat(parts, 1);
}

absl::Status Sequence::Step(const at::Tensor& embeddings, Stage stage) {
  const at::Tensor logits = model_.forward(embeddings, cache_);
  DIPTYCH_ASSIGN_OR_RETURN(blip2::ChosenToken token,
                           selector_.Choose(logits, context_, static_cast<int64_t>(tokens_.size())));
  work_.clock.Lap(stage, SteadyClock::now());
  Take(std::move(token));
  work_.clock.Lap(Stage::kDetokenize, SteadyClock::now());
  return absl::OkStatus();
}

void Sequence::Take(blip2::ChosenToken token) {
  context_.push_back(token.id);
  tokens_.push_back(token);
  TokenDelta delta{.text = text_.Push(token.id), .tokens = {}};
  delta.tokens.push_back(std::move(token));
  finish_reason_ = StopAfter(context_.back());
  if (finished()) delta.text += text_.Finish();
  if (!first_text_ && (finished() || !delta.text.empty())) first_text_ = SteadyClock::now();
  work_.stream->Push(std::move(delta));
}

v1::FinishReason Sequence::StopAfter(int64_t token) const {
  const auto& ends = model_.config.text.eos_token_ids;
  if (text_.stop_string_found()) return v1::FINISH_REASON_STOP_STRING;
  if (std::find(ends.begin(), ends.end(), token) != ends.end()) return v1::FINISH_REASON_STOP;
  const bool enough = static_cast<int64_t>(tokens_.size()) >= work_.options.max_new_tokens;
  const bool window_full = static_cast<int64_t>(context_.size()) >= work_.prompt.budget.window;
  if (enough || window_full) return v1::FINISH_REASON_LENGTH;
  return v1::FINISH_REASON_UNSPECIFIED;
}

GenerateResult Sequence::TakeResult() {
  GenerateResult result;
  result.text = text_.text();
  result.finish_reason = finish_reason_;
  const auto later_tokens = static_cast<double>(tokens_.size()) - 1;
  const double decode_seconds = Seconds(work_.clock.spent(Stage::kDecode));
  result.tokens = std::move(tokens_);
  result.timings = work_.clock.ToProto(SteadyClock::now());
  *result.timings.mutable_time_to_first_token() = ToProtoDuration(*first_text_ - work_.clock.start());
  if (decode_seconds > 0) result.timings.set_decode_tokens_per_second(later_tokens / decode_seconds);
  return result;
}

}  // namespace diptych
