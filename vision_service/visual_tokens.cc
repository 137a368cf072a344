#include "vision_service/visual_tokens.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/hash.h"
#include "common/tiers/visual_tokens.h"

namespace diptych::vision {
namespace {

template <typename Number>
double MeanNormOf(const Number* numbers, int64_t tokens, int64_t width) {
  double sum = 0;
  for (int64_t token = 0; token < tokens; ++token, numbers += width) {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += static_cast<double>(numbers[i]) * static_cast<double>(numbers[i]);
    sum += std::sqrt(squares);
  }
  return sum / static_cast<double>(tokens);
}

// The time between two points, as far as it is after `arrival`.
SteadyDuration Between(SteadyTime from, SteadyTime to, SteadyTime arrival) {
  return std::max(to - std::max(from, arrival), SteadyDuration::zero());
}

}  // namespace

absl::StatusOr<std::shared_ptr<const VisualTokens>> VisualTokens::Make(at::Tensor tokens, std::string image_key,
                                                                       int image_size,
                                                                       std::vector<float> class_attention,
                                                                       v1::NumberType wanted) {
  if (tokens.dim() != 2 || tokens.numel() == 0 || !tokens.is_contiguous()) {
    return absl::InternalError("the vision transformer gave visual tokens of a wrong shape");
  }
  if (!at::isfinite(tokens).all().item<bool>()) {
    return absl::InternalError("the vision transformer gave a number that is not finite");
  }
  if (!class_attention.empty() && static_cast<int64_t>(class_attention.size()) != tokens.size(0)) {
    return absl::InternalError("the vision transformer gave an attention map of a wrong shape");
  }
  if (!std::all_of(class_attention.begin(), class_attention.end(), [](float share) { return std::isfinite(share); })) {
    return absl::InternalError("the vision transformer gave an attention map that is not finite");
  }
  StreamedTensor streamed = ToStreamed(tokens, wanted);
  if (streamed.dtype == v1::NUMBER_TYPE_UNSPECIFIED) {
    return absl::InternalError("the vision transformer gave numbers of a type that is not streamed");
  }
  return std::shared_ptr<const VisualTokens>(
      new VisualTokens(tokens, std::move(streamed), std::move(image_key), image_size, std::move(class_attention)));
}

VisualTokens::VisualTokens(const at::Tensor& tokens, StreamedTensor streamed, std::string image_key, int image_size,
                           std::vector<float> class_attention)
    : values_(std::move(streamed.values)),
      dtype_(streamed.dtype),
      tokens_(static_cast<int>(tokens.size(0))),
      width_(static_cast<int>(tokens.size(1))),
      image_key_(std::move(image_key)),
      image_size_(image_size),
      class_attention_(std::move(class_attention)),
      chunk_sums_((values_.nbytes() + kMaxChunkBytes - 1) / kMaxChunkBytes) {
  for (auto& sum : chunk_sums_) sum.store(-1, std::memory_order_relaxed);
}

std::string_view VisualTokens::bytes() const {
  return {static_cast<const char*>(values_.const_data_ptr()), values_.nbytes()};
}

std::string_view VisualTokens::Chunk(int index) const {
  return bytes().substr(index * kMaxChunkBytes, kMaxChunkBytes);
}

uint32_t VisualTokens::ChunkCrc32c(int index) const {
  std::atomic<int64_t>& sum = chunk_sums_[index];
  int64_t known = sum.load(std::memory_order_relaxed);
  if (known < 0) sum.store(known = Crc32c(Chunk(index)), std::memory_order_relaxed);
  return static_cast<uint32_t>(known);
}

// A loop of our own: this runs on gRPC's threads, where libtorch would start threads for it.
double VisualTokens::MeanNorm() const {
  double known = mean_norm_.load(std::memory_order_relaxed);
  if (known >= 0) return known;
  switch (dtype_) {
    case v1::NUMBER_TYPE_BFLOAT16:
      known = MeanNormOf(values_.const_data_ptr<at::BFloat16>(), tokens(), width());
      break;
    case v1::NUMBER_TYPE_FLOAT16:
      known = MeanNormOf(values_.const_data_ptr<at::Half>(), tokens(), width());
      break;
    default:
      known = MeanNormOf(values_.const_data_ptr<float>(), tokens(), width());
  }
  mean_norm_.store(known, std::memory_order_relaxed);
  return known;
}

EncodeTimings EncodeTimeline::Since(SteadyTime arrival) const {
  return {.image_decode = Between(decode_begin, resize_begin, arrival),
          .image_resize = Between(resize_begin, prepared, arrival),
          .queue = Between(submitted, decode_begin, arrival) + Between(prepared, vit_begin, arrival),
          .vit = Between(vit_begin, vit_end, arrival)};
}

}  // namespace diptych::vision
