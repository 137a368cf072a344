#include "gateway/http/known_fields.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

using nlohmann::json;

// They name the caller, where the request goes or what is stored of it; the answer is the same with and without them.
constexpr const char* kWithoutMeaning[] = {
    // OpenAI
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "parallel_tool_calls", "prediction",
    // vLLM and SGLang
    "priority", "request_id", "rid", "session_id", "spaces_between_special_tokens", "include_reasoning",
    "separate_reasoning", "stream_reasoning", "data_parallel_rank", "routed_dp_rank", "bootstrap_host",
    "bootstrap_port", "bootstrap_room", "log_metrics", "stream_interval", "truncation_side",
    // llama.cpp and Ollama
    "cache_prompt", "n_cache_reuse", "id_slot", "slot_id", "keep_alive", "ttl", "timings_per_token", "return_progress",
    "reasoning_format", "parse_tool_calls", "n_keep", "num_keep", "num_gpu", "num_thread", "num_batch", "main_gpu",
    "use_mmap", "use_mlock", "numa", "low_vram", "num_gqa", "f16_kv", "backend_sampling", "sse_ping_interval",
    "speculative.n_max", "speculative.n_min", "speculative.p_min",
    // OpenRouter and LiteLLM
    "provider", "route", "trace", "debug", "session", "num_retries", "timeout", "caching", "stream_timeout",
    "max_retries", "drop_params", "cache_control",
    // SillyTavern, Qwen and Perplexity
    "api_type", "api_server", "incremental_output", "disable_search",
    // Open WebUI
    "chat_id", "id", "user_id", "parent_id", "parent_message", "model_item", "background_tasks",
    // TGI
    "tool_prompt",
    // The window that Ollama, LM Studio, text-generation-webui or KoboldAI is to allocate; here it is the model's
    "num_ctx", "n_ctx", "context_length", "max_context_length", "truncation_length"};

// They say how something is done that has a switch of its own, which is refused where it is on.
constexpr const char* kOfWhatIsOff[] = {"mirostat_tau",
                                        "mirostat_eta",
                                        "dry_base",
                                        "dry_allowed_length",
                                        "dry_penalty_last_n",
                                        "dry_sequence_breakers",
                                        "xtc_threshold",
                                        "dynatemp_exponent",
                                        "adaptive_decay",
                                        "dynatemp_low",
                                        "dynatemp_high",
                                        "smoothing_curve",
                                        "rep_pen_range",
                                        "rep_pen_slope",
                                        "rep_pen_decay",
                                        "mirostat_lr",
                                        "thinking_budget",
                                        "document_image_limit",
                                        "document_page_limit",
                                        "negative_prompt",
                                        "max_tool_calls",
                                        "background_options",
                                        "guided_decoding_backend",
                                        "guided_whitespace_pattern"};

constexpr const char* kTools[] = {"tools", "functions"};

struct KnownField {
  const char* name;
  const char* neutral;  // a JSON list of the values that ask for nothing, besides null; see IsNeutral
  const char* why;      // another value is refused
};

constexpr char kNoTools[] = "this model calls no tools";
constexpr char kNoTemplate[] = "the prompt's form is BLIP-2's own";
constexpr char kSampling[] = "sampling knows temperature, top_k, top_p, min_p and penalties";
constexpr char kOneModel[] = "one model answers, with its own weights";
constexpr char kNoSearch[] = "the server looks nothing up";
constexpr char kNotReturned[] = "replies do not contain it";
constexpr char kWindow[] = "the window is the model's own, and the prompt is not cut";
constexpr char kNoSpecial[] = "special tokens are never part of an answer's text";
constexpr char kOneInput[] = "images and text come in messages, text alone in prompt";
constexpr char kNothingKept[] = "nothing is kept between requests: the earlier turns come with each";
constexpr char kCachesByKey[] = "what is computed is kept apart by API key: without keys, all callers share the caches";
constexpr char kPlainWords[] = "words and tokens are kept out by logit_bias alone";

