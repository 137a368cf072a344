// Tensors of the Open Inference Protocol, from and to the wire.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "inference/grpc_service.pb.h"

namespace diptych::gateway {

inline constexpr int kMaxInferTensors = 64;   // of one request
inline constexpr int kMaxInferElements = 64;  // of one tensor

// An element of a tensor, or the value of a parameter.
// Whole numbers are int64_t; uint64_t are those alone that have no place in it.
using InferValue = std::variant<bool, int64_t, uint64_t, double, std::string>;

InferValue WholeValue(uint64_t value);

struct InferTensor {
  std::string name;
  std::vector<InferValue> values;  // row by row
};

// A name that a caller made up, fit to be shown.
std::string ShownName(std::string_view name);

// INVALID_ARGUMENT with OPTION_RANGE that names an input.
absl::Status InputFault(std::string_view name, std::string_view message);

// INVALID_ARGUMENT with OPTION_RANGE for a parameter of an input or output: shared memory and classification are not
// served. `where`: "inputs" or "outputs".
absl::Status CheckNoParameters(std::string_view where, std::string_view tensor,
                               const google::protobuf::Map<std::string, inference::InferParameter>& parameters);

// The inputs of a request. Elements of BYTES are taken out of it. INVALID_ARGUMENT with OPTION_RANGE, naming the
// tensor, if a tensor is given twice, has a type that is not served, or has another number of elements than its shape
// says.
absl::StatusOr<std::vector<InferTensor>> TakeInputs(inference::ModelInferRequest& request);

// INVALID_ARGUMENT with OPTION_RANGE if it holds nothing or a number that is no int64.
absl::StatusOr<InferValue> ValueOf(const inference::InferParameter& parameter, std::string_view name);

// Appends an output of one row.
void AddBytesOutput(inference::ModelInferResponse& response, const std::string& name, std::string_view value);
void AddInt32Output(inference::ModelInferResponse& response, const std::string& name,
                    const std::vector<int32_t>& values);

}  // namespace diptych::gateway
