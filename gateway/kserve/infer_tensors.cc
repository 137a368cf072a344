#include "gateway/kserve/infer_tensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <type_traits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

constexpr size_t kMaxShownName = 64;  // bytes of a name that a caller made up

static_assert(std::endian::native == std::endian::little, "raw tensors are little-endian");

// Reads elements of type T from the front of `raw`.
template <typename T, typename Value>
InferValue TakeNumber(std::string_view& raw) {
  T number;
  std::memcpy(&number, raw.data(), sizeof(T));
  raw.remove_prefix(sizeof(T));
  if constexpr (std::is_same_v<T, uint64_t>) return WholeValue(number);
  return static_cast<Value>(number);
}

struct NumberType {
  size_t bytes;
  InferValue (*take)(std::string_view& raw);
};

const std::map<std::string_view, NumberType>& NumberTypes() {
  static const std::map<std::string_view, NumberType> types = {
      {"BOOL",
       {1,
        [](std::string_view& raw) { return InferValue(std::get<int64_t>(TakeNumber<uint8_t, int64_t>(raw)) != 0); }}},
      {"INT8", {1, TakeNumber<int8_t, int64_t>}},
      {"INT16", {2, TakeNumber<int16_t, int64_t>}},
      {"INT32", {4, TakeNumber<int32_t, int64_t>}},
      {"INT64", {8, TakeNumber<int64_t, int64_t>}},
      {"UINT8", {1, TakeNumber<uint8_t, int64_t>}},
      {"UINT16", {2, TakeNumber<uint16_t, int64_t>}},
      {"UINT32", {4, TakeNumber<uint32_t, int64_t>}},
      {"UINT64", {8, TakeNumber<uint64_t, int64_t>}},
      {"FP32", {4, TakeNumber<float, double>}},
      {"FP64", {8, TakeNumber<double, double>}}};
  return types;
}

// The number of elements; -1 if the shape is impossible or too large.
int64_t ElementCount(const inference::ModelInferRequest::InferInputTensor& input) {
  int64_t count = 1;
  for (const int64_t size : input.shape()) {
    if (size < 0 || size > kMaxInferElements) return -1;
    count *= size;
    if (count > kMaxInferElements) return -1;
  }
  return count;
}

// Whether it is the bytes of one file, as pipelines that read files into arrays send them.
bool IsFile(const inference::ModelInferRequest::InferInputTensor& input, const std::string& raw) {
  if (input.datatype() != "UINT8" || raw.size() <= kMaxInferElements) return false;
  const auto bytes = static_cast<int64_t>(raw.size());
  const auto sides = [&](int64_t size) { return std::count(input.shape().begin(), input.shape().end(), size); };
  return sides(bytes) == 1 && sides(1) == input.shape_size() - 1;
}

absl::StatusOr<std::vector<InferValue>> RawBytes(std::string& raw, int64_t count, std::string_view name) {
  std::vector<InferValue> values;
  size_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t size = 0;
    if (raw.size() - at < sizeof(size)) return InputFault(name, "takes each element after its length in four bytes");
    std::memcpy(&size, raw.data() + at, sizeof(size));
    at += sizeof(size);
    if (raw.size() - at < size) return InputFault(name, "ends before its last element does");
    if (count == 1 && at + size == raw.size()) {  // the common case, without a second copy of an image
      raw.erase(0, at);
      values.emplace_back(std::move(raw));
      return values;
    }
    values.emplace_back(raw.substr(at, size));
    at += size;
  }
  if (at != raw.size()) return InputFault(name, "has more elements than its shape says");
  return values;
}

absl::StatusOr<std::vector<InferValue>> RawNumbers(std::string_view raw, const NumberType& type, int64_t count,
                                                   std::string_view name) {
  if (raw.size() != type.bytes * static_cast<size_t>(count)) {
    return InputFault(name, "has another number of bytes than its type and shape say");
  }
  std::vector<InferValue> values;
  while (!raw.empty()) values.push_back(type.take(raw));
  return values;
}

// Whichever field of `contents` is used; at most one may be.
std::vector<InferValue> TypedValues(inference::InferTensorContents& contents) {
  std::vector<InferValue> values;
  for (const bool value : contents.bool_contents()) values.emplace_back(value);
  for (const int64_t value : contents.int_contents()) values.emplace_back(value);
  for (const int64_t value : contents.int64_contents()) values.emplace_back(value);
  for (const int64_t value : contents.uint_contents()) values.emplace_back(value);
  for (const uint64_t value : contents.uint64_contents()) values.push_back(WholeValue(value));
  for (const double value : contents.fp32_contents()) values.emplace_back(value);
  for (const double value : contents.fp64_contents()) values.emplace_back(value);
  for (std::string& value : *contents.mutable_bytes_contents()) values.emplace_back(std::move(value));
  return values;
}

