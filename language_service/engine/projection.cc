#include "language_service/engine/projection.h"

#include <ATen/ATen.h>

#include <utility>

#include "blip2/device/device_error.h"
#include "blip2/device/transfer.h"
#include "common/process/catch_exceptions.h"
#include "common/status.h"

namespace diptych::language {
namespace {

at::ScalarType ScalarTypeOf(v1::NumberType type) {
  switch (type) {
    case v1::NUMBER_TYPE_BFLOAT16:
      return at::kBFloat16;
    case v1::NUMBER_TYPE_FLOAT16:
      return at::kHalf;
    default:
      return at::kFloat;
  }
}

// Bytes times the scales of their columns, which lie before them -> [1, P, Dv] float32.
at::Tensor FromInt8(VisualTokens& tokens) {
  const at::Tensor scales = at::from_blob(tokens.bytes.data(), {tokens.width}, at::kFloat);
  const at::Tensor bytes =
      at::from_blob(tokens.bytes.data() + scales.nbytes(), {1, tokens.tokens, tokens.width}, at::kChar);
  return bytes.to(at::kFloat).mul_(scales);
}

// -> [1, P, Dv]. May share the bytes of `tokens`, which must outlive it.
at::Tensor ToTensor(VisualTokens& tokens) {
  if (tokens.dtype == v1::NUMBER_TYPE_INT8) return FromInt8(tokens);
  return at::from_blob(tokens.bytes.data(), {1, tokens.tokens, tokens.width}, ScalarTypeOf(tokens.dtype));
}

bool AllFinite(const at::Tensor& tensor) {
  return blip2::Download(tensor.isfinite().all()).item<bool>();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const QueryTokens>> ProjectImage(const ServedLanguageModel& model, VisualTokens tokens,
                                                                std::string image_key, bool with_attention) {
  QueryTokens image{.key = std::move(image_key), .query_tokens = {}};
  DIPTYCH_RETURN_IF_ERROR(CatchExceptions(
      NameOf(Stage::kQFormer),
      [&] {
        if (with_attention) {
          ProjectionAnalysis analysis = model.analyze_projection(ToTensor(tokens));
          image.query_tokens = std::move(analysis.query_tokens);
          image.query_attention = blip2::Download(analysis.cross_attention[0].contiguous());
        } else {
          image.query_tokens = model.project(ToTensor(tokens));
        }
        if (!AllFinite(image.query_tokens) || (with_attention && !AllFinite(image.query_attention))) {
          return absl::InternalError("the model's query tokens for an image are not finite");
        }
        return absl::OkStatus();
      },
      blip2::StatusOfDeviceError));
  return std::make_shared<const QueryTokens>(std::move(image));
}

}  // namespace diptych::language
