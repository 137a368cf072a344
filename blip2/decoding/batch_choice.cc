#include "blip2/decoding/batch_choice.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "blip2/device/transfer.h"

namespace diptych::blip2 {
namespace {

constexpr int64_t kEditParameters = 5;

// The rows that draw their token, D of them among R.
struct Draws {
  std::vector<int64_t> row_list, rank_list;
  std::vector<double> parameter_list;
  at::Tensor rows;        // [D] int64
  at::Tensor last_ranks;  // [D, 1] int64: of the k-th best token
  at::Tensor parameters;  // [4, D, 1] float64: temperature, top-p, min-p, draw
};

Draws DrawsOf(std::span<const RowChoice> rows, int64_t vocab_size) {
  Draws draws;
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t k = rows[i].options->top_k;
    if (rows[i].options->temperature == 0) continue;
    draws.row_list.push_back(static_cast<int64_t>(i));
    draws.rank_list.push_back((k == 0 ? vocab_size : std::min(k, vocab_size)) - 1);
  }
  const auto add = [&](const auto& parameter) {
    for (const int64_t row : draws.row_list) draws.parameter_list.push_back(parameter(rows[row]));
  };
  add([](const RowChoice& row) { return row.options->temperature; });
  add([](const RowChoice& row) {
    return row.options->top_p < 1 ? row.options->top_p : std::numeric_limits<double>::infinity();
  });
  add([](const RowChoice& row) { return row.options->min_p; });
  add([](const RowChoice& row) { return row.draw; });
  return draws;
}

void AddTo(UploadBatch& batch, Draws& draws) {
  const auto count = static_cast<int64_t>(draws.row_list.size());
  batch.Add(draws.row_list, draws.rows);
  batch.Add(draws.rank_list, draws.last_ranks, {count, 1});
  batch.Add(draws.parameter_list, draws.parameters, {4, count, 1});
}

// Weights [D, V] of the tokens that may be drawn, 0 of the others: SamplingDistribution before its last division.
at::Tensor Weights(const at::Tensor& scores, const Draws& draws) {
  const at::Tensor temperature = draws.parameters[0], top_p = draws.parameters[1], min_p = draws.parameters[2];
  // Stable: of equals the lowest id comes first.
  const auto [sorted, ids] = at::sort(scores, /*stable=*/true, /*dim=*/1, /*descending=*/true);
  const at::Tensor wide = sorted.to(at::kDouble);
  at::Tensor weights = ((wide - wide.narrow(1, 0, 1)) / temperature).exp();
  weights = weights.masked_fill(sorted < sorted.gather(1, draws.last_ranks), 0);
  const at::Tensor held = weights.cumsum(1);  // with the token itself
  const at::Tensor enough = top_p * held.narrow(1, held.size(1) - 1, 1);
  const at::Tensor surplus = (held >= enough).roll(1, 1);  // those before hold enough
  surplus.narrow(1, 0, 1).fill_(false);
  weights = weights.masked_fill(surplus.logical_or(weights < min_p), 0);
  return at::zeros_like(weights).scatter(1, ids, weights);
}

// The first token at which the weights, added up by id, exceed the draw; the last possible one if rounding lets none.
//   scores [D, V] -> [D] int64
at::Tensor Draw(const at::Tensor& scores, const Draws& draws) {
  const at::Tensor weights = Weights(scores, draws);
  const at::Tensor held = weights.cumsum(1);
  const at::Tensor reached = held > draws.parameters[3] * held.narrow(1, held.size(1) - 1, 1);
  const at::Tensor possible = weights > 0;
  const at::Tensor first = possible.logical_and(reached).to(at::kByte).argmax(1, /*keepdim=*/true);
  const at::Tensor last = held.size(1) - 1 - possible.flip(1).to(at::kByte).argmax(1, /*keepdim=*/true);
  return at::where(possible.logical_and(reached).any(1, /*keepdim=*/true), first, last).squeeze(1);
}

// The number of logprobs of each row, and the rows with some, L of the R rows.
struct Wanted {
  std::vector<int64_t> row_list;
  int64_t most = 0;
  at::Tensor rows;  // [L] int64
};

Wanted WantedOf(std::span<const RowChoice> rows, int64_t vocab_size) {
  Wanted wanted;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].options->logprobs == 0) continue;
    wanted.row_list.push_back(static_cast<int64_t>(i));
    wanted.most = std::max(wanted.most, std::min(rows[i].options->logprobs, vocab_size));
  }
  return wanted;
}

// logits [L, V], ids [L] -> [L, 1 + 2 · most] float64: the logprob of each id, then ids and logprobs of the best.
at::Tensor Logprobs(const at::Tensor& logits, const at::Tensor& ids, int64_t most) {
  const at::Tensor logprobs = at::log_softmax(logits.to(at::kDouble), 1);
  const at::Tensor best =
      std::get<1>(at::sort(logits, /*stable=*/true, /*dim=*/1, /*descending=*/true)).narrow(1, 0, most);
  return at::cat({logprobs.gather(1, ids.unsqueeze(1)), best.to(at::kDouble), logprobs.gather(1, best)}, 1);
}

