#include "language_service/served_model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "blip2/checkpoint/checkpoint.h"
#include "blip2/checkpoint/memory_plan.h"
#include "blip2/device/device.h"
#include "blip2/device/device_memory.h"
#include "blip2/qformer.h"
#include "common/logging/load_progress.h"
#include "common/process/catch_exceptions.h"
#include "common/process/control_groups.h"
#include "common/process/free_memory.h"
#include "common/status.h"
#include "language_service/engine/kv_cache_size.h"
#include "language_service/engine/trial.h"

namespace diptych::language {
namespace {

// Q-Former, projection and decoder.
struct Parts {
  blip2::QFormer qformer;
  blip2::OptDecoder decoder;
};

void AddPart(std::string_view name, const blip2::PartSize& size, std::string_view dtype, v1::ModelDescription& model) {
  v1::ModelPart* part = model.add_parts();
  part->set_name(std::string(name));
  part->set_parameters(size.parameters);
  part->set_bytes(size.bytes);
  part->set_dtype(std::string(dtype));
}

v1::ModelDescription Describe(const blip2::Checkpoint& checkpoint, const Parts& parts) {
  const blip2::Config& config = checkpoint.config();
  const blip2::Placement& placement = parts.decoder.placement();
  const std::string computed_in = blip2::DTypeName(placement.dtype);
  v1::ModelDescription model;
  model.set_name(checkpoint.name());
  model.set_fingerprint(checkpoint.VisionFingerprint());
  model.set_dtype(blip2::DTypeName(placement));
  model.set_device(placement.device.str());
  // In float16 the Q-Former itself stays in float32.
  AddPart("qformer", parts.qformer.qformer_size(), computed_in == "float16" ? "float32" : computed_in, model);
  AddPart("projection", parts.qformer.projection_size(), computed_in, model);
  AddPart("language", parts.decoder.size(), model.dtype(), model);
  model.set_window_tokens(static_cast<int>(config.text.max_position_embeddings));
  model.set_patch_size(static_cast<int>(config.vision.patch_size));
  model.set_image_size(static_cast<int>(config.vision.image_size));
  model.set_query_tokens(static_cast<int>(config.num_query_tokens));
  model.set_visual_tokens(static_cast<int>(config.vision.visual_tokens()));
  model.set_visual_width(static_cast<int>(config.vision.hidden_size));
  model.set_default_max_new_tokens(static_cast<int>(config.default_max_new_tokens));
  return model;
}

absl::StatusOr<blip2::Placement> WithKvDType(blip2::Placement placement, std::string_view kv_dtype) {
  if (kv_dtype != "auto" && kv_dtype != "int8") return absl::InvalidArgumentError("--kv_dtype takes auto or int8");
  placement.rounded_kv = kv_dtype == "int8";
  if (placement.rounded_kv && !placement.device.is_cpu()) {
    return absl::InvalidArgumentError("--kv_dtype=int8 takes --device=cpu; on a card take auto");
  }
  return placement;
}

// In which numbers the model is held, if they and the KV cache fit into memory.
absl::StatusOr<blip2::Placement> Place(const LanguageOptions& options, const blip2::Config& config) {
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::ChosenPlacement chosen,
                           blip2::ChoosePlacement(options.device, options.dtype, config));
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::Placement placement, WithKvDType(chosen.placement, options.kv_dtype));
  if (!chosen.reason.empty()) LogChosenDType(blip2::DTypeName(placement), chosen.reason);
  const auto token_bytes = [&](blip2::Placement other) {
    other.rounded_kv = placement.rounded_kv;
    return blip2::KvTokenBytes(config.text, other);
  };
  const auto kv_cache = [&](const blip2::Placement& other) {
    if (options.kv_cache_bytes > 0) return options.kv_cache_bytes;
    return DefaultKvCacheBytes(config, token_bytes(other), /*available=*/0);
  };
  const auto least_kv_cache = [&](const blip2::Placement& other) {
    return WindowKvCacheBytes(config, token_bytes(other));
  };
  const blip2::MemoryDemand demand = {.part = blip2::ModelPart::kLanguage,
                                      .placement = placement,
                                      .kv_cache = kv_cache,
                                      .least_kv_cache = least_kv_cache};
  DIPTYCH_RETURN_IF_ERROR(blip2::CheckFits(config, demand, FreeMemoryWithin(options.memory_limit)));
  return placement;
}

absl::Status CheckVocabulary(const blip2::Tokenizer& tokenizer, const blip2::Config& config) {
  if (tokenizer.vocab_size() <= config.text.vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the tokenizer has ids up to ", tokenizer.vocab_size() - 1,
                                                 ", but the vocabulary in config.json ends before ",
                                                 config.text.vocab_size));
}

