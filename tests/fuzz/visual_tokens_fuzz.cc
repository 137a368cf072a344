// Any bytes as the stream in which a vision replica sends an image's tokens: each piece after four bytes of length is a
// message. What is accepted must be what was asked for; a refusal must say why.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "common/status.h"
#include "common/tiers/visual_tokens.h"
#include "language_service/images/visual_tokens_receiver.h"
#include "tests/fuzz/checks.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::visual_tokens {
namespace {

using namespace diptych;            // NOLINT
using namespace diptych::language;  // NOLINT

constexpr int kTokens = 5;
constexpr int kWidth = 8;

// Takes the next message's bytes off the front; false at the end.
bool TakeMessage(std::string_view& input, v1::EncodeImageResponse& message) {
  uint32_t size = 0;
  if (input.size() < sizeof size) return false;
  std::memcpy(&size, input.data(), sizeof size);
  input.remove_prefix(sizeof size);
  size = static_cast<uint32_t>(std::min<size_t>(size, input.size()));
  const bool parsed = message.ParseFromArray(input.data(), static_cast<int>(size));
  input.remove_prefix(size);
  return parsed;
}

void RequireReason(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  Require(reason == reason::kTierProtocol || reason == reason::kModelMismatch);
}

}  // namespace

DIPTYCH_FUZZ_TARGET(visual_tokens) {
  std::string_view input = fuzz::TextOf(data, size);
  VisualTokensReceiver receiver(
      {.model_fingerprint = "f00d", .image_key = "key", .tokens = kTokens, .width = kWidth, .image_size = 28},
      v1::NUMBER_TYPE_INT8);
  for (v1::EncodeImageResponse message; TakeMessage(input, message);) {
    if (const absl::Status status = receiver.Accept(message); !status.ok()) {
      RequireReason(status);
      Require(receiver.fault() != TokenFault::kNone);
      return 0;
    }
  }
  const absl::StatusOr<VisualTokens> tokens = receiver.Finish();
  if (!tokens.ok()) {
    RequireReason(tokens.status());
    return 0;
  }
  Require(tokens->tokens == kTokens && tokens->width == kWidth);
  Require(static_cast<int64_t>(tokens->bytes.size()) == StreamedBytes(tokens->dtype, kTokens, kWidth));
  return 0;
}

}  // namespace diptych::fuzz::visual_tokens
