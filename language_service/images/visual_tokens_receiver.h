// Joins the messages of one EncodeImage stream. Checks everything that it receives.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "diptych/v1/vision.pb.h"
#include "language_service/engine/visual_tokens.h"

namespace diptych::language {

// The expected stream, derived from the request and the language tier's own checkpoint.
struct ExpectedTokens {
  std::string model_fingerprint;
  std::string image_key;
  int tokens = 0;      // P
  int width = 0;       // Dv
  int image_size = 0;  // pixels
};

// Memory for them in the widest form that can come.
int64_t BytesForVisualTokens(const ExpectedTokens& expected);

// A stream's fault.
enum class TokenFault { kNone, kOrder, kModel, kShape, kDType, kImage, kChecksum, kSize, kNotFinite, kScale, kCount };

// Allocates what `expected` implies and never more. Thread-compatible.
class VisualTokensReceiver {
 public:
  // `asked`: the number type that the request names. Another may come, but none that loses more than the vision tier's
  // own: NUMBER_TYPE_INT8 only if it was asked for.
  explicit VisualTokensReceiver(ExpectedTokens expected, v1::NumberType asked = v1::NUMBER_TYPE_UNSPECIFIED)
      : expected_(std::move(expected)), asked_(asked) {}

  // Takes the next message. INTERNAL with TIER_PROTOCOL if it is not the one that must come;
  // FAILED_PRECONDITION with MODEL_MISMATCH if the tokens are another model's.
  absl::Status Accept(const v1::EncodeImageResponse& message);

  // Nothing may follow any more.
  bool complete() const { return next_ == Next::kEnd; }

  // The tokens, once the stream has ended. INTERNAL with TIER_PROTOCOL if something is missing, a number is not finite,
  // or a scale is negative. Call once.
  absl::StatusOr<VisualTokens> Finish();

  // Why Accept or Finish refused.
  TokenFault fault() const { return fault_; }

 private:
  absl::Status AcceptHeader(const v1::VisualTokensHeader& header);
  absl::Status AcceptChunk(const v1::VisualTokensChunk& chunk);
  absl::Status AcceptTrailer(const v1::VisualTokensTrailer& trailer);

  absl::Status Broken(TokenFault fault, std::string_view what);

  enum class Next { kHeader, kChunk, kEnd };

  const ExpectedTokens expected_;
  const v1::NumberType asked_;
  Next next_ = Next::kHeader;
  TokenFault fault_ = TokenFault::kNone;
  int chunk_count_ = 0;  // as the header says; compared, never used as a size
  int chunks_seen_ = 0;
  size_t total_bytes_ = 0;  // of the whole tensor
  VisualTokens tokens_;
};

}  // namespace diptych::language
