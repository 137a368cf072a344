#include "language_service/engine/sequence.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "blip2/decoding/token_scores.h"
#include "common/status.h"

namespace diptych::language {

Sequence::Sequence(GenerateWork work, const ServedLanguageModel& model)
    : work_(std::move(work)),
      ending_tokens_(blip2::EndingTokens(work_.options, model.config.text.eos_token_ids)),
      selector_(work_.options, ending_tokens_),
      text_(*model.tokenizer, work_.options.stop),
      context_(work_.prompt.ids) {
  if (work_.options.num_beams > 1) {
    beams_.emplace(work_.options, ending_tokens_, work_.prompt.ids);
  }
  TakeBegun();
}

void Sequence::TakeBegun() {
  if (work_.begun.empty()) return;
  TokenDelta shown_before;
  for (const int64_t id : work_.begun) Take({.id = id}, shown_before);
  selector_.Skip(answer_tokens());
  shown_ = true;
  first_text_ = work_.clock.start();
}

ScheduledRequest Sequence::ToScheduled(uint64_t id) const {
  ScheduledRequest request{.id = id,
                           .prompt = context_,
                           .cache_salt = work_.cache_salt,
                           .max_new_tokens = work_.options.max_new_tokens - answer_tokens(),
                           .beams = static_cast<int>(work_.options.num_beams),
                           .scores_prompt = work_.options.prompt_logprobs.has_value(),
                           .deadline = work_.call->deadline()};
  for (const auto& image : work_.images) request.image_keys.push_back(image->key);
  return request;
}

absl::Status Sequence::Check(SteadyTime now) const {
  return work_.call->Check(started_ ? stage() : Stage::kLanguageQueue, now);
}

at::Tensor Sequence::QueryTokensAt(int64_t past, int64_t tokens) const {
  const int64_t end = std::min(past + tokens, work_.prompt.budget.image_tokens);
  std::vector<at::Tensor> parts;
  int64_t begin = 0;  // of the current image
  for (const auto& image : work_.images) {
    const at::Tensor queries = image->query_tokens[0];
    const int64_t from = std::max(past - begin, int64_t{0});
    const int64_t to = std::min(end - begin, queries.size(0));
    if (from < to) parts.push_back(queries.narrow(0, from, to - from));
    begin += queries.size(0);
  }
  return parts.empty() ? at::Tensor() : at::cat(parts);
}

std::span<const int64_t> Sequence::Ids(int beam, int64_t past, int64_t tokens) const {
  if (!beam_step_.tokens.empty()) return std::span(beam_step_.tokens).subspan(beam, 1);
  const int64_t from = std::max(past, work_.prompt.budget.image_tokens);
  const int64_t end = std::min(past + tokens, static_cast<int64_t>(context_.size()));
  return std::span(context_).subspan(from, std::max(end - from, int64_t{0}));
}

void Sequence::BeginPass(SteadyTime now) {
  started_ = true;
  work_.clock.Lap(queue(), now);
}

void Sequence::EndChunk(SteadyTime now) {
  work_.clock.Lap(stage(), now);
}

absl::Status Sequence::ScorePrompt(int64_t past, const at::Tensor& logits) {
  const std::vector<int64_t>& ids = work_.prompt.ids;
  const int64_t images = work_.prompt.budget.image_tokens;
  if (images == 0 && prompt_scores_.empty()) prompt_scores_.push_back({.id = ids[0]});
  const int64_t known = images + static_cast<int64_t>(prompt_scores_.size());  // the first token without a score
  const int64_t from = std::max(past, known - 1);
  const int64_t to = std::min(past + logits.size(0), prompt_tokens() - 1);
  if (from >= to) return absl::OkStatus();
  DIPTYCH_ASSIGN_OR_RETURN(
      std::vector<blip2::ChosenToken> scores,
      blip2::ScoreTokens(logits.narrow(0, from - past, to - from), std::span(ids).subspan(from + 1, to - from),
                         *work_.options.prompt_logprobs));
  std::move(scores.begin(), scores.end(), std::back_inserter(prompt_scores_));
  return absl::OkStatus();
}

void Sequence::EndRelevance(SteadyTime now) {
  work_.clock.Lap(Stage::kRelevance, now);
}

// Between the pass and its choice the sequence waits for those of others.
void Sequence::EndPass(SteadyTime now) {
  work_.clock.Lap(stage(), now);
  work_.clock.Lap(queue(), SteadyClock::now());
}

absl::Status Sequence::Accept(const at::Tensor& logits, SteadyTime pass_end) {
  EndPass(pass_end);
  if (finished()) return absl::OkStatus();  // what was begun is all
  if (work_.options.max_new_tokens == 0) return AcceptNothing();
  if (beams_) return AcceptBeams(logits);
  return AcceptToken(selector_.Choose(logits[0], context_, answer_tokens()));
}

std::optional<blip2::RowChoice> Sequence::ToChoice(const at::Tensor& logits) const {
  if (finished() || beams_ || work_.options.max_new_tokens == 0) return std::nullopt;
  return blip2::RowChoice{
      .logits = logits,
      .options = &work_.options,
      .edits = blip2::ScoreEdits(work_.options, ending_tokens_, context_, answer_tokens() + expected_, logits.size(1)),
      .draw = selector_.NextDraw(expected_)};
}

bool Sequence::may_run_ahead() const {
  return !beams_ && !blip2::DependsOnTokens(work_.options);
}

absl::Status Sequence::AcceptChosen(absl::StatusOr<blip2::ChosenToken> token, SteadyTime pass_end) {
  if (expected_ > 0) --expected_;
  EndPass(pass_end);
  selector_.Skip(1);
  return AcceptToken(std::move(token));
}

absl::Status Sequence::AcceptNothing() {
  finish_reason_ = v1::FINISH_REASON_LENGTH;
  Show({});
  return absl::OkStatus();
}

absl::Status Sequence::AcceptToken(absl::StatusOr<blip2::ChosenToken> token) {
  DIPTYCH_RETURN_IF_ERROR(token.status());
  Chosen();
  TokenDelta delta;
  Take(*std::move(token), delta);
  Show(std::move(delta));
  return absl::OkStatus();
}

// Beams may change their past up to the end, so nothing is shown before.
absl::Status Sequence::AcceptBeams(const at::Tensor& logits) {
  DIPTYCH_ASSIGN_OR_RETURN(beam_step_, beams_->Advance(logits));
  Chosen();
  if (!beams_->finished()) return absl::OkStatus();
  TokenDelta delta;
  for (blip2::ChosenToken& token : beams_->best()) {
    Take(std::move(token), delta);
    if (finished()) break;
  }
  Show(std::move(delta));
  return absl::OkStatus();
}

void Sequence::Chosen() {
  last_token_ = SteadyClock::now();
  work_.clock.Lap(stage(), last_token_);
  if (passes_++ == 0) first_token_ = last_token_;
}

void Sequence::Take(blip2::ChosenToken token, TokenDelta& delta) {
  context_.push_back(token.id);
  if (!IsStopToken(token.id)) delta.text += text_.Push(token.id);
  tokens_.push_back(token);
  delta.tokens.push_back(std::move(token));
  finish_reason_ = StopAfter(context_.back());
  if (finished()) delta.text += text_.Finish();
}

void Sequence::Show(TokenDelta delta) {
  const SteadyTime now = SteadyClock::now();
  if (!std::exchange(shown_, true)) delta.prompt_scores = prompt_scores_;
  if (!first_text_ && (finished() || !delta.text.empty())) first_text_ = now;
  work_.clock.Lap(Stage::kDetokenize, now);
  work_.stream->Push(std::move(delta));
  work_.clock.Lap(Stage::kDelivery, SteadyClock::now());
}

bool Sequence::IsStopToken(int64_t token) const {
  const auto& stops = work_.options.stop_token_ids;
  return std::find(stops.begin(), stops.end(), token) != stops.end();
}

v1::FinishReason Sequence::StopAfter(int64_t token) const {
  if (text_.stop_string_found()) return v1::FINISH_REASON_STOP_STRING;
  if (std::find(ending_tokens_.begin(), ending_tokens_.end(), token) != ending_tokens_.end()) {
    return v1::FINISH_REASON_STOP;
  }
  const bool enough = static_cast<int64_t>(tokens_.size()) >= work_.options.max_new_tokens;
  const bool window_full = static_cast<int64_t>(context_.size()) >= work_.prompt.budget.window;
  if (enough || window_full) return v1::FINISH_REASON_LENGTH;
  return v1::FINISH_REASON_UNSPECIFIED;
}

GenerateResult Sequence::TakeResult(int64_t cached_tokens) {
  GenerateResult result;
  result.text = text_.text();
  result.finish_reason = finish_reason_;
  const auto later_tokens = static_cast<double>(tokens_.size() - work_.begun.size()) - 1;
  const double seconds = ToSeconds(last_token_ - first_token_);
  result.tokens = std::move(tokens_);
  result.prompt_scores = std::move(prompt_scores_);
  result.timings = work_.clock.ToProto(SteadyClock::now());
  *result.timings.mutable_time_to_first_token() = ToProtoDuration(*first_text_ - work_.clock.start());
  const int64_t cached_of_prompt = std::min(cached_tokens, prompt_tokens());
  result.timings.mutable_cache_hits()->set_kv_prefix(static_cast<int32_t>(cached_of_prompt));
  if (passes_ > 0) *result.timings.mutable_first_token() = ToProtoDuration(first_token_ - work_.clock.start());
  if (seconds > 0) result.timings.set_decode_tokens_per_second(later_tokens / seconds);
  return result;
}

}  // namespace diptych::language
