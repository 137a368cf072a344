#include "gateway/http/openai_request.h"

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/json_input.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

using nlohmann::json;

absl::Status Invalid(std::string_view field, std::string_view message) {
  return InvalidField(kInvalidValue, field, message);
}

absl::Status Unsupported(std::string_view field) {
  const absl::string_view name(field.data(), field.size());
  return InvalidField(kUnsupportedParameter, field, absl::StrCat("\"", name, "\" is not something this model can do"));
}

// Takes an object's members one by one; what nobody took is unsupported. The first fault is kept. null counts as
// absent.
class Members {
 public:
  Members(const json& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object.is_object()) Fail(Invalid(path_, "takes an object"));
  }

  const json* Take(const char* name) {
    taken_.insert(name);
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  template <typename Set>
  void Integer(const char* name, Set&& set) {
    const json* value = Take(name);
    if (value == nullptr) return;
    const bool whole =
        value->is_number_integer() && (!value->is_number_unsigned() || value->get<uint64_t>() <= INT32_MAX);
    if (!whole || value->get<int64_t>() > INT32_MAX || value->get<int64_t>() < INT32_MIN) {
      return Fail(Invalid(Path(name), "takes a whole number"));
    }
    set(static_cast<int32_t>(value->get<int64_t>()));
  }

  template <typename Set>
  void Number(const char* name, Set&& set) {
    const json* value = Take(name);
    if (value == nullptr) return;
    value->is_number() ? set(value->get<double>()) : Fail(Invalid(Path(name), "takes a number"));
  }

  bool Flag(const char* name) {
    const json* value = Take(name);
    if (value == nullptr) return false;
    if (!value->is_boolean()) Fail(Invalid(Path(name), "takes true or false"));
    return value->is_boolean() && value->get<bool>();
  }

  std::string Text(const char* name) {
    const json* value = Take(name);
    if (value == nullptr) return "";
    if (!value->is_string()) Fail(Invalid(Path(name), "takes a string"));
    return value->is_string() ? value->get<std::string>() : "";
  }

  // Has no meaning here and changes no answer, whatever it says.
  void Ignore(std::initializer_list<const char*> names) { taken_.insert(names.begin(), names.end()); }

  // May be there as long as it asks for nothing: null, false, 0, 1 where that is neutral, "", [] or {}.
  void Neutral(const char* name, const json& neutral = nullptr) {
    const json* value = Take(name);
    if (value == nullptr || *value == neutral || *value == false || *value == 0) return;
    if ((value->is_string() || value->is_structured()) && value->empty()) return;
    Fail(Unsupported(Path(name)));
  }

  void Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  std::string Path(std::string_view name) const {
    const absl::string_view member(name.data(), name.size());
    return path_.empty() ? std::string(member) : absl::StrCat(path_, ".", member);
  }

  absl::Status Finish() {
    if (!status_.ok() || !object_.is_object()) return status_;
    for (const auto& [name, value] : object_.items()) {
      if (!taken_.contains(name) && !value.is_null()) return Unsupported(Path(name.substr(0, 64)));
    }
    return status_;
  }

 private:
  const json& object_;
  const std::string path_;
  std::set<std::string, std::less<>> taken_;
  absl::Status status_;
};

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

void ReadImageOptions(Members& members, v1::ImageOptions& options) {
  const json* object = members.Take("image_options");
  if (object == nullptr) return;
  Members inner(*object, "image_options");
  inner.Integer("image_size", [&](int32_t value) { options.set_image_size(value); });
  inner.Integer("max_side", [&](int32_t value) { options.set_max_side(value); });
  inner.Number("token_merging", [&](double value) { options.set_token_merging(value); });
  members.Fail(inner.Finish());
}

