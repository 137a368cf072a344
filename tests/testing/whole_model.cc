#include "tests/testing/whole_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "blip2/image.h"
#include "blip2/pixels.h"
#include "blip2/prompt.h"
#include "common/status.h"

namespace diptych::testing {
namespace {

at::Tensor OnCpu(const at::Tensor& tensor) {
  return tensor.to(at::kCPU, at::kFloat).contiguous();
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
  const blip2::PromptInput input = {.images = question.image.empty() ? 0 : 1,
                                    .text = question.text,
                                    .turns = {},
                                    .max_new_tokens = question.options.max_new_tokens};
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::Prompt prompt, blip2::BuildPrompt(input, config_, tokenizer_));
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

// Picture to projected queries [1, Q, De].
absl::StatusOr<at::Tensor> WholeModel::See(const Question& question, Answer& answer) const {
  Lap lap;
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::RgbImage image, blip2::DecodeImage(question.image, ImageLimits{}));
  const int64_t size = question.image_size == 0 ? config_.image_processor.image_size : question.image_size;
  const at::Tensor pixels = blip2::ToPixelValues(image, config_.image_processor, static_cast<int>(size));
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
  const int64_t capacity = embeddings.size(1) + question.options.max_new_tokens;
  blip2::KvCache cache = decoder_.MakeCache(std::min(capacity, config_.text.max_position_embeddings));
  blip2::TokenSelector selector(question.options, config_.text.eos_token_ids);
  std::vector<int64_t> context = answer.prompt_ids;
  at::Tensor logits = decoder_.Forward(embeddings, cache);
  answer.taps.logits = OnCpu(logits);
  answer.seconds.prefill = lap();
  while (true) {
    const auto generated = static_cast<int64_t>(answer.token_ids.size());
    DIPTYCH_ASSIGN_OR_RETURN(const blip2::ChosenToken chosen, selector.Choose(logits, context, generated));
    const int64_t id = chosen.id;
    answer.token_ids.push_back(id);
    context.push_back(id);
    const std::vector<int64_t>& eos = config_.text.eos_token_ids;
    if (std::find(eos.begin(), eos.end(), id) != eos.end() ||
        static_cast<int64_t>(answer.token_ids.size()) >= question.options.max_new_tokens) {
      break;
    }
    logits = decoder_.Forward(decoder_.Embed({&id, 1}), cache);
  }
  answer.seconds.decode = lap();
  return absl::OkStatus();
}

}  // namespace diptych::testing
