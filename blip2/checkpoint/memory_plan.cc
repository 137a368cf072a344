#include "blip2/checkpoint/memory_plan.h"

#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "blip2/checkpoint/tensor_names.h"
#include "blip2/kernels/processor.h"
#include "blip2/matrices/float8_matrix.h"
#include "blip2/matrices/weight_only_matrix.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

constexpr int64_t kHalfBytes = 2;
constexpr int64_t kWorkingBytes = int64_t{256} << 20;  // the program, its threads, what requests need besides the cache
constexpr int64_t kSmallModel = int64_t{1} << 30;      // bytes in float32
constexpr int64_t kSmallPart = int64_t{16} << 20;      // bytes as they are held

int64_t Elements(const TensorSpec& spec) {
  int64_t count = 1;
  for (const int64_t side : spec.shape) count *= side;
  return count;
}

bool IsOf(ModelPart part, std::string_view name) {
  return name.starts_with("vision_model.") == (part == ModelPart::kVision);
}

bool IsOfQFormer(std::string_view name) {
  return name.starts_with("qformer.") || name == "query_tokens";
}

// On a card, the decoder's maps whose sides fit.
int64_t WeightOnlyBytes(IntegerType type, const TensorSpec& spec) {
  const bool held = !IsOf(ModelPart::kVision, spec.name) && WeightOnlyMatrix::Takes(type, spec.shape[0], spec.shape[1]);
  return held ? WeightOnlyMatrix::Bytes(type, spec.shape[0], spec.shape[1]) : Elements(spec) * kHalfBytes;
}

// As IntegerMatrix holds [out, in], its bias apart.
int64_t RoundedBytes(IntegerType type, int64_t out, int64_t in) {
  const int64_t multipliers = type == IntegerType::kInt4 ? PanelMultipliers(in) : 0;
  constexpr int64_t kFloatBytes = sizeof(float);
  return Panels(out) * (PanelBytes(type, in) + multipliers + kPanel * kFloatBytes) + in * kFloatBytes;
}

int64_t TensorBytes(const TensorSpec& spec, const Placement& placement) {
  if (placement.weight_only() && IsRounded(spec)) return WeightOnlyBytes(*placement.integers, spec);
  if (placement.integers && IsRounded(spec)) return RoundedBytes(*placement.integers, spec.shape[0], spec.shape[1]);
  if (placement.float8 && IsRounded(spec) && Float8Matrix::Takes(spec.shape[0], spec.shape[1])) {
    return Elements(spec) + spec.shape[0] * static_cast<int64_t>(sizeof(float));
  }
  const bool in_pairs = IsOfQFormer(spec.name) && spec.shape.size() == 2 && MultipliesPairs();
  if (placement.integers && (spec.name == kEmbedTokens || in_pairs)) return Elements(spec) * kHalfBytes;
  const bool widened = placement.dtype == c10::ScalarType::Half && IsOfQFormer(spec.name);
  const auto element = static_cast<int64_t>(c10::elementSize(widened ? c10::ScalarType::Float : placement.dtype));
  return Elements(spec) * element;
}

// Besides the embedding.
int64_t HeadBytes(const Config& config, const Placement& placement) {
  const int64_t out = config.text.vocab_size, in = config.text.word_embed_proj_dim;
  const bool tied = config.text.tie_word_embeddings;
  if (placement.weight_only()) return tied ? 0 : WeightOnlyMatrix::Bytes(IntegerType::kInt8, out, in);
  if (placement.integers) return RoundedBytes(IntegerType::kInt8, out, in);
  return tied ? 0 : out * in * static_cast<int64_t>(c10::elementSize(placement.dtype));
}

int64_t Need(const Config& config, const MemoryDemand& demand, const Placement& placement) {
  const int64_t cache = demand.kv_cache ? demand.kv_cache(placement) : 0;
  return WeightBytes(config, demand.part, placement) + cache + kWorkingBytes;
}

std::string Size(int64_t bytes) {
  if (bytes < int64_t{1} << 30) return absl::StrFormat("%d MiB", bytes >> 20);
  return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / (1 << 30));
}

// The widest numbers in which the part fits.
std::optional<Placement> Smaller(const Config& config, const MemoryDemand& demand, int64_t free_bytes) {
  for (const char* dtype : {"bfloat16", "int8", "int4"}) {
    const Placement placement = *ParsePlacement("cpu", dtype);
    const int64_t need = Need(config, demand, placement);
    if (need <= free_bytes && need < Need(config, demand, demand.placement)) return placement;
  }
  return std::nullopt;
}

