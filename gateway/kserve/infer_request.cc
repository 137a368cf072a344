#include "gateway/kserve/infer_request.h"

#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/images/image_header.h"
#include "common/status.h"
#include "common/text/json_input.h"
#include "gateway/kserve/infer_outputs.h"
#include "gateway/kserve/infer_tensors.h"

namespace diptych::gateway {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Names that Triton's backends give to what we call otherwise.
std::string OwnName(const std::string& name) {
  static const std::map<std::string, std::string> names = {{"image_bytes", "image"},
                                                           {"image_bytes_input", "image"},
                                                           {"images", "image"},
                                                           {"text_input", "prompt"},
                                                           {"max_tokens", "max_new_tokens"},
                                                           {"request_output_len", "max_new_tokens"},
                                                           {"min_tokens", "min_new_tokens"},
                                                           {"beam_width", "num_beams"},
                                                           {"random_seed", "seed"},
                                                           {"runtime_top_k", "top_k"},
                                                           {"runtime_top_p", "top_p"},
                                                           {"len_penalty", "length_penalty"},
                                                           {"stop_words", "stop"}};
  const auto found = names.find(name);
  return found == names.end() ? name : found->second;
}

std::optional<int64_t> WholeNumber(const InferValue& value) {
  if (const auto* whole = std::get_if<int64_t>(&value)) return *whole;
  const auto* number = std::get_if<double>(&value);
  constexpr double kLargest = 1ll << 53;
  if (number == nullptr || !(std::abs(*number) <= kLargest) || *number != std::floor(*number)) return std::nullopt;
  return static_cast<int64_t>(*number);
}

std::optional<double> Number(const InferValue& value) {
  if (const auto* number = std::get_if<double>(&value)) return *number;
  if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
  if (const auto* large = std::get_if<uint64_t>(&value)) return static_cast<double>(*large);
  return std::nullopt;
}

// Sets the field of `message` that `field` describes. False if the value is of another type or range.
bool SetField(Message& message, const FieldDescriptor& field, const InferValue& value) {
  const auto& reflection = *message.GetReflection();
  const auto whole = WholeNumber(value);
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      if (!whole || *whole < std::numeric_limits<int32_t>::min() || *whole > std::numeric_limits<int32_t>::max())
        return false;
      field.is_repeated() ? reflection.AddInt32(&message, &field, static_cast<int32_t>(*whole))
                          : reflection.SetInt32(&message, &field, static_cast<int32_t>(*whole));
      return true;
    case FieldDescriptor::CPPTYPE_UINT64:
      if (field.is_repeated()) return false;
      if (const auto* large = std::get_if<uint64_t>(&value)) {
        reflection.SetUInt64(&message, &field, *large);
        return true;
      }
      if (!whole || *whole < 0) return false;
      reflection.SetUInt64(&message, &field, static_cast<uint64_t>(*whole));
      return true;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      if (field.is_repeated() || !Number(value)) return false;
      reflection.SetDouble(&message, &field, *Number(value));
      return true;
    case FieldDescriptor::CPPTYPE_BOOL:
      if (field.is_repeated() || !std::holds_alternative<bool>(value)) return false;
      reflection.SetBool(&message, &field, std::get<bool>(value));
      return true;
    case FieldDescriptor::CPPTYPE_STRING:
      if (!std::holds_alternative<std::string>(value)) return false;
      field.is_repeated() ? reflection.AddString(&message, &field, std::get<std::string>(value))
                          : reflection.SetString(&message, &field, std::get<std::string>(value));
      return true;
    default:
      return false;
  }
}

