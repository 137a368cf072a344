// The language half of BLIP-2 as the service sees it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/checkpoint/config.h"
#include "blip2/cuda/recording.h"
#include "blip2/decoding/batch_choice.h"
#include "blip2/opt.h"
#include "blip2/tokenizer/tokenizer.h"
#include "diptych/v1/inference.pb.h"
#include "language_service/options.h"

namespace diptych::language {

// Query tokens, and where the queries looked.
struct ProjectionAnalysis {
  at::Tensor query_tokens;     // [1, Q, De]
  at::Tensor cross_attention;  // [1, Q, P] float32
};

// The functions may throw, as libtorch does, and are called by the engine thread alone. The rest is const and
// thread-safe.
struct ServedLanguageModel {
  v1::ModelDescription description;  // fingerprint: of the vision model that these weights were trained with
  blip2::Config config;
  std::shared_ptr<const blip2::Tokenizer> tokenizer;

  // Q-Former and projection: visual tokens [B, P, Dv] on the CPU -> [B, Q, De]
  std::function<at::Tensor(const at::Tensor& visual_tokens)> project;
  // The same of one image, bit for bit, with blip2::QFormer::Analyze.
  std::function<ProjectionAnalysis(const at::Tensor& visual_tokens)> analyze_projection;
  // As the members of blip2::OptDecoder.
  std::function<at::Tensor(std::span<const int64_t> ids, const at::Tensor& chosen)> embed;
  std::function<int64_t(int64_t block_tokens)> kv_block_bytes;
  std::function<blip2::KvPool(int64_t blocks, int64_t block_tokens)> make_kv_pool;
  std::function<void(blip2::KvPool& pool, std::span<const int32_t> from, std::span<const int32_t> to)> copy_kv_blocks;
  std::function<absl::Status(blip2::RecordStep record, blip2::Recording::OnFailure on_failure, blip2::KvPool& pool)>
      record_steps;
  std::function<at::Tensor(std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool)> forward;
  std::function<at::Tensor(const at::Tensor& embeddings, int64_t first, int64_t prefix, const blip2::Pieces& pieces)>
      attention_to_prefix;
  // As blip2::BeginChoice, on the device where the logits lie. Empty on the CPU: each sequence chooses by itself.
  std::function<blip2::PendingChoice(std::span<const blip2::RowChoice> rows)> begin_choice;
};

// Loads tokenizer, Q-Former, projection and decoder from the checkpoint in options.model. The error is one line that
// names the file, tensor or option at fault.
absl::StatusOr<ServedLanguageModel> LoadLanguageModel(const LanguageOptions& options);

}  // namespace diptych::language