// llama.cpp's default order of samplers, as letters and as names; those at neutral values do nothing.
constexpr char kDefaultSamplers[] = R"([[], "", "edskypmxt", ["edskypmxt"], "edkypmxt", ["edkypmxt"],
  ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
  ["penalties", "dry", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
  ["dry", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"]])";

constexpr KnownField kKnownFields[] = {
    // OpenAI
    {"tools", "[[]]", kNoTools},
    {"tool_choice", R"(["none", "auto", "", {"type": "none"}, {"type": "auto"}])", kNoTools},
    {"functions", "[[]]", kNoTools},
    {"function_call", R"(["none", "auto", ""])", kNoTools},
    {"response_format", R"([{"type": "text"}, {}, ""])", kTextOnly},
    {"modalities", R"([["text"], []])", "answers are text"},
    {"audio", "[{}]", "answers are text"},
    {"reasoning_effort", R"(["none", "auto", ""])", kNoReasoning},
    {"reasoning", R"([{}, {"effort": "none", "mode": "standard", "context": "auto", "exclude": true}, "none", "off"])",
     kNoReasoning},
    {"verbosity", R"(["medium", ""])", "the model has one manner of answering"},
    {"web_search_options", "[]", kNoSearch},
    {"top_logprobs", "[0]",
     "a chat returns alternatives, with logprobs, and a completion as many as its logprobs says"},
    {"suffix", R"([""])", "the model writes on, it does not fill gaps"},
    {"moderation", "[]", kNotReturned},
    {"background", "[false]", "an answer comes with its request"},
    {"previous_response_id", R"([""])", kNothingKept},
    {"conversation", R"(["", {}])", kNothingKept},
    {"context_management", "[[]]", kWindow},
    {"access_programs", R"([{"cyber": "standard"}])", kOneModel},
    {"prompt", R"(["", {}])", "prompts are not kept here: the text itself comes in messages, or in input"},
    // vLLM
    {"use_beam_search", "[false]", "beam search is asked for by num_beams"},
    {"num_return_sequences", "[1]", "several answers are asked for by n"},
    {"early_stopping", "[false]", "beam search ends as transformers' early_stopping=False does"},
    {"include_stop_str_in_output", "[false]", "what ends an answer is not part of it"},
    {"skip_special_tokens", "[true]", kNoSpecial},
    {"detokenize", "[true]", "an answer is text"},
    {"truncate_prompt_tokens", "[0, -1]", kWindow},
    {"prompt_logprobs", "[false]", "the prompt's are returned by /v1/completions with echo and logprobs"},
    {"allowed_token_ids", "[[]]", kPlainWords},
    {"bad_words", R"([[], [""]])", kPlainWords},
    {"add_generation_prompt", "[true]", kNoTemplate},
    {"continue_final_message", "[false]", kNoTemplate},
    {"documents", "[[]]", kNoTemplate},
    {"chat_template", R"([""])", kNoTemplate},
    {"chat_template_kwargs", "[{}]", kNoTemplate},
    {"mm_processor_kwargs", "[{}]", "images are prepared by image_options"},
    {"media_io_kwargs", "[{}]", "images are prepared by image_options"},
    {"guided_json", R"([{}, ""])", kTextOnly},
    {"guided_regex", R"([""])", kTextOnly},
    {"guided_choice", "[[]]", kTextOnly},
    {"guided_grammar", R"([""])", kTextOnly},
    {"structured_outputs", "[{}, false]", kTextOnly},
    {"structural_tag", R"([""])", kTextOnly},
    {"logits_processors", "[[]]", "no code is taken from callers"},
    {"return_tokens_as_token_ids", "[false]", kNotReturned},
    {"return_token_ids", "[false]", kNotReturned},
    {"return_token_strs", "[false]", kNotReturned},
    {"prompt_embeds", "[[]]", kOneInput},
    {"kv_transfer_params", "[{}]", kOneModel},
    {"vllm_xargs", "[{}]", kOneModel},
    {"cache_salt", R"([""])", kCachesByKey},
    {"thinking_token_budget", "[0, -1]", kNoReasoning},
    // SGLang
    {"regex", R"([""])", kTextOnly},
    {"ebnf", R"([""])", kTextOnly},
    {"json_schema", R"([{}, ""])", kTextOnly},
    {"stop_regex", R"(["", []])", "stop takes plain text"},
    {"no_stop_trim", "[false]", "what ends an answer is not part of it"},
    {"lora_path", R"(["", []])", kOneModel},
    {"extra_key", R"(["", []])", kCachesByKey},
    {"session_params", "[{}]", "nothing is kept between requests but caches"},
    {"return_hidden_states", "[false]", kNotReturned},
    {"custom_logit_processor", R"([""])", "no code is taken from callers"},
    {"custom_params", "[{}]", "no code is taken from callers"},
    {"input_ids", "[[]]", kOneInput},
    {"image_data", "[[], \"\"]", kOneInput},
    {"return_cached_tokens_details", "[false]", kNotReturned},
    {"logprob_start_len", "[-1]", kNotReturned},
    {"return_text_in_logprobs", "[true, false]", kNotReturned},
    // llama.cpp
    {"n_probs", "[0]", "alternatives are asked for by logprobs (and top_logprobs in a chat)"},
    {"post_sampling_probs", "[false]", "logprobs are the model's own"},
    {"min_keep", "[0, 1]", kSampling},
    {"dynatemp_range", "[0]", kSampling},
    {"typical_p", "[1, 0]", kSampling},
    {"typ_p", "[1, 0]", kSampling},
    {"tfs_z", "[1, 0]", kSampling},
    {"top_n_sigma", "[-1, 0]", kSampling},
    {"xtc_probability", "[0]", kSampling},
    {"mirostat", "[0]", kSampling},
    {"dry_multiplier", "[0]", kSampling},
    {"adaptive_target", "[-1]", kSampling},
    {"samplers", kDefaultSamplers, kSampling},
    {"penalize_nl", "[true, false]", kSampling},
    {"penalize_newline", "[true, false]", kSampling},
    {"penalty_prompt", R"(["", []])", kSampling},
    {"grammar", R"([""])", kTextOnly},
    {"grammar_lazy", "[false]", kTextOnly},
    {"grammar_triggers", "[[]]", kTextOnly},
    {"preserved_tokens", "[[]]", kNoSpecial},
    {"n_indent", "[0]", kTextOnly},
    {"n_discard", "[0]", kWindow},
    {"t_max_predict_ms", "[0, -1]", "a deadline is the connection's end"},
    {"return_tokens", "[false]", kNotReturned},
    {"response_fields", "[[]]", kNotReturned},
    {"lora", "[[]]", kOneModel},
    {"thinking_forced_open", "[false]", kNoReasoning},
    {"reasoning_budget", "[0, -1]", kNoReasoning},
    // Ollama
    {"format", R"(["", {}])", kTextOnly},
    {"think", R"([false, "none"])", kNoReasoning},
    {"options", "[{}]", "here each option is a member of the request itself"},
    {"images", "[[]]", kOneInput},
    {"image", R"(["", {"context_compression": "auto"}, {"context_compression": "disabled"}])", kOneInput},
    {"messages", "[[]]", kOneInput},
    {"input", R"(["", []])", kOneInput},
    {"raw", "[false]", kNoTemplate},
    {"template", R"([""])", kNoTemplate},
    {"system", R"([""])", "a system message is one of messages"},
    {"context", "[[]]", "nothing is kept between requests but caches"},
    {"shift", "[true, false]", kWindow},
    // TGI
    {"adapter_id", R"([""])", kOneModel},
    {"decoder_input_details", "[false]", kNotReturned},
    {"details", "[false]", kNotReturned},
    {"return_full_text", "[false]", "the prompt is returned with echo"},
    {"top_n_tokens", "[0]", "alternatives are asked for by logprobs (and top_logprobs in a chat)"},
    {"truncate", "[0, true]", kWindow},
    {"watermark", "[false]", kSampling},
    {"guideline", R"([""])", kNoTemplate},
    // OpenRouter
    {"models", "[[]]", kOneModel},
    {"transforms", "[[]]", kWindow},
    {"plugins", "[[]]", kNoSearch},
    {"top_a", "[0]", kSampling},
    {"image_config", "[{}]", "answers are text"},
    // text-generation-webui, TabbyAPI, Mistral, DeepSeek, Qwen, LM Studio, Fireworks, Perplexity, xAI
    {"guidance_scale", "[1, 0]", kSampling},
    {"epsilon_cutoff", "[0]", kSampling},
    {"eta_cutoff", "[0]", kSampling},
    {"smoothing_factor", "[0]", kSampling},
    {"penalty_alpha", "[0]", kSampling},
    {"encoder_repetition_penalty", "[1]", kSampling},
    {"no_repeat_ngram_size", "[0]", kSampling},
    {"repetition_penalty_range", "[-1, 0]", kSampling},
    {"rep_pen", "[1]", "the repetition penalty is asked for by repetition_penalty"},
    {"skew", "[0]", kSampling},
    {"typical", "[1, 0]", kSampling},
    {"tfs", "[1, 0]", kSampling},
    {"mirostat_mode", "[0]", kSampling},
    {"temperature_last", "[false]", kSampling},
    {"dynamic_temperature", "[false]", kSampling},
    {"token_healing", "[false]", kNoTemplate},
    {"banned_strings", R"([[], ""])", kPlainWords},
    {"custom_token_bans", R"([""])", kPlainWords},
    {"ban_eos_token", "[false]", "ignore_eos writes on behind the end-of-sequence token"},
    {"add_bos_token", "[true]", "text begins with the beginning-of-sequence token; token ids are taken as they are"},
    {"safe_prompt", "[false]", kNoTemplate},
    {"prompt_mode", R"([""])", kNoReasoning},
    {"thinking", R"([{}, {"type": "disabled"}])", kNoReasoning},
    {"enable_thinking", "[false]", kNoReasoning},
    {"enable_search", "[false]", kNoSearch},
    {"prefix", "[false]", "an answer goes on with no turn that was begun"},
    {"files", "[[]]", kOneInput},
    {"context_length_exceeded_behavior", R"(["truncate"])", "max_tokens is cut to what the window leaves"},
    {"search_parameters", R"([{"mode": "off"}])", kNoSearch},
    {"min_pixels", "[0]", "images are prepared by image_options"},
    {"max_pixels", "[0]", "images are prepared by image_options"},
    {"draft_model", R"([""])", kOneModel},
    {"extra_body", "[{}]", "its members belong into the body itself"},
};

// Features of the engine, at values that do not use them.
constexpr std::pair<std::string_view, double> kNeutralOptions[] = {
    {"temperature", 0},        {"top_k", -1},         {"top_p", 1},          {"repeat_penalty", 1}, {"seed", -1},
    {"repetition_penalty", 1}, {"num_predict", -1},   {"n_predict", -1},     {"best_of", 1},        {"n", 1},
    {"max_tokens", -1},        {"length_penalty", 1}, {"repeat_last_n", 64}, {"repeat_last_n", -1}, {"num_beams", 1},
};

// Whether every member of `value` asks for nothing: an empty one, or one of an object among `neutral`.
bool HasOnlyNeutralMembers(const json& value, const json& neutral) {
  const auto is_neutral = [&](const auto& member) {
    return AsksForNothing(member.value()) || std::any_of(neutral.begin(), neutral.end(), [&](const json& known) {
             return known.is_object() && known.contains(member.key()) && known[member.key()] == member.value();
           });
  };
  const auto members = value.items();
  return std::all_of(members.begin(), members.end(), is_neutral);
}

// Whether the list has `value`, alone in a list or as the type of an object, too: "text" is ["text"] and {type: text}.
bool IsListed(const json& neutral, const json& value) {
  const auto has = [&](const json& form) { return std::find(neutral.begin(), neutral.end(), form) != neutral.end(); };
  return has(value) || has(json::array({value})) || has(json{{"type", value}});
}

// The values of the list, and what means them: where one of them is empty, every empty value but 0; where one is an
// object, objects of nothing but neutral members.
bool IsNeutral(const KnownField& field, const json& value) {
  const json neutral = json::parse(field.neutral);
  if (IsListed(neutral, value)) return true;
  const auto has = [&](auto&& kind) { return std::any_of(neutral.begin(), neutral.end(), kind); };
  if (IsEmptyValue(value)) return !value.is_number() && has(IsEmptyValue);
  return value.is_object() && has([](const json& known) { return known.is_object(); }) &&
         HasOnlyNeutralMembers(value, neutral);
}

template <typename Names>
bool IsAmong(const Names& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// Whether a member of an object that holds options asks for nothing, as it would next to that object.
bool IsNeutralOption(const std::string& name, const json& value) {
  if (AsksForNothing(value) || IsAmong(kWithoutMeaning, name) || IsAmong(kOfWhatIsOff, name)) return true;
  if (std::any_of(std::begin(kNeutralOptions), std::end(kNeutralOptions),
                  [&](const auto& option) { return option.first == name && value == option.second; })) {
    return true;
  }
  return std::any_of(std::begin(kKnownFields), std::end(kKnownFields),
                     [&](const KnownField& known) { return known.name == name && IsNeutral(known, value); });
}

bool HoldsNeutralOptions(std::string_view name, const json& value) {
  if ((name != "options" && name != "extra_body") || !value.is_object()) return false;
  const auto members = value.items();
  return std::all_of(members.begin(), members.end(),
                     [](const auto& member) { return IsNeutralOption(member.key(), member.value()); });
}

// Whether tools may be described and are not to be called, which is the same as none.
bool CallsNoTools(const Members& members) {
  return members.Is("tool_choice", "none") || members.Is("tool_choice", json{{"type", "none"}}) ||
         members.Is("function_call", "none");
}

}  // namespace

void TakeKnownFields(Members& members) {
  members.Ignore(kWithoutMeaning);
  members.Ignore(kOfWhatIsOff);
  if (CallsNoTools(members)) members.Ignore(kTools);
  for (const KnownField& field : kKnownFields) {
    if (members.Took(field.name)) continue;
    const json* value = members.Take(field.name);
    if (value == nullptr || IsNeutral(field, *value) || HoldsNeutralOptions(field.name, *value)) continue;
    members.Fail(InvalidField(
        kUnsupportedParameter, members.Path(field.name),
        absl::StrCat("\"", field.name, "\" asks for what this server can't do: ", field.why, "; leave it out")));
  }
}

}  // namespace diptych::gateway