// The functions keep `parts` alive.
void BindFunctions(const std::shared_ptr<const Parts>& parts, ServedLanguageModel& served) {
  served.project = [parts](const at::Tensor& tokens) { return parts->qformer.Project(parts->qformer.Forward(tokens)); };
  served.analyze_projection = [parts](const at::Tensor& tokens) {
    blip2::QFormerAnalysis read = parts->qformer.Analyze(tokens);
    return ProjectionAnalysis{.query_tokens = parts->qformer.Project(read.queries),
                              .cross_attention = std::move(read.cross_attention)};
  };
  served.embed = [parts](std::span<const int64_t> ids, const at::Tensor& chosen) {
    return parts->decoder.Embed(ids, chosen);
  };
  served.kv_block_bytes = [parts](int64_t block_tokens) { return parts->decoder.KvBlockBytes(block_tokens); };
  served.make_kv_pool = [parts](int64_t blocks, int64_t block_tokens) {
    return parts->decoder.MakeKvPool(blocks, block_tokens);
  };
  served.copy_kv_blocks = [parts](blip2::KvPool& pool, std::span<const int32_t> from, std::span<const int32_t> to) {
    parts->decoder.CopyKvBlocks(pool, from, to);
  };
  served.record_steps = [parts](blip2::RecordStep record, blip2::Recording::OnFailure on_failure, blip2::KvPool& pool) {
    return parts->decoder.RecordSteps(std::move(record), std::move(on_failure), pool);
  };
  served.forward = [parts](std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool) {
    return parts->decoder.Forward(rows, pool);
  };
  served.attention_to_prefix = [parts](const at::Tensor& embeddings, int64_t first, int64_t prefix,
                                       const blip2::Pieces& pieces) {
    return parts->decoder.AttentionToPrefix(embeddings, first, prefix, pieces);
  };
}

}  // namespace

absl::StatusOr<ServedLanguageModel> LoadLanguageModel(const LanguageOptions& options) {
  if (options.threads < 0) return absl::InvalidArgumentError("--threads takes 0 or more");
  if (options.device != "cpu") blip2::LimitDeviceMemory(options.memory_fraction);
  DIPTYCH_RETURN_IF_ERROR(blip2::ParsePlacement(options.device, options.dtype).status());
  DIPTYCH_ASSIGN_OR_RETURN(const auto checkpoint, blip2::Checkpoint::Open(options.model));
  DIPTYCH_ASSIGN_OR_RETURN(const blip2::Placement placement, Place(options, checkpoint->config()));
  const bool small = blip2::ComputesInOneThread(checkpoint->config(), blip2::ModelPart::kLanguage, placement);
  blip2::SetIntraOpThreads(options.threads, small ? 1 : ProcessorQuota());
  if (placement.device.is_cuda()) LogCard(blip2::DescribeDevice(placement.device), options.memory_fraction);
  LoadProgress progress(checkpoint->StoredBytes("") - checkpoint->StoredBytes("vision_model."));
  checkpoint->OnRead([&progress](int64_t bytes) { progress.Add(bytes); });
  DIPTYCH_ASSIGN_OR_RETURN(blip2::Tokenizer tokenizer, blip2::Tokenizer::Load(options.model));
  ServedLanguageModel served;
  served.tokenizer = std::make_shared<const blip2::Tokenizer>(std::move(tokenizer));
  served.config = checkpoint->config();
  DIPTYCH_RETURN_IF_ERROR(CheckVocabulary(*served.tokenizer, served.config));
  DIPTYCH_RETURN_IF_ERROR(CatchExceptions("loading the model", [&] {
    const auto parts = std::make_shared<const Parts>(
        Parts{blip2::QFormer(*checkpoint, placement), blip2::OptDecoder(*checkpoint, placement)});
    const absl::Status& in_place = parts->decoder.reads_in_place();
    if (!in_place.ok()) LogGatheredAttention(std::string(in_place.message()));
    served.description = Describe(*checkpoint, *parts);
    BindFunctions(parts, served);
    DIPTYCH_RETURN_IF_ERROR(TryProjection(served));
    DIPTYCH_RETURN_IF_ERROR(TryDecoder(served));
    if (!placement.device.is_cpu()) served.begin_choice = blip2::BeginChoice;
    blip2::GiveBackPinnedMemory(placement.device);
    return absl::OkStatus();
  }));
  return served;
}

}  // namespace diptych::language