// Sets an option by name. INVALID_ARGUMENT if there is none of this name or the values are not of its type.
absl::Status SetOption(InferRequest& request, const std::string& given, const std::vector<InferValue>& values) {
  const std::string name = OwnName(given);
  request.names[name] = given;
  for (Message* options : {static_cast<Message*>(request.question.mutable_generation()),
                           static_cast<Message*>(request.question.mutable_image_options())}) {
    const FieldDescriptor* field = options->GetDescriptor()->FindFieldByName(name);
    if (field == nullptr) continue;
    if (!field->is_repeated() && values.size() != 1) return InputFault(given, "takes one value");
    for (const InferValue& value : values) {
      if (!SetField(*options, *field, value)) {
        return InputFault(given, absl::StrCat("takes ", field->is_repeated() ? "values" : "a value", " of type ",
                                              field->type_name()));
      }
    }
    return absl::OkStatus();
  }
  return InputFault(given,
                    "is not known; ModelMetadata lists the inputs, and options have their names in GenerationOptions");
}

absl::StatusOr<std::vector<InferValue>> ValuesOf(const nlohmann::json& json, const std::string& name) {
  std::vector<InferValue> values;
  for (const auto& item : json.is_array() ? json : nlohmann::json::array({json})) {
    if (item.is_boolean()) {
      values.emplace_back(item.get<bool>());
    } else if (item.is_number_float()) {
      values.emplace_back(item.get<double>());
    } else if (item.is_number_unsigned()) {
      values.push_back(WholeValue(item.get<uint64_t>()));
    } else if (item.is_number_integer()) {
      values.emplace_back(item.get<int64_t>());
    } else if (item.is_string()) {
      values.emplace_back(item.get<std::string>());
    } else {
      return InputFault(name, "takes numbers, truth values and text");
    }
  }
  return values;
}

// The value in a text: clients of Triton's vLLM write "0.5" and "true" into the JSON.
InferValue InText(const std::string& text) {
  int64_t whole = 0;
  double number = 0;
  bool truth = false;
  if (absl::SimpleAtoi(text, &whole)) return whole;
  if (absl::SimpleAtod(text, &number)) return number;
  if (absl::SimpleAtob(text, &truth)) return truth;
  return text;
}

absl::Status SetJsonOptions(InferRequest& request, const std::string& text) {
  const auto options = ParseJsonObject(text, "sampling_parameters");
  if (!options.ok()) {
    return InvalidField(reason::kOptionRange, "inputs.sampling_parameters", std::string(options.status().message()));
  }
  for (const auto& [name, value] : options->items()) {
    if (value.is_null()) continue;
    DIPTYCH_ASSIGN_OR_RETURN(const auto values, ValuesOf(value, name));
    const absl::Status set = SetOption(request, name, values);
    if (!set.ok() && !value.is_string()) return set;
    if (!set.ok()) DIPTYCH_RETURN_IF_ERROR(SetOption(request, name, {InText(value.get<std::string>())}));
  }
  return absl::OkStatus();
}

// Reads the inputs of one request. Used once.
class Reader {
 public:
  absl::Status Take(InferTensor tensor) {
    const std::string name = OwnName(tensor.name);
    result_.names[name] = tensor.name;
    if (name == "image") return TakeImages(std::move(tensor));
    if (name == "prompt") return TakeText(tensor, *result_.question.mutable_prompt());
    if (name == "question") return TakeText(tensor, asked_);
    if (name == "sampling_parameters") return TakeOptions(tensor);
    if (name == "stream") return Flag(tensor, stream_);
    if (name == "exclude_input_in_output") return Flag(tensor, exclude_input_);
    return SetOption(result_, tensor.name, tensor.values);
  }

  absl::StatusOr<InferRequest> Finish() {
    if (!asked_.empty()) {
      if (!result_.question.prompt().empty()) return InputFault("question", "cannot be combined with prompt");
      v1::Turn& turn = *result_.question.add_turns();
      turn.set_role(v1::ROLE_USER);
      turn.set_text(asked_);
    }
    if (!exclude_input_) PutPromptFirst();
    return std::move(result_);
  }

  InferRequest& result() { return result_; }

