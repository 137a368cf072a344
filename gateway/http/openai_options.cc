#include "gateway/http/openai_options.h"

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

using nlohmann::json;

void ReadStop(Members& members, v1::GenerationOptions& generation) {
  const json* stop = members.Take("stop");
  if (stop == nullptr) return;
  if (stop->is_string()) return generation.add_stop(stop->get<std::string>());
  if (!stop->is_array()) return members.Fail(Invalid("stop", "takes a string or a list of strings"));
  for (const json& text : *stop) {
    if (!text.is_string()) return members.Fail(Invalid("stop", "takes a string or a list of strings"));
    generation.add_stop(text.get<std::string>());
  }
}

void ReadSeed(Members& members, v1::GenerationOptions& generation) {
  const json* seed = members.Take("seed");
  if (seed == nullptr) return;
  if (!seed->is_number_integer()) return members.Fail(Invalid("seed", "takes a whole number"));
  generation.set_seed(seed->is_number_unsigned() ? seed->get<uint64_t>() : static_cast<uint64_t>(seed->get<int64_t>()));
}

}  // namespace

void ReadImageOptions(Members& members, v1::ImageOptions& options) {
  const json* object = members.Take("image_options");
  if (object == nullptr) return;
  Members inner(*object, "image_options");
  inner.Integer("image_size", [&](int32_t value) { options.set_image_size(value); });
  inner.Integer("max_side", [&](int32_t value) { options.set_max_side(value); });
  inner.Number("token_merging", [&](double value) { options.set_token_merging(value); });
  members.Fail(inner.Finish());
}

void ReadOptions(Members& members, OpenAiRequest& request) {
  v1::GenerationOptions& generation = *request.question.mutable_generation();
  request.question.set_model(members.Text("model"));
  members.Number("temperature", [&](double value) { generation.set_temperature(value); });
  members.Number("top_p", [&](double value) { generation.set_top_p(value); });
  members.Integer("top_k", [&](int32_t value) { generation.set_top_k(value); });
  members.Integer("min_tokens", [&](int32_t value) { generation.set_min_new_tokens(value); });
  members.Number("repetition_penalty", [&](double value) { generation.set_repetition_penalty(value); });
  members.Integer("num_beams", [&](int32_t value) { generation.set_num_beams(value); });
  members.Number("length_penalty", [&](double value) { generation.set_length_penalty(value); });
  members.Integer("max_tokens", [&](int32_t value) { generation.set_max_new_tokens(value); });
  ReadSeed(members, generation);
  ReadStop(members, generation);
  ReadImageOptions(members, *request.question.mutable_image_options());
  members.Integer("n", [&](int32_t value) {
    if (value < 1 || value > kMaxChoices) members.Fail(Invalid("n", absl::StrCat("takes 1 to ", kMaxChoices)));
    request.choices = value;
  });
  request.stream = members.Flag("stream");
  if (const json* options = members.Take("stream_options"); options != nullptr) {
    Members inner(*options, "stream_options");
    request.include_usage = inner.Flag("include_usage");
    inner.Ignore({"include_obfuscation"});
    members.Fail(inner.Finish());
    if (!request.stream) members.Fail(Invalid("stream_options", "needs \"stream\": true"));
  }
  members.Neutral("presence_penalty");
  members.Neutral("frequency_penalty");
  members.Neutral("logit_bias");
  members.Ignore({"user", "metadata", "safety_identifier", "prompt_cache_key", "service_tier"});
}

void ReadChatOptions(Members& members, OpenAiRequest& request) {
  v1::GenerationOptions& generation = *request.question.mutable_generation();
  members.Integer("max_completion_tokens", [&](int32_t value) { generation.set_max_new_tokens(value); });
  request.question.set_return_relevance(members.Flag("return_relevance"));
  const bool logprobs = members.Flag("logprobs");
  int32_t top = 0;
  members.Integer("top_logprobs", [&](int32_t value) { top = value; });
  if (top != 0 && !logprobs) members.Fail(Invalid("top_logprobs", "needs \"logprobs\": true"));
  request.top_logprobs = top;
  // One is the least that the model returns; the reply leaves it out again.
  if (logprobs) generation.set_logprobs(top == 0 ? 1 : top);
  if (const json* format = members.Take("response_format");
      format != nullptr && *format != json::object({{"type", "text"}})) {
    members.Fail(Unsupported("response_format"));
  }
  if (const json* modalities = members.Take("modalities");
      modalities != nullptr && *modalities != json::array({"text"})) {
    members.Fail(Unsupported("modalities"));
  }
  members.Neutral("tools");
  members.Neutral("tool_choice", "none");
  members.Neutral("functions");
  members.Neutral("function_call", "none");
  members.Neutral("store");
  members.Ignore({"parallel_tool_calls"});
}

void ReadCompletionOptions(Members& members, OpenAiRequest& request) {
  members.Integer("logprobs", [&](int32_t value) {
    request.top_logprobs = value;
    request.question.mutable_generation()->set_logprobs(value == 0 ? 1 : value);
  });
  request.echo = members.Flag("echo");
  members.Neutral("suffix");
  members.Neutral("best_of", 1);
}

}  // namespace diptych::gateway