absl::StatusOr<std::vector<InferValue>> TakeValues(inference::ModelInferRequest::InferInputTensor& input,
                                                   std::string* raw) {
  std::vector<InferValue> values;
  if (raw != nullptr && IsFile(input, *raw)) {
    values.emplace_back(std::move(*raw));
    return values;
  }
  const int64_t count = ElementCount(input);
  if (count < 0) {
    return InputFault(input.name(), absl::StrCat("takes at most ", kMaxInferElements,
                                                 " elements; images are given as encoded files, not as pixels"));
  }
  const auto type = NumberTypes().find(input.datatype());
  if (input.datatype() != "BYTES" && type == NumberTypes().end()) {
    return InputFault(input.name(),
                      "takes BYTES, BOOL, an integer type, FP32 or FP64; images are given as encoded files");
  }
  if (raw != nullptr) {
    return input.datatype() == "BYTES" ? RawBytes(*raw, count, input.name())
                                       : RawNumbers(*raw, type->second, count, input.name());
  }
  values = TypedValues(*input.mutable_contents());
  if (static_cast<int64_t>(values.size()) != count) {
    return InputFault(input.name(), "has another number of elements than its shape says");
  }
  return values;
}

}  // namespace

InferValue WholeValue(uint64_t value) {
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return value;
  return static_cast<int64_t>(value);
}

std::string ShownName(std::string_view name) {
  return absl::CHexEscape(std::string(name.substr(0, kMaxShownName)));
}

absl::Status InputFault(std::string_view name, std::string_view message) {
  const std::string shown = ShownName(name);
  return InvalidField(reason::kOptionRange, absl::StrCat("inputs.", shown),
                      absl::StrCat(shown, " ", std::string(message)));
}

absl::Status CheckNoParameters(std::string_view where, std::string_view tensor,
                               const google::protobuf::Map<std::string, inference::InferParameter>& parameters) {
  for (const auto& [name, unused] : parameters) {
    if (name == "binary_data") continue;  // of HTTP alone; says how the bytes travel
    const std::string shown = ShownName(tensor);
    return InvalidField(reason::kOptionRange, absl::StrCat(std::string(where), ".", shown),
                        absl::StrCat(shown, " has the parameter ", ShownName(name), ", which is not served"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<InferTensor>> TakeInputs(inference::ModelInferRequest& request) {
  if (request.inputs_size() > kMaxInferTensors) {
    return InvalidField(
        reason::kOptionRange, "inputs",
        absl::StrCat("inputs takes at most ", kMaxInferTensors, " tensors, not ", request.inputs_size()));
  }
  const bool raw = request.raw_input_contents_size() > 0;
  if (raw && request.raw_input_contents_size() != request.inputs_size()) {
    return InvalidField(
        reason::kOptionRange, "raw_input_contents",
        absl::StrCat("raw_input_contents takes one entry for each input, which are ", request.inputs_size(),
                     ", or none at all, not ", request.raw_input_contents_size()));
  }
  std::vector<InferTensor> tensors;
  std::set<std::string> names;
  for (int i = 0; i < request.inputs_size(); ++i) {
    auto& input = *request.mutable_inputs(i);
    if (!names.insert(input.name()).second) return InputFault(input.name(), "is given twice");
    DIPTYCH_RETURN_IF_ERROR(CheckNoParameters("inputs", input.name(), input.parameters()));
    if (raw && input.contents().ByteSizeLong() > 0) {
      return InputFault(input.name(),
                        "has contents although there are raw_input_contents: use one of the two for all inputs");
    }
    DIPTYCH_ASSIGN_OR_RETURN(auto values, TakeValues(input, raw ? request.mutable_raw_input_contents(i) : nullptr));
    tensors.push_back({.name = input.name(), .values = std::move(values)});
  }
  return tensors;
}

absl::StatusOr<InferValue> ValueOf(const inference::InferParameter& parameter, std::string_view name) {
  switch (parameter.parameter_choice_case()) {
    case inference::InferParameter::kBoolParam:
      return parameter.bool_param();
    case inference::InferParameter::kInt64Param:
      return parameter.int64_param();
    case inference::InferParameter::kStringParam:
      return parameter.string_param();
    case inference::InferParameter::kDoubleParam:
      return parameter.double_param();
    case inference::InferParameter::kUint64Param:
      return WholeValue(parameter.uint64_param());
    case inference::InferParameter::PARAMETER_CHOICE_NOT_SET:
      break;
  }
  return InvalidField(reason::kOptionRange, absl::StrCat("parameters.", ShownName(name)),
                      absl::StrCat("parameter ", ShownName(name), " has no usable value"));
}

namespace {

void AddOutput(inference::ModelInferResponse& response, const std::string& name, const char* type, int64_t count) {
  auto& output = *response.add_outputs();
  output.set_name(name);
  output.set_datatype(type);
  output.add_shape(count);
}

void AppendRaw(std::string& raw, uint32_t value) {
  raw.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

void AddBytesOutput(inference::ModelInferResponse& response, const std::string& name, std::string_view value) {
  AddOutput(response, name, "BYTES", 1);
  std::string& raw = *response.add_raw_output_contents();
  AppendRaw(raw, static_cast<uint32_t>(value.size()));
  raw.append(value);
}

void AddInt32Output(inference::ModelInferResponse& response, const std::string& name,
                    const std::vector<int32_t>& values) {
  AddOutput(response, name, "INT32", static_cast<int64_t>(values.size()));
  std::string& raw = *response.add_raw_output_contents();
  for (const int32_t value : values) AppendRaw(raw, static_cast<uint32_t>(value));
}

}  // namespace diptych::gateway