 private:
  void PutPromptFirst() {
    result_.prefix = result_.question.prompt();
    result_.generation = result_.question.generation();
    if (result_.prefix.empty() || result_.generation.logprobs() != 0) return;
    result_.question.mutable_generation()->set_logprobs(1);  // for GeneratedText
  }

  absl::Status TakeImages(InferTensor tensor) {
    for (InferValue& value : tensor.values) {
      auto* bytes = std::get_if<std::string>(&value);
      if (bytes == nullptr)
        return InputFault(tensor.name, "takes BYTES: encoded image files, or those as base64; one file may be UINT8");
      std::string decoded;
      const bool is_file = ReadImageHeader(*bytes).ok();
      if (!is_file && absl::Base64Unescape(*bytes, &decoded)) *bytes = std::move(decoded);
      result_.question.add_images()->set_data(std::move(*bytes));
    }
    return absl::OkStatus();
  }

  static absl::Status TakeText(const InferTensor& tensor, std::string& text) {
    if (tensor.values.size() != 1 || !std::holds_alternative<std::string>(tensor.values[0])) {
      return InputFault(tensor.name, "takes one element of BYTES; ask once for each text");
    }
    text = std::get<std::string>(tensor.values[0]);
    return absl::OkStatus();
  }

  absl::Status TakeOptions(const InferTensor& tensor) {
    std::string text;
    DIPTYCH_RETURN_IF_ERROR(TakeText(tensor, text));
    return text.empty() ? absl::OkStatus() : SetJsonOptions(result_, text);
  }

  static absl::Status Flag(const InferTensor& tensor, bool& flag) {
    if (tensor.values.size() != 1 || !std::holds_alternative<bool>(tensor.values[0])) {
      return InputFault(tensor.name, "takes one element of BOOL");
    }
    flag = std::get<bool>(tensor.values[0]);
    return absl::OkStatus();
  }

  InferRequest result_;
  std::string asked_;
  bool stream_ = false;  // says nothing that the method does not say
  bool exclude_input_ = true;
};

// Parameters that servers of the protocol add of themselves and that ask for nothing.
bool AsksForNothing(const std::string& parameter) {
  static const std::set<std::string> names = {"triton_enable_empty_final_response",
                                              "sequence_id",
                                              "sequence_start",
                                              "sequence_end",
                                              "priority",
                                              "timeout",
                                              "binary_data_output"};
  return names.contains(parameter);
}

}  // namespace

absl::StatusOr<InferRequest> ReadInferRequest(inference::ModelInferRequest request) {
  if (!request.model_version().empty() && request.model_version() != kModelVersion) {
    return MakeError(absl::StatusCode::kNotFound, reason::kModelUnknown, "the served model has version 1 alone");
  }
  Reader reader;
  InferRequest& result = reader.result();
  result.question.set_model(request.model_name());
  result.question.set_request_id(request.id());
  result.id = request.id();
  for (const auto& output : request.outputs()) {
    if (!IsOutput(output.name())) {
      return InvalidField(
          reason::kOptionRange, "outputs",
          absl::StrCat("outputs names \"", ShownName(output.name()), "\", which ModelMetadata does not list"));
    }
    DIPTYCH_RETURN_IF_ERROR(CheckNoParameters("outputs", output.name(), output.parameters()));
    result.outputs.insert(output.name());
  }
  for (const auto& [name, parameter] : request.parameters()) {
    if (AsksForNothing(name)) continue;
    DIPTYCH_ASSIGN_OR_RETURN(InferValue value, ValueOf(parameter, name));
    DIPTYCH_RETURN_IF_ERROR(reader.Take({.name = name, .values = {std::move(value)}}));
  }
  DIPTYCH_ASSIGN_OR_RETURN(auto tensors, TakeInputs(request));
  for (InferTensor& tensor : tensors) DIPTYCH_RETURN_IF_ERROR(reader.Take(std::move(tensor)));
  return reader.Finish();
}

}  // namespace diptych::gateway
