// The visual tokens of one image, in the one buffer that the cache and all calls share.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/stage_clock.h"
#include "diptych/v1/vision.pb.h"
#include "vision_service/streamed_tensor.h"

namespace diptych::vision {

// Immutable; thread-safe.
class VisualTokens {
 public:
  // `tokens` [P, Dv] on the CPU, in a storage of its own: float32, bfloat16 or float16, row-major. INTERNAL if it is
  // not that, or holds a number that is not finite. Kept as ToStreamed makes them of `wanted`. `class_attention` is
  // empty or has P shares.
  static absl::StatusOr<std::shared_ptr<const VisualTokens>> Make(at::Tensor tokens, std::string image_key,
                                                                  int image_size,
                                                                  std::vector<float> class_attention = {},
                                                                  v1::NumberType wanted = v1::NUMBER_TYPE_UNSPECIFIED);

  // As they are streamed.
  std::string_view bytes() const;
  v1::NumberType dtype() const { return dtype_; }
  int tokens() const { return tokens_; }  // P
  int width() const { return width_; }    // Dv
  const std::string& image_key() const { return image_key_; }
  int image_size() const { return image_size_; }  // pixels

  // The class token's attention in the last layer: its own share, then the patches' from the top left. Empty if
  // not requested.
  std::span<const float> class_attention() const { return class_attention_; }
  // Mean Euclidean norm of the tokens; computed at the first call. Requires: not NUMBER_TYPE_INT8.
  double MeanNorm() const;
  // Bytes that keeping it takes.
  int64_t size_bytes() const { return static_cast<int64_t>(bytes().size() + class_attention_.size() * sizeof(float)); }

  // Consecutive pieces of at most kMaxChunkBytes.
  int chunk_count() const { return static_cast<int>(chunk_sums_.size()); }
  std::string_view Chunk(int index) const;
  // Its CRC-32C; computed at the first call.
  uint32_t ChunkCrc32c(int index) const;

 private:
  VisualTokens(const at::Tensor& tokens, StreamedTensor streamed, std::string image_key, int image_size,
               std::vector<float> class_attention);

  const at::Tensor values_;
  const v1::NumberType dtype_;
  const int tokens_;
  const int width_;
  const std::string image_key_;
  const int image_size_;
  const std::vector<float> class_attention_;
  mutable std::vector<std::atomic<int64_t>> chunk_sums_;  // -1: not computed yet
  mutable std::atomic<double> mean_norm_ = -1;            // likewise
};

// The wall-clock time of one caller, by stage.
struct EncodeTimings {
  SteadyDuration image_decode{};
  SteadyDuration image_resize{};
  SteadyDuration queue{};  // for an image worker and for the engine
  SteadyDuration vit{};
};

// When an image entered its stages.
struct EncodeTimeline {
  SteadyTime submitted{};
  SteadyTime decode_begin{};
  SteadyTime resize_begin{};
  SteadyTime prepared{};
  SteadyTime vit_begin{};
  SteadyTime vit_end{};

  // The part after `arrival`, for a caller that joined late: it did not wait for the rest.
  EncodeTimings Since(SteadyTime arrival) const;
};

// The result for one caller.
struct EncodeResult {
  std::shared_ptr<const VisualTokens> image;
  EncodeTimings timings;   // for a cache hit: of preparing the image, if that was asked for, else all zero
  bool cache_hit = false;  // of the tokens
  std::shared_ptr<const std::string> prepared_png = nullptr;  // if it was asked for
  std::shared_ptr<const void> memory;                         // keeps the buffer's bytes reserved until it is sent
};

}  // namespace diptych::vision