at::Tensor Stacked(std::span<const RowChoice> rows) {
  std::vector<at::Tensor> logits;
  for (const RowChoice& row : rows) logits.push_back(row.logits);
  return at::cat(logits);
}

// `told` [3]: finite, the best score, id. `logprobs`: one row of Logprobs; null if no row needs any.
absl::StatusOr<ChosenToken> Read(const double* told, const double* logprobs, int64_t most, int64_t count) {
  if (told[0] == 0) return absl::InternalError("the model's scores for the next token are not finite");
  if (told[1] == -std::numeric_limits<double>::infinity()) return absl::InternalError("no token may follow");
  ChosenToken token{.id = static_cast<int64_t>(told[2])};
  if (logprobs == nullptr) return token;
  token.logprob = static_cast<float>(logprobs[0]);
  for (int64_t rank = 0; rank < count; ++rank) {
    token.top.push_back({static_cast<int64_t>(logprobs[1 + rank]), static_cast<float>(logprobs[1 + most + rank])});
  }
  return token;
}

// `logprobs`: how many each row wants.
std::vector<absl::StatusOr<ChosenToken>> ReadAll(const at::Tensor& told, std::span<const int64_t> logprobs,
                                                 int64_t most) {
  std::vector<absl::StatusOr<ChosenToken>> tokens;
  const double* next = told.const_data_ptr<double>();
  const double* next_logprobs = next + 3 * static_cast<int64_t>(logprobs.size());
  for (const int64_t wanted : logprobs) {
    tokens.push_back(Read(next, wanted > 0 ? next_logprobs : nullptr, most, std::min(most, wanted)));
    next += 3;
    if (wanted > 0) next_logprobs += 1 + 2 * most;
  }
  return tokens;
}

}  // namespace

std::vector<absl::StatusOr<ChosenToken>> ChooseTokens(std::span<const RowChoice> rows) {
  if (rows.empty()) return {};
  return BeginChoice(rows).read();
}

PendingChoice BeginChoice(std::span<const RowChoice> rows) {
  const c10::InferenceMode inference;
  const at::Tensor logits = Stacked(rows);
  const int64_t vocab_size = logits.size(1);
  Draws draws = DrawsOf(rows, vocab_size);
  Wanted wanted = WantedOf(rows, vocab_size);
  BatchEdits edits;
  for (size_t i = 0; i < rows.size(); ++i) edits.Add(static_cast<int64_t>(i), vocab_size, rows[i].edits);
  UploadBatch batch;
  AddTo(batch, draws);
  batch.Add(wanted.row_list, wanted.rows);
  edits.AddTo(batch);
  batch.Send(logits.device());

  const at::Tensor scores = logits.clone();
  edits.Apply(scores);
  const at::Tensor ids = scores.argmax(1);
  if (!draws.row_list.empty()) ids.index_copy_(0, draws.rows, Draw(scores.index_select(0, draws.rows), draws));
  std::vector<at::Tensor> told = {
      at::stack({logits.isfinite().all(1).to(at::kDouble), scores.amax(1).to(at::kDouble), ids.to(at::kDouble)}, 1)
          .flatten()};
  if (wanted.most > 0) {
    told.push_back(
        Logprobs(logits.index_select(0, wanted.rows), ids.index_select(0, wanted.rows), wanted.most).flatten());
  }
  std::vector<int64_t> logprobs;
  for (const RowChoice& row : rows) logprobs.push_back(row.options->logprobs);
  const auto download = std::make_shared<const RowDownload>(at::cat(told).unsqueeze(0));
  return {.ids = ids,
          .read = [download, logprobs, most = wanted.most] { return ReadAll(download->Take(0), logprobs, most); }};
}

void BatchEdits::Add(int64_t row, int64_t vocab_size, std::span<const ScoreEdit> edits) {
  for (const ScoreEdit& edit : edits) {
    places_.push_back(row * vocab_size + edit.id);
    parameters_.insert(parameters_.end(),
                       {edit.bias, edit.penalty, edit.presence, edit.frequency, edit.forbidden ? 1.0 : 0.0});
  }
}

void BatchEdits::AddTo(UploadBatch& batch) {
  batch.Add(places_, sent_places_);
  batch.Add(parameters_, sent_parameters_, {static_cast<int64_t>(places_.size()), kEditParameters});
}

// As Edited.
void BatchEdits::Apply(const at::Tensor& scores) const {
  if (places_.empty()) return;
  constexpr double kMax = std::numeric_limits<float>::max();
  const std::vector<at::Tensor> by = sent_parameters_.unbind(1);
  const at::Tensor flat = scores.view({-1});
  const at::Tensor before = flat.index_select(0, sent_places_).to(at::kDouble);
  const at::Tensor biased = (before + by[0]).to(at::kFloat).to(at::kDouble);
  const at::Tensor penalised = at::where(biased < 0, biased * by[1], biased / by[1]).clamp(-kMax, kMax);
  const at::Tensor lowered = penalised.to(at::kFloat).to(at::kDouble) - by[2] - by[3];
  flat.index_copy_(0, sent_places_,
                   lowered.to(at::kFloat).masked_fill(by[4] > 0, -std::numeric_limits<float>::infinity()));
}

}  // namespace diptych::blip2
