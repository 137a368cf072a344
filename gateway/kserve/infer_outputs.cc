#include "gateway/kserve/infer_outputs.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/text/message_json.h"
#include "gateway/kserve/infer_tensors.h"

namespace diptych::gateway {
namespace {

struct Output {
  const char* name;
  const char* type;
  int64_t size;  // -1: any
};
constexpr std::array kOutputs = {Output{"text_output", "BYTES", 1},       Output{"finish_reason", "BYTES", 1},
                                 Output{"token_ids", "INT32", -1},        Output{"prompt_tokens", "INT32", 1},
                                 Output{"completion_tokens", "INT32", 1}, Output{"timings", "BYTES", 1},
                                 Output{"context_budget", "BYTES", 1}};

// Adds the outputs that a request asks for.
class Writer {
 public:
  explicit Writer(const InferRequest& request) : request_(request) {
    response_.set_id(request.id);
    response_.set_model_version(std::string(kModelVersion));
  }

  void Text(const std::string& name, std::string_view value) {
    if (Wanted(name)) AddBytesOutput(response_, name, value);
  }
  void Numbers(const std::string& name, const std::vector<int32_t>& values) {
    if (Wanted(name)) AddInt32Output(response_, name, values);
  }

  // Everything but the text.
  void Facts(const v1::Answer& answer) {
    response_.set_model_name(answer.model());
    Text("finish_reason", v1::FinishReason_Name(answer.finish_reason()).substr(std::string("FINISH_REASON_").size()));
    Numbers("token_ids", {answer.token_ids().begin(), answer.token_ids().end()});
    Numbers("prompt_tokens", {answer.usage().prompt_tokens()});
    Numbers("completion_tokens", {answer.usage().completion_tokens()});
    Text("timings", ToJson(answer.timings()).dump());
    Text("context_budget", ToJson(answer.context_budget()).dump());
  }

  void SetFinal(bool is_final) { (*response_.mutable_parameters())["triton_final_response"].set_bool_param(is_final); }

  inference::ModelInferResponse Finish() { return std::move(response_); }

 private:
  bool Wanted(const std::string& name) const { return request_.outputs.empty() || request_.outputs.contains(name); }

  const InferRequest& request_;
  inference::ModelInferResponse response_;
};

// Behind the prompt an answer is shown as it was generated; alone it is stripped.
std::string TextOf(const InferRequest& request, const std::string& text, const GeneratedText::Steps& steps,
                   GeneratedText& generated) {
  return request.prefix.empty() ? text : generated.Push(text, steps);
}

std::string RestOf(const InferRequest& request, const v1::Answer& answer, const GeneratedText& generated) {
  return request.prefix.empty() ? "" : generated.Finish(answer.finish_reason(), request.generation);
}

void AddTensor(google::protobuf::RepeatedPtrField<inference::ModelMetadataResponse::TensorMetadata>& tensors,
               const char* name, const char* type, int64_t size) {
  auto& tensor = *tensors.Add();
  tensor.set_name(name);
  tensor.set_datatype(type);
  tensor.add_shape(size);
}

}  // namespace

bool IsOutput(std::string_view name) {
  return std::any_of(kOutputs.begin(), kOutputs.end(), [&](const Output& output) { return output.name == name; });
}

inference::ModelInferResponse ToInferResponse(const InferRequest& request, const v1::Answer& answer) {
  Writer writer(request);
  GeneratedText generated;
  const std::string text = TextOf(request, answer.text(), answer.logprobs(), generated);
  writer.Text("text_output", absl::StrCat(request.prefix, text, RestOf(request, answer, generated)));
  writer.Facts(answer);
  return writer.Finish();
}

inference::ModelInferResponse ToInferResponse(const InferRequest& request, const v1::Delta& delta, bool first,
                                              GeneratedText& generated) {
  Writer writer(request);
  const std::string text = TextOf(request, delta.text(), delta.logprobs(), generated);
  writer.Text("text_output", absl::StrCat(first ? request.prefix : "", text));
  writer.SetFinal(false);
  return writer.Finish();
}

inference::ModelInferResponse ToFinalResponse(const InferRequest& request, const v1::Answer& answer, bool first,
                                              const GeneratedText& generated) {
  Writer writer(request);
  writer.Text("text_output", absl::StrCat(first ? request.prefix : "", RestOf(request, answer, generated)));
  writer.Facts(answer);
  writer.SetFinal(true);
  return writer.Finish();
}

inference::ModelMetadataResponse MetadataOf(const v1::ModelDescription& model) {
  inference::ModelMetadataResponse metadata;
  metadata.set_name(model.name());
  metadata.add_versions(std::string(kModelVersion));
  metadata.set_platform("diptych");
  auto& inputs = *metadata.mutable_inputs();
  AddTensor(inputs, "image", "BYTES", -1);
  for (const char* name : {"prompt", "question", "sampling_parameters"}) AddTensor(inputs, name, "BYTES", 1);
  for (const char* name : {"stream", "exclude_input_in_output"}) AddTensor(inputs, name, "BOOL", 1);
  for (const char* name : {"max_new_tokens", "min_new_tokens", "top_k", "num_beams", "image_size"}) {
    AddTensor(inputs, name, "INT32", 1);
  }
  for (const char* name : {"temperature", "top_p", "repetition_penalty", "length_penalty"}) {
    AddTensor(inputs, name, "FP32", 1);
  }
  AddTensor(inputs, "seed", "UINT64", 1);
  AddTensor(inputs, "stop", "BYTES", -1);
  for (const Output& output : kOutputs) AddTensor(*metadata.mutable_outputs(), output.name, output.type, output.size);
  return metadata;
}

}  // namespace diptych::gateway
