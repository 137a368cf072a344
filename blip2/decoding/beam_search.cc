#include "blip2/decoding/beam_search.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <span>
#include <utility>

#include "blip2/decoding/batch_choice.h"
#include "blip2/decoding/token_scores.h"
#include "blip2/device/transfer.h"

namespace diptych::blip2 {
namespace {

// Row `i` of a contiguous float32 [rows, V] on the CPU.
std::span<const float> Row(const at::Tensor& tensor, int64_t i) {
  return {tensor.const_data_ptr<float>() + i * tensor.size(1), static_cast<size_t>(tensor.size(1))};
}

}  // namespace

BeamSearch::BeamSearch(const GenerationOptions& options, std::vector<int64_t> ending_token_ids,
                       std::vector<int64_t> prompt_ids)
    : options_(options), ending_token_ids_(std::move(ending_token_ids)), prompt_ids_(std::move(prompt_ids)) {}

absl::StatusOr<BeamSearch::Step> BeamSearch::Advance(const at::Tensor& logits) {
  if (logits.dim() != 2 || logits.size(0) != static_cast<int64_t>(beams_.size()) || logits.size(1) == 0) {
    return absl::InternalError("logits are not [beams, V]");
  }
  const c10::InferenceMode inference;
  const at::Tensor logprobs = at::log_softmax(logits.to(at::kFloat), /*dim=*/1);
  const at::Tensor totals = Totals(logprobs).flatten();
  // Every beam may end in each end-of-sequence token; num_beams that live on are left even then.
  const int64_t wanted = options_.num_beams * std::max<int64_t>(2, 1 + static_cast<int64_t>(ending_token_ids_.size()));
  const at::Tensor candidates = Candidates(logits, totals, std::min(wanted, totals.numel()));
  const double best = candidates.const_data_ptr<double>()[0];
  if (std::isnan(best)) return absl::InternalError("the model's scores for the next token are not finite");
  if (!std::isfinite(best)) return absl::InternalError("no token may follow");
  return Take(candidates, logits.size(1), options_.logprobs > 0 ? Download(logprobs).contiguous() : at::Tensor());
}

at::Tensor BeamSearch::Candidates(const at::Tensor& logits, const at::Tensor& totals, int64_t count) {
  const auto [values, places] = at::topk(totals, count);
  const at::Tensor sound = logits.isfinite().all();
  const at::Tensor told =
      values.to(at::kDouble).masked_fill(sound.logical_not(), std::numeric_limits<double>::quiet_NaN());
  return Download(at::stack({told, places.to(at::kDouble)}));
}

std::vector<int64_t> BeamSearch::Context(const Beam& beam) const {
  std::vector<int64_t> context = prompt_ids_;
  for (int node = beam.node; node >= 0; node = nodes_[node].parent) context.push_back(nodes_[node].token.id);
  std::reverse(context.begin() + static_cast<int64_t>(prompt_ids_.size()), context.end());
  return context;
}

at::Tensor BeamSearch::Totals(const at::Tensor& logprobs) const {
  BatchEdits edits;
  std::vector<double> scores;
  for (size_t i = 0; i < beams_.size(); ++i) {
    edits.Add(static_cast<int64_t>(i), logprobs.size(1),
              ScoreEdits(options_, ending_token_ids_, Context(beams_[i]), generated_, logprobs.size(1)));
    scores.push_back(beams_[i].score);
  }
  UploadBatch batch;
  at::Tensor so_far;
  batch.Add(scores, so_far, {-1, 1});
  edits.AddTo(batch);
  batch.Send(logprobs.device());
  const at::Tensor totals = logprobs.clone();
  edits.Apply(totals);
  return totals.add_(so_far.to(at::kFloat));
}

BeamSearch::Step BeamSearch::Take(const at::Tensor& candidates, int64_t vocab_size, const at::Tensor& logprobs) {
  const double* totals = candidates.const_data_ptr<double>();
  const int64_t count = candidates.size(1);
  const int64_t width = options_.num_beams;
  const bool last = ++generated_ >= options_.max_new_tokens;
  std::vector<Beam> live;
  Step step;
  for (int64_t rank = 0; rank < count && std::isfinite(totals[rank]); ++rank) {
    const auto place = static_cast<int64_t>(totals[count + rank]);
    const int64_t parent = place / vocab_size;
    const int64_t id = place % vocab_size;
    const auto total = static_cast<float>(totals[rank]);
    const bool ends = last || EndsSequence(id);
    // Of those that end, only the best num_beams of all candidates count.
    if (ends ? rank >= width : std::ssize(live) >= width) continue;
    Node node{.parent = beams_[parent].node, .token = {.id = id}};
    if (logprobs.defined()) AddLogprobs(Row(logprobs, parent), options_.logprobs, node.token);
    nodes_.push_back(std::move(node));
    const int index = static_cast<int>(nodes_.size()) - 1;
    if (ends) {
      AddFinished(index, total);
    } else {
      live.push_back({.node = index, .score = total});
      step.parents.push_back(static_cast<int>(parent));
      step.tokens.push_back(id);
    }
  }
  beams_ = std::move(live);
  finished_ = beams_.empty() || !CanImprove();
  return finished_ ? Step{} : step;
}

void BeamSearch::AddFinished(int node, float total) {
  const Hypothesis hypothesis{.node = node, .score = total / LengthDivisor()};
  const auto worse = [&](const Hypothesis& other) { return other.score < hypothesis.score; };
  hypotheses_.insert(std::find_if(hypotheses_.begin(), hypotheses_.end(), worse), hypothesis);
  if (hypotheses_.size() > static_cast<size_t>(options_.num_beams)) hypotheses_.pop_back();
}

// transformers' heuristic: as if the best live beam ended now.
bool BeamSearch::CanImprove() const {
  if (hypotheses_.size() < static_cast<size_t>(options_.num_beams)) return true;
  return beams_[0].score / LengthDivisor() > hypotheses_.back().score;
}

float BeamSearch::LengthDivisor() const {
  return static_cast<float>(std::pow(static_cast<double>(generated_), options_.length_penalty));
}

bool BeamSearch::EndsSequence(int64_t id) const {
  return std::find(ending_token_ids_.begin(), ending_token_ids_.end(), id) != ending_token_ids_.end();
}

std::vector<ChosenToken> BeamSearch::best() const {
  std::vector<ChosenToken> tokens;
  for (int node = hypotheses_.front().node; node >= 0; node = nodes_[node].parent) tokens.push_back(nodes_[node].token);
  std::reverse(tokens.begin(), tokens.end());
  return tokens;
}

}  // namespace diptych::blip2