// What both kinds of request share.
void ReadCommon(Members& members, OpenAiRequest& request) {
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

// "data:image/png;base64,AAAA" -> its bytes; an address stays one.
absl::Status ReadImageUrl(const std::string& url, const std::string& path, v1::Image& image) {
  if (!absl::StartsWithIgnoreCase(url, "data:")) {
    image.set_url(url);
    return absl::OkStatus();
  }
  const size_t comma = url.find(',');
  const size_t head_end = comma == std::string::npos ? 0 : comma;
  if (!absl::EndsWithIgnoreCase(absl::string_view(url).substr(0, head_end), ";base64")) {
    return Invalid(path, "a data: URL takes the form data:image/...;base64,...");
  }
  if (!absl::Base64Unescape(absl::string_view(url).substr(comma + 1), image.mutable_data())) {
    return Invalid(path, "the data: URL is not base64");
  }
  return absl::OkStatus();
}

absl::Status ReadPart(const json& part, const std::string& path, bool images_allowed, std::string& text,
                      v1::Question& question) {
  Members members(part, path);
  const std::string type = members.Text("type");
  if (type == "text") {
    const json* value = members.Take("text");
    if (value == nullptr || !value->is_string()) return Invalid(members.Path("text"), "takes a string");
    if (!text.empty()) text += '\n';
    text += value->get<std::string>();
  } else if (type == "image_url" && images_allowed) {
    const json* object = members.Take("image_url");
    if (object == nullptr) return Invalid(members.Path("image_url"), "is missing");
    Members inner(*object, members.Path("image_url"));
    const std::string url = inner.Text("url");
    const std::string detail = inner.Text("detail");
    if (!detail.empty() && detail != "auto" && detail != "low" && detail != "high") {
      inner.Fail(Invalid(inner.Path("detail"), "takes auto, low or high; all mean the model's own resolution"));
    }
    DIPTYCH_RETURN_IF_ERROR(inner.Finish());
    DIPTYCH_RETURN_IF_ERROR(ReadImageUrl(url, inner.Path("url"), *question.add_images()));
  } else {
    return InvalidField(
        kUnsupportedParameter, members.Path("type"),
        images_allowed ? "a part is \"text\" or \"image_url\"" : "an assistant's message holds text only");
  }
  return members.Finish();
}

absl::Status ReadMessage(const json& message, const std::string& path, v1::Question& question) {
  Members members(message, path);
  const std::string role = members.Text("role");
  v1::Turn turn;
  if (role == "user") {
    turn.set_role(v1::ROLE_USER);
  } else if (role == "assistant") {
    turn.set_role(v1::ROLE_ASSISTANT);
  } else {
    return InvalidField(kUnsupportedParameter, members.Path("role"),
                        "a message's role is \"user\" or \"assistant\": BLIP-2 knows no other");
  }
  const json* content = members.Take("content");
  if (content != nullptr && content->is_string()) {
    turn.set_text(content->get<std::string>());
  } else if (content != nullptr && content->is_array()) {
    std::string text;
    for (size_t i = 0; i < content->size(); ++i) {
      DIPTYCH_RETURN_IF_ERROR(ReadPart((*content)[i], absl::StrCat(members.Path("content"), "[", i, "]"),
                                       turn.role() == v1::ROLE_USER, text, question));
    }
    turn.set_text(std::move(text));
  } else {
    return Invalid(members.Path("content"), "takes a string or a list of parts");
  }
  for (const char* name : {"refusal", "tool_calls", "function_call", "audio"}) members.Neutral(name);
  *question.add_turns() = std::move(turn);
  return members.Finish();
}

void ReadMessages(Members& members, v1::Question& question) {
  const json* messages = members.Take("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    return members.Fail(Invalid("messages", "takes a list of at least one message"));
  }
  for (size_t i = 0; i < messages->size(); ++i) {
    if (const auto status = ReadMessage((*messages)[i], absl::StrCat("messages[", i, "]"), question); !status.ok()) {
      return members.Fail(status);
    }
  }
  // An image alone asks for its caption, which is the empty prompt.
  if (question.turns_size() == 1 && question.turns(0).text().empty() && question.images_size() > 0) {
    question.clear_turns();
  }
}

}  // namespace

absl::StatusOr<OpenAiRequest> ReadChatRequest(std::string_view body) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body));
  OpenAiRequest request;
  Members members(object, "");
  ReadCommon(members, request);
  ReadMessages(members, request.question);
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
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return request;
}

absl::StatusOr<v1::AnalyzeImageRequest> ReadAnalyzeRequest(std::string_view body) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body));
  v1::AnalyzeImageRequest request;
  Members members(object, "");
  const std::string image = members.Text("image");
  if (image.empty()) return Invalid("image", "takes an image: base64 or a data: URL");
  if (absl::StrContains(image, ':')) {
    DIPTYCH_RETURN_IF_ERROR(ReadImageUrl(image, "image", *request.mutable_image()));
  } else if (!absl::Base64Unescape(image, request.mutable_image()->mutable_data())) {
    return Invalid("image", "is neither base64 nor a data: URL");
  }
  ReadImageOptions(members, *request.mutable_options());
  request.set_cls_attention(members.Flag("cls_attention"));
  request.set_qformer_attention(members.Flag("qformer_attention"));
  request.set_prepared_image(members.Flag("prepared_image"));
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return request;
}

absl::StatusOr<OpenAiRequest> ReadCompletionRequest(std::string_view body) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body));
  OpenAiRequest request;
  Members members(object, "");
  ReadCommon(members, request);
  const json* prompt = members.Take("prompt");
  if (prompt != nullptr && prompt->is_array() && prompt->size() == 1) prompt = &(*prompt)[0];
  if (prompt != nullptr && prompt->is_string()) {
    request.question.set_prompt(prompt->get<std::string>());
  } else {
    members.Fail(Invalid("prompt", "takes one string"));
  }
  members.Integer("logprobs", [&](int32_t value) {
    request.top_logprobs = value;
    request.question.mutable_generation()->set_logprobs(value == 0 ? 1 : value);
  });
  request.echo = members.Flag("echo");
  members.Neutral("suffix");
  members.Neutral("best_of", 1);
  DIPTYCH_RETURN_IF_ERROR(members.Finish());
  return request;
}

}  // namespace diptych::gateway
