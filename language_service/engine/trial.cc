#include "language_service/engine/trial.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "blip2/device/transfer.h"
#include "common/process/catch_exceptions.h"
#include "common/stage.h"
#include "language_service/engine/kv_cache_size.h"

namespace diptych::language {
namespace {

absl::Status Try(Stage stage, const std::function<at::Tensor()>& compute) {
  const c10::InferenceMode inference_mode;
  return CatchExceptions(NameOf(stage), [&] {
    if (blip2::AllFinite(compute())) return absl::OkStatus();
    return absl::InternalError(absl::StrCat(
        "the model's numbers are not finite in stage ", std::string(NameOf(stage)),
        " of a trial: its weights are damaged, or too large for its dtype; get the checkpoint again, or take "
        "--dtype=float32"));
  });
}

}  // namespace

absl::Status TryProjection(const ServedLanguageModel& model) {
  const v1::ModelDescription& sizes = model.description;
  return Try(Stage::kQFormer, [&] {
    return model.project(at::zeros({1, sizes.visual_tokens(), sizes.visual_width()}));
  });
}

absl::Status TryDecoder(const ServedLanguageModel& model) {
  return Try(Stage::kDecode, [&] {
    blip2::KvPool pool = model.make_kv_pool(/*blocks=*/1, KvBlockTokens(model.config.num_query_tokens));
    const int64_t token = 0;
    const int32_t block = 0;
    const blip2::DecoderRow row{.embeddings = model.embed(std::span(&token, 1), {})[0],
                                .past = 0,
                                .blocks = std::span(&block, 1),
                                .wants_logits = true};
    return model.forward(std::span(&row, 1), pool);
  });
}

}  // namespace diptych::language
