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
                              const ServedLanguageModel& model, const UnknownTokens& unknown) {
  std::vector<int64_t> ids;
  std::vector<size_t> counts;
  for (const PlannedRow& row : rows) {
    const auto own = sequences.at(row.id).Ids(row.beam, row.past, row.tokens);
    const size_t before = ids.size();
    ids.insert(ids.end(), own.begin(), own.end());
    if (const auto place = unknown.places.find(row.id); place != unknown.places.end())
      ids.push_back(-1 - place->second);
    counts.push_back(ids.size() - before);
  }
  const at::Tensor text = ids.empty() ? at::Tensor() : model.embed(ids, unknown.ids)[0];
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
                   blip2::KvPool& pool, const UnknownTokens& unknown) {
  const std::vector<at::Tensor> embeddings = Embed(rows, sequences, model, unknown);
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
std::vector<PassResult> Split(const at::Tensor& logits, std::span<const Rows> requests) {
  std::vector<PassResult> results;
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
  return results;
}

// Lets the model choose what follows, for all that it can choose for at once.
void Choose(RunningRequests& running, const std::map<uint64_t, Sequence>& sequences, const ServedLanguageModel& model) {
  std::vector<blip2::RowChoice> choices;
  for (size_t i = 0; i < running.results.size(); ++i) {
    const PassResult& result = running.results[i];
    if (!result.logits->defined()) continue;
    std::optional<blip2::RowChoice> choice = sequences.at(result.id).ToChoice(*result.logits);
    if (!choice) continue;
    choices.push_back(*std::move(choice));
    running.chosen_for.push_back(i);
  }
  if (!choices.empty()) running.choice = model.begin_choice(choices);
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

RunningRequests Failed(uint64_t id, const absl::Status& status) {
  return {.results = {{.id = id, .logits = status}}, .chosen_for = {}, .device = {}};
}

bool MayRunAhead(const PassResult& result, const std::map<uint64_t, Sequence>& sequences) {
  return result.logits.ok() && (!result.logits->defined() || sequences.at(result.id).may_run_ahead());
}

}  // namespace

RunningPass StartPass(const StepPlan& plan, const std::map<uint64_t, Sequence>& sequences,
                      const ServedLanguageModel& model, blip2::KvPool& pool, const UnknownTokens& unknown) {
  const std::vector<Rows> requests = ByRequest(plan.rows);
  RunningPass pass;
  const auto start = [&](std::span<const Rows> some) {
    const Rows rows(some.front().data(), some.back().data() + some.back().size());
    return CatchExceptions(
        NameOf(StageOf(rows, sequences)),
        [&] {
          const at::Tensor logits = Forward(rows, sequences, model, pool, unknown);
          RunningRequests running{.results = Split(logits, some), .chosen_for = {}, .device = logits.device()};
          if (model.begin_choice) Choose(running, sequences, model);
          pass.push_back(std::move(running));
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
  absl::Status status = copied.ok() ? start(requests) : copied;
  if (status.ok()) return pass;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (copied.ok() && requests.size() > 1 && !IsDeviceLost(status)) status = start(std::span(requests).subspan(i, 1));
    if (!status.ok()) pass.push_back(Failed(requests[i][0].id, status));
  }
  return pass;
}

std::optional<UnknownTokens> TokensToCome(const RunningPass& pass, const std::map<uint64_t, Sequence>& sequences) {
  if (pass.size() != 1 || pass[0].chosen_for.empty()) return std::nullopt;
  const RunningRequests& running = pass[0];
  const auto may = [&](const PassResult& result) { return MayRunAhead(result, sequences); };
  if (!std::all_of(running.results.begin(), running.results.end(), may)) return std::nullopt;
  UnknownTokens unknown{.ids = running.choice.ids};
  for (const size_t result : running.chosen_for) {
    unknown.places.emplace(running.results[result].id, static_cast<int64_t>(unknown.places.size()));
  }
  return unknown;
}

std::vector<PassResult> AwaitPass(RunningPass pass) {
  std::vector<PassResult> results;
  for (RunningRequests& running : pass) {
    const absl::Status status = CatchExceptions(
        NameOf(Stage::kDecode),
        [&] {
          if (running.choice.read) {
            std::vector<absl::StatusOr<blip2::ChosenToken>> tokens = running.choice.read();
            for (size_t i = 0; i < tokens.size(); ++i) {
              running.results[running.chosen_for[i]].chosen = std::move(tokens[i]);
            }
          } else if (running.device) {
            blip2::Synchronize(*running.device);
          }
          return absl::OkStatus();
        },
        blip2::StatusOfDeviceError);
    for (PassResult& result : running.results) {
      if (!status.ok()) result.logits = status;
      results.push_back(std::move(result));
    }
  }
  return results;
}

}  // namespace diptych::language
