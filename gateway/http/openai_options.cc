#include "gateway/http/openai_options.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

using nlohmann::json;

// Empty strings and nulls stop nothing. The last name that says something counts.
void ReadStop(Members& members, OpenAiRequest& request) {
  v1::GenerationOptions& generation = *request.question.mutable_generation();
  for (const char* name : {"stopping_strings", "stop_strings", "stop_sequences", "stop"}) {
    const json* stop = members.Take(name);
    if (stop == nullptr || AsksForNothing(*stop)) continue;
    generation.clear_stop();
    request.names.options["stop"] = name;
    const json list = stop->is_array() ? *stop : json::array({*stop});
    for (const json& text : list) {
      if (text.is_null()) continue;
      if (!text.is_string()) return members.Fail(Invalid(name, "takes a string or a list of strings"));
      if (!text.get_ref<const std::string&>().empty()) generation.add_stop(text.get<std::string>());
    }
  }
}

// -1 is what servers write that draw one themselves.
void ReadSeed(Members& members, const char* name, v1::GenerationOptions& generation) {
  const json* seed = members.Take(name);
  if (seed == nullptr || *seed == -1) return;
  if (seed->is_number_unsigned()) return generation.set_seed(seed->get<uint64_t>());
  if (seed->is_number_integer()) return generation.set_seed(static_cast<uint64_t>(seed->get<int64_t>()));
  constexpr double kExact = 9007199254740992;  // 2^53
  const double value = seed->is_number_float() ? seed->get<double>() : 0.5;
  if (value != std::trunc(value) || std::abs(value) > kExact) {
    return members.Fail(Invalid(name, absl::StrCat("takes a whole number of at most 64 bits, not ", Excerpt(*seed))));
  }
  generation.set_seed(static_cast<uint64_t>(static_cast<int64_t>(value)));
}

// -1 means no bound of the caller's. The last name that is there counts.
void ReadMaxTokens(Members& members, OpenAiRequest& request) {
  v1::GenerationOptions& generation = *request.question.mutable_generation();
  for (const char* name : {"num_predict", "n_predict", "max_new_tokens", "max_tokens", "max_completion_tokens"}) {
    members.Bound(name, [&](int32_t value) {
      request.names.options["max_new_tokens"] = name;
      value == -1 ? generation.clear_max_new_tokens() : generation.set_max_new_tokens(value);
    });
  }
  generation.set_cut_max_new_tokens(true);
}

// {"5": 1.5}, or llama.cpp's [[5, 1.5], [7, false]], where false keeps a token out.
void ReadLogitBias(Members& members, v1::GenerationOptions& generation) {
  const json* biases = members.Take("logit_bias");
  if (biases == nullptr) return;
  const auto fail = [&] {
    members.Fail(Invalid("logit_bias", "takes an object of token ids and numbers, or a list of [token id, number]"));
  };
  const auto add = [&](std::optional<int32_t> id, const json& bias) {
    if (!id || !(bias.is_number() || bias == false)) return fail();
    const double value = bias == false ? -100 : bias.get<double>();
    if (!generation.mutable_logit_bias()->insert({*id, value}).second) {
      members.Fail(Invalid("logit_bias", absl::StrCat("names token ", *id, " twice")));
    }
  };
  if (biases->is_object()) {
    for (const auto& [name, bias] : biases->items()) {
      int32_t id = 0;
      add(absl::SimpleAtoi(name, &id) ? std::optional(id) : std::nullopt, bias);
    }
  } else if (biases->is_array()) {
    for (const json& pair : *biases) {
      if (!pair.is_array() || pair.size() != 2) return fail();
      add(WholeNumber(pair[0]), pair[1]);
    }
  } else {
    fail();
  }
}

void ReadStopTokens(Members& members, v1::GenerationOptions& generation) {
  const json* list = members.Take("stop_token_ids");
  if (list == nullptr) return;
  const auto ids = WholeNumbers(*list);
  if (!ids) return members.Fail(Invalid("stop_token_ids", "takes a list of token ids"));
  generation.mutable_stop_token_ids()->Add(ids->begin(), ids->end());
}

