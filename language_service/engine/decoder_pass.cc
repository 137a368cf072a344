#include "language_service/engine/decoder_pass.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "blip2/device/device_error.h"
#include "blip2/device/transfer.h"
#include "common/process/catch_exceptions.h"

namespace diptych::language {
namespace {

using Rows = std::span<const PlannedRow>;

// The rows of each request.
std::vector<Rows> ByRequest(Rows rows) {
  std::vector<Rows> requests;
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    while (end < rows.size() && rows[end].id == rows[begin].id) ++end;
    requests.push_back(rows.subspan(begin, end - begin));
  }
  return requests;
}

// [T, De] of each row. All ids are looked up at once.
std::vector<at::Tensor> Embed(Rows rows, const std::map<uint64_t, Sequence>& sequences,
                              const ServedLanguageModel& model) {
  std::vector<int64_t> ids;
  std::vector<size_t> counts;
  for (const PlannedRow& row : rows) {
    const auto own = sequences.at(row.id).Ids(row.beam, row.past, row.tokens);
    ids.insert(ids.end(), own.begin(), own.end());
    counts.push_back(own.size());
  }
  const at::Tensor text = ids.empty() ? at::Tensor() : model.embed(ids)[0];
  std::vector<at::Tensor> embeddings;
  int64_t begin = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const at::Tensor queries = sequences.at(rows[i].id).QueryTokensAt(rows[i].past, rows[i].tokens);
    const auto count = static_cast<int64_t>(counts[i]);
    const at::Tensor own = count > 0 ? text.narrow(0, begin, count) : at::Tensor();
    begin += count;
    if (queries.defined() && own.defined()) {
      embeddings.push_back(at::cat({queries, own}));
    } else {
      embeddings.push_back(queries.defined() ? queries : own);
    }
  }
  return embeddings;
}

at::Tensor Forward(Rows rows, const std::map<uint64_t, Sequence>& sequences, const ServedLanguageModel& model,
                   blip2::KvPool& pool) {
  const std::vector<at::Tensor> embeddings = Embed(rows, sequences, model);
  std::vector<blip2::DecoderRow> decoder_rows;
  for (size_t i = 0; i < rows.size(); ++i) {
    decoder_rows.push_back({.embeddings = embeddings[i],
                            .past = rows[i].past,
                            .blocks = rows[i].blocks,
                            .wants_logits = rows[i].wants_logits,
                            .wants_all_logits = rows[i].scores});
  }
  return model.forward(decoder_rows, pool);
}

// Deals the logits out again.
void Split(const at::Tensor& logits, std::span<const Rows> requests, std::vector<PassResult>& results) {
  int64_t begin = 0;
  for (const Rows& rows : requests) {
    if (rows[0].scores) {  // a prompt, which is one row
      const at::Tensor scored = logits.narrow(0, begin, rows[0].tokens);
      results.push_back({.id = rows[0].id,
                         .logits = rows[0].wants_logits ? scored.narrow(0, rows[0].tokens - 1, 1) : at::Tensor(),
                         .scored = scored,
                         .past = rows[0].past});
      begin += rows[0].tokens;
      continue;
    }
    const auto count = std::count_if(rows.begin(), rows.end(), [](const PlannedRow& row) { return row.wants_logits; });
    results.push_back({.id = rows[0].id, .logits = count > 0 ? logits.narrow(0, begin, count) : at::Tensor()});
    begin += count;
  }
}

// Lets the model choose what follows, for all that it can choose for at once.
void Choose(std::span<PassResult> results, const std::map<uint64_t, Sequence>& sequences,
            const ServedLanguageModel& model) {
  std::vector<blip2::RowChoice> choices;
  std::vector<PassResult*> chosen;
  for (PassResult& result : results) {
    if (!result.logits->defined()) continue;
    std::optional<blip2::RowChoice> choice = sequences.at(result.id).ToChoice(*result.logits);
    if (!choice) continue;
    choices.push_back(*std::move(choice));
    chosen.push_back(&result);
  }
  std::vector<absl::StatusOr<blip2::ChosenToken>> tokens = model.choose_tokens(choices);
  for (size_t i = 0; i < chosen.size(); ++i) chosen[i]->chosen = std::move(tokens[i]);
}

void CopyBlocks(std::span<const BlockCopy> copies, const ServedLanguageModel& model, blip2::KvPool& pool) {
  std::vector<int32_t> from, to;
  for (const BlockCopy& copy : copies) {
    from.push_back(copy.from);
    to.push_back(copy.to);
  }
  if (!copies.empty()) model.copy_kv_blocks(pool, from, to);
}

Stage StageOf(Rows rows, const std::map<uint64_t, Sequence>& sequences) {
  return sequences.at(rows[0].id).decoding() ? Stage::kDecode : Stage::kPrefill;
}

}  // namespace

std::vector<PassResult> RunPass(const StepPlan& plan, const std::map<uint64_t, Sequence>& sequences,
                                const ServedLanguageModel& model, blip2::KvPool& pool) {
  const std::vector<Rows> requests = ByRequest(plan.rows);
  std::vector<PassResult> results;
  const auto run = [&](std::span<const Rows> some) {
    const Rows rows(some.front().data(), some.back().data() + some.back().size());
    return CatchExceptions(
        NameOf(StageOf(rows, sequences)),
        [&] {
          const at::Tensor logits = Forward(rows, sequences, model, pool);
          const size_t before = results.size();
          Split(logits, some, results);
          if (model.choose_tokens) Choose(std::span(results).subspan(before), sequences, model);
          blip2::Synchronize(logits.device());
          return absl::OkStatus();
        },
        blip2::StatusOfDeviceError);
  };
  const absl::Status copied = CatchExceptions(
      NameOf(Stage::kDecode),
      [&] {
        CopyBlocks(plan.copies, model, pool);
        return absl::OkStatus();
      },
      blip2::StatusOfDeviceError);
  absl::Status status = copied.ok() ? run(requests) : copied;
  if (status.ok()) return results;
  results.clear();
  for (size_t i = 0; i < requests.size(); ++i) {
    if (copied.ok() && requests.size() > 1 && !IsDeviceLost(status)) status = run(std::span(requests).subspan(i, 1));
    if (status.ok()) continue;
    results.erase(results.begin() + static_cast<std::ptrdiff_t>(i), results.end());  // what may be there of it
    results.push_back({.id = requests[i][0].id, .logits = status});
  }
  return results;
}

}  // namespace diptych::language
