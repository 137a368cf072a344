#include "tests/testing/whole_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "blip2/decoding/beam_search.h"
#include "blip2/images/image.h"
#include "blip2/images/pixels.h"
#include "blip2/prompt.h"
#include "common/status.h"

namespace diptych::testing {
namespace {

at::Tensor OnCpu(const at::Tensor& tensor) {
  return tensor.to(at::kCPU, at::kFloat).contiguous();
}

// 0 … count − 1
std::vector<int32_t> FirstBlocks(int64_t count) {
  std::vector<int32_t> blocks(static_cast<size_t>(count));
  std::iota(blocks.begin(), blocks.end(), 0);
  return blocks;
}

// Seconds since the last call, or since construction.
class Lap {
 public:
  double operator()() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace

absl::StatusOr<std::unique_ptr<WholeModel>> WholeModel::Load(const std::filesystem::path& folder,
                                                             const blip2::Placement& placement) {
  DIPTYCH_ASSIGN_OR_RETURN(const std::unique_ptr<blip2::Checkpoint> checkpoint, blip2::Checkpoint::Open(folder));
  DIPTYCH_ASSIGN_OR_RETURN(blip2::Tokenizer tokenizer, blip2::Tokenizer::Load(folder));
  return std::unique_ptr<WholeModel>(new WholeModel(*checkpoint, std::move(tokenizer), placement));
}

WholeModel::WholeModel(const blip2::Checkpoint& checkpoint, blip2::Tokenizer tokenizer,
                       const blip2::Placement& placement)
    : config_(checkpoint.config()),
      tokenizer_(std::move(tokenizer)),
      vision_(checkpoint, placement),
      qformer_(checkpoint, placement),
      decoder_(checkpoint, placement) {}

absl::StatusOr<Answer> WholeModel::Ask(const Question& question) const {
  Answer answer;
  at::Tensor projected;
  if (!question.image.empty()) {
    DIPTYCH_ASSIGN_OR_RETURN(projected, See(question, answer));
  }
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::Prompt prompt, PromptOf(question));
  answer.prompt_ids = prompt.ids;
  at::Tensor embeddings = decoder_.Embed(prompt.ids);
  if (projected.defined()) {
    const at::Tensor text = embeddings.slice(1, projected.size(1));
    embeddings = at::cat({projected, text}, 1);
  }
  DIPTYCH_RETURN_IF_ERROR(Write(question, embeddings, answer));
  answer.text = tokenizer_.Decode(answer.token_ids);
  return answer;
}

absl::StatusOr<Attention> WholeModel::Attend(const Question& question, std::span<const int64_t> answer_ids) const {
  DIPTYCH_ASSIGN_OR_RETURN(const at::Tensor pixels, PixelsOf(question));
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::Prompt prompt, PromptOf(question));
  const blip2::VisionAnalysis seen = vision_.Analyze(pixels);
  const blip2::QFormerAnalysis read = qformer_.Analyze(seen.tokens);
  const at::Tensor queries = qformer_.Project(read.queries)[0];
  std::vector<int64_t> text(prompt.ids.begin() + queries.size(0), prompt.ids.end());
  text.insert(text.end(), answer_ids.begin(), answer_ids.end() - 1);
  const at::Tensor embeddings = at::cat({queries, decoder_.Embed(text)[0]});
  const auto first = static_cast<int64_t>(prompt.ids.size()) - 1;
  return Attention{.cls = OnCpu(seen.class_attention[0]),
                   .queries = OnCpu(read.cross_attention[0]),
                   .decoder = OnCpu(decoder_.AttentionToPrefix(embeddings, first, queries.size(0)))};
}

absl::StatusOr<blip2::Prompt> WholeModel::PromptOf(const Question& question) const {
  const blip2::PromptInput input = {.images = question.image.empty() ? 0 : 1,
                                    .text = question.text,
                                    .turns = {},
                                    .max_new_tokens = question.options.max_new_tokens};
  return blip2::BuildPrompt(input, config_, tokenizer_);
}

absl::StatusOr<at::Tensor> WholeModel::PixelsOf(const Question& question) const {
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::RgbImage image, blip2::DecodeImage(question.image, ImageLimits{}));
  const int64_t size = question.image_size == 0 ? config_.image_processor.image_size : question.image_size;
  return blip2::ToPixelValues(image, config_.image_processor, static_cast<int>(size));
}