std::string Remedy(const Config& config, const MemoryDemand& demand, int64_t free_bytes) {
  if (const auto smaller = Smaller(config, demand, free_bytes)) {
    return absl::StrCat("--dtype ", DTypeName(*smaller), " needs ", Size(Need(config, demand, *smaller)));
  }
  const Placement least = *ParsePlacement("cpu", "int4");
  MemoryDemand with_less = demand;
  with_less.kv_cache = demand.least_kv_cache;
  for (const Placement& placement : {demand.placement, least}) {
    const int64_t need = Need(config, with_less, placement);
    if (!demand.least_kv_cache || need > free_bytes) continue;
    return absl::StrCat("--kv_cache_bytes=", demand.least_kv_cache(placement), " with --dtype ", DTypeName(placement),
                        " needs ", Size(need));
  }
  return absl::StrCat("--dtype int4, the least, needs ", Size(Need(config, with_less, least)));
}

// Weights that were rounded before can be served as they are alone.
absl::StatusOr<ChosenPlacement> PlaceRounded(const Placement& placement, const std::string& device,
                                             const std::string& dtype, const RoundedConfig& rounded) {
  const IntegerType type = rounded.bits == 8 ? IntegerType::kInt8 : IntegerType::kInt4;
  const std::string stored = DTypeName({.integers = type});
  if (dtype == "auto") {
    DIPTYCH_ASSIGN_OR_RETURN(const Placement own, ParsePlacement(device, stored));
    return ChosenPlacement{.placement = own, .reason = "the checkpoint holds it"};
  }
  if (placement.integers == type) return ChosenPlacement{.placement = placement, .reason = ""};
  return absl::InvalidArgumentError(absl::StrCat("the checkpoint holds weights of ", rounded.bits,
                                                 " bits: take --dtype ", stored,
                                                 " or auto, or the checkpoint that it was made of"));
}

}  // namespace

int64_t WeightBytes(const Config& config, ModelPart part, const Placement& placement) {
  int64_t bytes = 0;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    if (IsOf(part, spec.name)) bytes += TensorBytes(spec, placement);
  }
  return bytes + (part == ModelPart::kLanguage ? HeadBytes(config, placement) : 0);
}

bool ComputesInOneThread(const Config& config, ModelPart part, const Placement& placement) {
  return placement.device.is_cpu() && WeightBytes(config, part, placement) < kSmallPart;
}

absl::StatusOr<ChosenPlacement> ChoosePlacement(const std::string& device, const std::string& dtype,
                                                const Config& config) {
  DIPTYCH_ASSIGN_OR_RETURN(const Placement placement, ParsePlacement(device, dtype));
  if (config.rounded) return PlaceRounded(placement, device, dtype, *config.rounded);
  if (dtype != "auto") return ChosenPlacement{.placement = placement, .reason = ""};
  if (!placement.device.is_cpu()) return ChosenPlacement{.placement = placement, .reason = "the fastest on a GPU"};
  const int64_t floats =
      WeightBytes(config, ModelPart::kVision, placement) + WeightBytes(config, ModelPart::kLanguage, placement);
  const std::string size = absl::StrCat("the model takes ", Size(floats), " in float32");
  if (floats < kSmallModel)
    return ChosenPlacement{.placement = placement, .reason = absl::StrCat(size, ", which is little")};
  return ChosenPlacement{.placement = {.device = placement.device, .integers = IntegerType::kInt8},
                         .reason = absl::StrCat(size, ", and int8 reads a quarter of it for the same answers")};
}

absl::Status CheckFits(const Config& config, const MemoryDemand& demand, int64_t free_bytes) {
  if (!demand.placement.device.is_cpu()) return absl::OkStatus();
  const int64_t need = Need(config, demand, demand.placement);
  if (need <= free_bytes) return absl::OkStatus();
  const int64_t weights = WeightBytes(config, demand.part, demand.placement);
  const int64_t cache = need - weights - kWorkingBytes;
  return absl::ResourceExhaustedError(
      absl::StrCat("the model does not fit: ", DTypeName(demand.placement), " needs ", Size(need), " (weights ",
                   Size(weights), cache > 0 ? absl::StrCat(", KV cache ", Size(cache)) : "", "), ", Size(free_bytes),
                   " are free; ", Remedy(config, demand, free_bytes)));
}

}  // namespace diptych::blip2
