// The device and the number types of a model.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "blip2/device/device_memory.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

struct Placement {
  c10::Device device = c10::Device(c10::DeviceType::CPU);
  // Type of the computation; also of the weights, unless these are `integers`.
  c10::ScalarType dtype = c10::ScalarType::Float;
  // The weights of the vision transformer's and the decoder's linear maps, rounded when they are read. Embeddings,
  // layer norms and the Q-Former keep numbers of floating point. With a dtype of bfloat16 they are weight_only(), as on
  // a card.
  std::optional<IntegerType> integers = std::nullopt;

  // The same maps, their weights and inputs, are rounded to 8-bit floats for their products, beside a dtype of
  // bfloat16. For cards; elsewhere by libtorch's slow product, for tests.
  bool float8 = false;

  // Keys and values are cached as 8 bits and a scale for each head (kernels/rounded_kv.h). On the CPU alone.
  bool rounded_kv = false;

  // The weights of the decoder alone are `integers`, and what they are multiplied with stays bfloat16: by libtorch's
  // operators, on a card or, for tests, elsewhere.
  bool weight_only() const { return integers && dtype == c10::ScalarType::BFloat16; }

  // Of cached keys and values: as the model computes, but half of float32 where the weights are rounded far more.
  c10::ScalarType kv_dtype() const {
    if (rounded_kv) return c10::ScalarType::Char;
    return integers ? c10::ScalarType::BFloat16 : dtype;
  }
};

// `device` is "cpu", "cuda" or "cuda:N"; `dtype` is "float32" ("float", "fp32"), "bfloat16" ("bf16"), "float16"
// ("half", "fp16") "int8", "int4", "fp8" (on CUDA alone) or "auto": bfloat16 on CUDA, else float32.
// For CUDA the CUDA half of libtorch is opened at run time. INVALID_ARGUMENT for any other word; FAILED_PRECONDITION,
// naming the remedy, if CUDA is asked for and there is no library or no device N, or N is too old for fp8 or int4.
absl::StatusOr<Placement> ParsePlacement(std::string_view device, std::string_view dtype);

// OK if a card of that capability multiplies 8-bit floats; else FAILED_PRECONDITION, naming the remedy.
absl::Status CheckFloat8(c10::Device device, const ComputeCapability& capability);
// Likewise of weights of 4 bits.
absl::Status CheckInt4(c10::Device device, const ComputeCapability& capability);

// "float32", "bfloat16" or "float16".
std::string DTypeName(c10::ScalarType dtype);
// ParsePlacement's word for it: the type of most weights.
std::string DTypeName(const Placement& placement);

// Threads of one operator; 0: libtorch's choice (OMP_NUM_THREADS, or one for each core), but `at_most`, which is what
// the process may keep busy, if that is known. Call before the first operator.
void SetIntraOpThreads(int threads, std::optional<int> at_most = std::nullopt);

}  // namespace diptych::blip2