// Image to projected queries [1, Q, De].
absl::StatusOr<at::Tensor> WholeModel::See(const Question& question, Answer& answer) const {
  Lap lap;
  DIPTYCH_ASSIGN_OR_RETURN(const at::Tensor pixels, PixelsOf(question));
  answer.seconds.image = lap();
  const at::Tensor vision = vision_.Forward(pixels);
  answer.seconds.vision = lap();
  const at::Tensor queries = qformer_.Forward(vision);
  at::Tensor projected = qformer_.Project(queries);
  answer.seconds.qformer = lap();
  answer.taps.pixels = pixels;
  answer.taps.vision = OnCpu(vision);
  answer.taps.qformer = OnCpu(queries);
  answer.taps.projected = OnCpu(projected);
  return projected;
}

// Prompt embeddings [1, T, De] to tokens.
absl::Status WholeModel::Write(const Question& question, const at::Tensor& embeddings, Answer& answer) const {
  Lap lap;
  const blip2::GenerationOptions& options = question.options;
  const bool beams = options.num_beams > 1;
  const int64_t prompt = embeddings.size(1);
  // With beams a block holds one token: what a beam adds never lies in a block of another.
  const int64_t block_tokens = beams ? 1 : 16;
  const int64_t tokens = prompt + options.num_beams * options.max_new_tokens;
  blip2::KvPool pool = decoder_.MakeKvPool((tokens + block_tokens - 1) / block_tokens, block_tokens);
  const std::vector<int32_t> blocks = FirstBlocks(beams ? prompt : pool.blocks);
  const blip2::DecoderRow row{.embeddings = embeddings[0], .past = 0, .blocks = blocks, .wants_logits = true};
  const at::Tensor logits = decoder_.Forward({&row, 1}, pool);
  answer.taps.logits = OnCpu(logits[0]);
  answer.seconds.prefill = lap();
  DIPTYCH_RETURN_IF_ERROR(beams ? WriteWithBeams(options, logits, pool, answer)
                                : WriteTokenByToken(options, logits, pool, answer));
  answer.seconds.decode = lap();
  return absl::OkStatus();
}

// logits [1, V] of the prompt
absl::Status WholeModel::WriteTokenByToken(const blip2::GenerationOptions& options, at::Tensor logits,
                                           blip2::KvPool& pool, Answer& answer) const {
  const std::vector<int32_t> blocks = FirstBlocks(pool.blocks);
  const std::vector<int64_t> ends = blip2::EndingTokens(options, config_.text.eos_token_ids);
  blip2::TokenSelector selector(options, ends);
  std::vector<int64_t> context = answer.prompt_ids;
  while (true) {
    const auto generated = static_cast<int64_t>(answer.token_ids.size());
    DIPTYCH_ASSIGN_OR_RETURN(const blip2::ChosenToken chosen, selector.Choose(logits[0], context, generated));
    answer.token_ids.push_back(chosen.id);
    if (std::find(ends.begin(), ends.end(), chosen.id) != ends.end() || generated + 1 >= options.max_new_tokens) break;
    const blip2::DecoderRow row{.embeddings = decoder_.Embed({&chosen.id, 1})[0],
                                .past = static_cast<int64_t>(context.size()),
                                .blocks = blocks,
                                .wants_logits = true};
    logits = decoder_.Forward({&row, 1}, pool);
    context.push_back(chosen.id);
  }
  return absl::OkStatus();
}

// logits [1, V] of the prompt, which lies in the first blocks of one token each.
absl::Status WholeModel::WriteWithBeams(const blip2::GenerationOptions& options, at::Tensor logits, blip2::KvPool& pool,
                                        Answer& answer) const {
  blip2::BeamSearch search(options, blip2::EndingTokens(options, config_.text.eos_token_ids), answer.prompt_ids);
  std::vector<std::vector<int32_t>> tables = {FirstBlocks(static_cast<int64_t>(answer.prompt_ids.size()))};
  auto next_block = static_cast<int32_t>(tables[0].size());
  while (true) {
    DIPTYCH_ASSIGN_OR_RETURN(const blip2::BeamSearch::Step step, search.Advance(logits));
    if (search.finished()) break;
    std::vector<std::vector<int32_t>> parents = std::move(tables);
    tables.clear();
    for (const int parent : step.parents) {
      tables.push_back(parents[parent]);
      tables.back().push_back(next_block++);
    }
    std::vector<blip2::DecoderRow> rows;
    for (size_t i = 0; i < tables.size(); ++i) {
      rows.push_back({.embeddings = decoder_.Embed({&step.tokens[i], 1})[0],
                      .past = static_cast<int64_t>(tables[i].size()) - 1,
                      .blocks = tables[i],
                      .wants_logits = true});
    }
    logits = decoder_.Forward(rows, pool);
  }
  for (const blip2::ChosenToken& token : search.best()) answer.token_ids.push_back(token.id);
  return absl::OkStatus();
}

}  // namespace diptych::testing
