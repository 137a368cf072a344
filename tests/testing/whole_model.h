// BLIP-2 from encoded image to answer in one object, without the services: what the goldens and the
// comparison with transformers run.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/checkpoint/checkpoint.h"
#include "blip2/decoding/generation.h"
#include "blip2/opt.h"
#include "blip2/prompt.h"
#include "blip2/qformer.h"
#include "blip2/tokenizer/tokenizer.h"
#include "blip2/vision_model.h"

namespace diptych::testing {

struct Question {
  std::string image;       // the file's bytes; empty: text alone
  int64_t image_size = 0;  // side of the square that the model sees; 0: its own
  std::string text;        // empty: a caption
  blip2::GenerationOptions options;
};

// The tensors of the first step, float32 on the CPU. Without an image only `logits` is defined.
struct Taps {
  at::Tensor pixels;     // [1, 3, S, S]
  at::Tensor vision;     // [1, P, Dv]
  at::Tensor qformer;    // [1, Q, Dq]
  at::Tensor projected;  // [1, Q, De]
  at::Tensor logits;     // [V]
};

struct StageSeconds {
  double image = 0;  // decoding and resizing
  double vision = 0;
  double qformer = 0;  // with the projection
  double prefill = 0;
  double decode = 0;
};

struct Answer {
  Taps taps;
  std::vector<int64_t> prompt_ids;
  std::vector<int64_t> token_ids;  // with the id that ended the text, if one did
  std::string text;
  StageSeconds seconds;
};

// Where the parts look, float32 on the CPU; G is the number of the answer's tokens.
struct Attention {
  at::Tensor cls;      // [P]: the class token in the last vision layer
  at::Tensor queries;  // [Q, P]: the queries in the last Q-Former layer that reads the image
  at::Tensor decoder;  // [G, Q]: from the place that chose each token to the query tokens
};

// Const after Load; thread-safe.
class WholeModel {
 public:
  static absl::StatusOr<std::unique_ptr<WholeModel>> Load(const std::filesystem::path& folder,
                                                          const blip2::Placement& placement);

  absl::StatusOr<Answer> Ask(const Question& question) const;
  // Requires: an image, and at least one token.
  absl::StatusOr<Attention> Attend(const Question& question, std::span<const int64_t> answer_ids) const;

  const blip2::Config& config() const { return config_; }
  const blip2::Tokenizer& tokenizer() const { return tokenizer_; }

 private:
  WholeModel(const blip2::Checkpoint& checkpoint, blip2::Tokenizer tokenizer, const blip2::Placement& placement);

  absl::StatusOr<blip2::Prompt> PromptOf(const Question& question) const;
  // [1, 3, S, S]
  absl::StatusOr<at::Tensor> PixelsOf(const Question& question) const;
  absl::StatusOr<at::Tensor> See(const Question& question, Answer& answer) const;
  absl::Status Write(const Question& question, const at::Tensor& embeddings, Answer& answer) const;
  absl::Status WriteTokenByToken(const blip2::GenerationOptions& options, at::Tensor logits, blip2::KvPool& pool,
                                 Answer& answer) const;
  absl::Status WriteWithBeams(const blip2::GenerationOptions& options, at::Tensor logits, blip2::KvPool& pool,
                              Answer& answer) const;

  blip2::Config config_;
  blip2::Tokenizer tokenizer_;
  blip2::VisionModel vision_;
  blip2::QFormer qformer_;
  blip2::OptDecoder decoder_;
};

}  // namespace diptych::testing