// Names of other servers stand next to ours. 0 for top_p leaves the best token alone; -1 for top_k leaves all.
void ReadSampling(Members& members, v1::GenerationOptions& generation) {
  members.Number("temperature", [&](double value) { generation.set_temperature(value); });
  if (const json* samples = members.Take("do_sample"); samples != nullptr) {
    if (!samples->is_boolean()) {
      members.Fail(Invalid("do_sample", absl::StrCat("takes true or false, not ", Excerpt(*samples))));
    }
    if (*samples == false) generation.set_temperature(0);
    if (*samples == true && !generation.has_temperature()) generation.set_temperature(1);
  }
  members.Number("top_p",
                 [&](double value) { value == 0 ? generation.set_temperature(0) : generation.set_top_p(value); });
  members.Integer("top_k", [&](int32_t value) { generation.set_top_k(value == -1 ? 0 : value); });
  members.Number("min_p", [&](double value) { generation.set_min_p(value); });
  for (const char* name : {"random_seed", "seed"}) ReadSeed(members, name, generation);
}

// Calls `set` with an integer that is there and not -1, which means none.
template <typename Set>
void ReadCount(Members& members, const char* name, Set&& set) {
  members.Integer(name, [&](int32_t value) {
    if (value != -1) set(value);
  });
}

// llama.cpp's repeat_last_n: 0 switches the penalty off, -1 is the whole context, which is all that is there.
void ReadPenalties(Members& members, OpenAiRequest& request) {
  v1::GenerationOptions& generation = *request.question.mutable_generation();
  for (const char* name : {"repeat_penalty", "repetition_penalty"}) {
    members.Number(name, [&](double value) {
      request.names.options["repetition_penalty"] = name;
      generation.set_repetition_penalty(value);
    });
  }
  members.Integer("repeat_last_n", [&](int32_t value) {
    if (value == 0) generation.clear_repetition_penalty();
    const bool penalised = generation.has_repetition_penalty() && generation.repetition_penalty() != 1;
    if (value > 0 && penalised) {
      members.Fail(InvalidField(kUnsupportedParameter, "repeat_last_n",
                                "the repetition penalty looks at the whole context: repeat_last_n takes -1 or 0"));
    }
  });
  members.Number("presence_penalty", [&](double value) { generation.set_presence_penalty(value); });
  members.Number("frequency_penalty", [&](double value) { generation.set_frequency_penalty(value); });
  ReadLogitBias(members, generation);
}

void ReadLength(Members& members, OpenAiRequest& request) {
  v1::GenerationOptions& generation = *request.question.mutable_generation();
  ReadMaxTokens(members, request);
  for (const char* name : {"min_new_tokens", "min_tokens"}) {
    ReadCount(members, name, [&](int32_t value) {
      request.names.options["min_new_tokens"] = name;
      generation.set_min_new_tokens(value);
    });
  }
  members.Number("length_penalty", [&](double value) { generation.set_length_penalty(value); });
  if (members.Flag("ignore_eos")) generation.set_ignore_eos(true);
  ReadStopTokens(members, generation);
  ReadStop(members, request);
}

// The best of several answers is chosen by the model's tier; the n best of them are chosen when all are there.
void ReadChoices(Members& members, OpenAiRequest& request) {
  for (const char* name : {"n_cmpl", "n"}) {
    ReadCount(members, name, [&](int32_t value) {
      if (value < 1 || value > kMaxChoices) {
        members.Fail(
            InvalidField(reason::kOptionRange, name, absl::StrCat("takes 1 to ", kMaxChoices, ", not ", value)));
      }
      request.choices = value;
    });
  }
  request.draws = request.choices;
  ReadCount(members, "best_of", [&](int32_t value) {
    if (value == 0) return;  // TGI's and vLLM's way to say none
    if (value < request.choices || value > kMaxChoices) {
      return members.Fail(
          InvalidField(reason::kOptionRange, "best_of",
                       absl::StrCat("takes n, which is ", request.choices, ", to ", kMaxChoices, ", not ", value)));
    }
    v1::GenerationOptions& generation = *request.question.mutable_generation();
    if (request.choices == 1) return generation.set_best_of(value);
    if (generation.temperature() > 0) request.draws = value;
  });
}

