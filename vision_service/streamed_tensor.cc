#include "vision_service/streamed_tensor.h"

#include <ATen/ATen.h>

#include <bit>
#include <cstring>
#include <limits>

#include "common/tiers/visual_tokens.h"

namespace diptych::vision {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are streamed as they lie in memory");

constexpr float kLargestByte = 127;

v1::NumberType NumberTypeOf(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return v1::NUMBER_TYPE_FLOAT32;
    case at::kBFloat16:
      return v1::NUMBER_TYPE_BFLOAT16;
    case at::kHalf:
      return v1::NUMBER_TYPE_FLOAT16;
    default:
      return v1::NUMBER_TYPE_UNSPECIFIED;
  }
}

bool AllFinite(const at::Tensor& values) {
  return at::isfinite(values).all().item<bool>();
}

// One scale a column: the outlier channels of a trained model are columns.
StreamedTensor ToInt8(const at::Tensor& tokens) {
  const at::Tensor numbers = tokens.to(at::kFloat);
  const at::Tensor scales =
      numbers.abs()
          .amax(/*dim=*/0)
          .div_(kLargestByte)
          .clamp_min_(std::numeric_limits<float>::min());  // so that a column of zeros is divided by something
  const at::Tensor bytes = numbers.div(scales).round_().clamp_(-kLargestByte, kLargestByte).to(at::kChar);
  at::Tensor values =
      at::empty({StreamedBytes(v1::NUMBER_TYPE_INT8, tokens.size(0), tokens.size(1))}, at::TensorOptions(at::kChar));
  std::memcpy(values.mutable_data_ptr(), scales.const_data_ptr(), scales.nbytes());
  std::memcpy(values.mutable_data_ptr<int8_t>() + scales.nbytes(), bytes.const_data_ptr(), bytes.nbytes());
  return {.values = std::move(values), .dtype = v1::NUMBER_TYPE_INT8};
}

// The largest number that a receiver may work out, 128 times the largest scale, is finite.
bool FitsInt8(const at::Tensor& tokens) {
  return tokens.abs().max().to(at::kFloat).item<float>() < std::numeric_limits<float>::max() / 2;
}

}  // namespace

StreamedTensor ToStreamed(const at::Tensor& tokens, v1::NumberType wanted) {
  const v1::NumberType own = NumberTypeOf(tokens.scalar_type());
  switch (wanted) {
    case v1::NUMBER_TYPE_FLOAT32:
      return {.values = tokens.to(at::kFloat), .dtype = wanted};
    case v1::NUMBER_TYPE_BFLOAT16:
    case v1::NUMBER_TYPE_FLOAT16: {
      const at::Tensor values = tokens.to(wanted == v1::NUMBER_TYPE_FLOAT16 ? at::kHalf : at::kBFloat16);
      if (AllFinite(values)) return {.values = values, .dtype = wanted};
      break;
    }
    case v1::NUMBER_TYPE_INT8:
      if (FitsInt8(tokens)) return ToInt8(tokens);
      break;
    default:
      break;
  }
  return {.values = tokens, .dtype = own};
}

}  // namespace diptych::vision