void ReadStream(Members& members, OpenAiRequest& request) {
  request.stream = members.Flag("stream");
  if (const json* options = members.Take("stream_options"); options != nullptr) {
    Members inner(*options, "stream_options");
    request.include_usage = inner.Flag("include_usage");
    inner.Ignore({"include_obfuscation", "continuous_usage_stats"});  // how it is told, not what
    members.Fail(inner.Finish());
    if (!request.stream && request.include_usage) members.Fail(Invalid("stream_options", "needs \"stream\": true"));
  }
  // OpenRouter's name for it.
  if (const json* usage = members.Take("usage"); usage != nullptr) {
    Members inner(*usage, "usage");
    if (inner.Flag("include")) request.include_usage = true;
    members.Fail(inner.Finish());
  }
  if (request.stream && request.draws > request.choices) {
    members.Fail(Invalid("best_of", "takes n in a stream of several choices: which are best shows in the end"));
  }
}

// vLLM's add_special_tokens has another neutral value in a chat than in a completion.
void CheckSpecialTokens(Members& members, bool neutral, std::string_view why) {
  if (members.Take("add_special_tokens") == nullptr || members.Flag("add_special_tokens") == neutral) return;
  members.Fail(InvalidField(kUnsupportedParameter, "add_special_tokens", why));
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
  // Hugging Face's InferenceClient says "dummy" for a server that it knows by its address alone.
  const std::string model = members.Text("model");
  request.question.set_model(model == "dummy" ? "" : model);
  ReadSampling(members, generation);
  ReadPenalties(members, request);
  ReadLength(members, request);
  ReadCount(members, "num_beams", [&](int32_t value) { generation.set_num_beams(value); });
  ReadImageOptions(members, *request.question.mutable_image_options());
  ReadChoices(members, request);
  ReadStream(members, request);
}

void ReadChatOptions(Members& members, OpenAiRequest& request) {
  v1::GenerationOptions& generation = *request.question.mutable_generation();
  request.question.set_return_relevance(members.Flag("return_relevance"));
  const bool logprobs = members.Flag("logprobs");
  int32_t top = 0;
  ReadCount(members, "top_logprobs", [&](int32_t value) { top = value; });
  if (top != 0 && !logprobs) members.Fail(Invalid("top_logprobs", "needs \"logprobs\": true"));
  if (top != 0) request.names.options["logprobs"] = "top_logprobs";
  request.logprobs = logprobs;
  request.top_logprobs = top;
  // One is the least that the model returns; the reply leaves it out again.
  if (logprobs) generation.set_logprobs(top == 0 ? 1 : top);
  members.Neutral("echo");
  CheckSpecialTokens(members, false, "a conversation has its beginning-of-sequence token already");
}

void ReadCompletionOptions(Members& members, OpenAiRequest& request) {
  v1::GenerationOptions& generation = *request.question.mutable_generation();
  request.names.options["prompt_logprobs"] = "logprobs";
  CheckSpecialTokens(members, true,
                     "text begins with the beginning-of-sequence token; token ids are taken as they are");
  if (const json* value = members.Take("logprobs"); value != nullptr && *value != false) {
    ReadCount(members, "logprobs", [&](int32_t count) {
      request.logprobs = true;
      request.top_logprobs = count;
      generation.set_logprobs(count == 0 ? 1 : count);
    });
  }
  request.echo = members.Flag("echo");
  if (request.echo) generation.set_logprobs(std::max(generation.logprobs(), 1));  // for GeneratedText
  const bool nothing_new = generation.has_max_new_tokens() && generation.max_new_tokens() == 0;
  const bool by_id = std::any_of(request.prompts.begin(), request.prompts.end(),
                                 [](const CompletionPrompt& prompt) { return !prompt.ids.empty(); });
  // An echo of token ids takes their text from the scores.
  if (nothing_new || (request.echo && (request.logprobs || by_id))) {
    generation.set_prompt_logprobs(request.top_logprobs);
  }
}

}  // namespace diptych::gateway
