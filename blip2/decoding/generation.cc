#include "blip2/decoding/generation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "blip2/decoding/token_distribution.h"
#include "blip2/decoding/token_scores.h"
#include "common/status.h"
#include "common/text/utf8.h"

namespace diptych::blip2 {
namespace {

constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxStopStrings = 8;
constexpr size_t kMaxStopBytes = 256;
constexpr int64_t kMaxLogprobs = 20;
constexpr int64_t kMaxBeams = 8;
constexpr size_t kMaxBiases = 1024;
constexpr size_t kMaxStopTokens = 64;

absl::Status OutOfRange(std::string_view name, std::string_view takes) {
  const absl::string_view option(name.data(), name.size());
  return InvalidField(reason::kOptionRange, absl::StrCat("generation.", option),
                      absl::StrCat(option, " takes ", absl::string_view(takes.data(), takes.size())));
}

absl::Status ValidateStop(const std::vector<std::string>& stop) {
  if (stop.size() > kMaxStopStrings) return OutOfRange("stop", absl::StrCat("at most ", kMaxStopStrings, " strings"));
  for (const std::string& text : stop) {
    if (text.empty() || text.size() > kMaxStopBytes) {
      return OutOfRange("stop", absl::StrCat("strings of 1 to ", kMaxStopBytes, " bytes"));
    }
    if (!IsValidUtf8(text)) {
      return InvalidField(reason::kTextEncoding, "generation.stop", "a stop string is not valid UTF-8");
    }
  }
  return absl::OkStatus();
}

absl::Status ValidatePenalties(const GenerationOptions& options) {
  const auto is_penalty = [](double value) { return value >= -2 && value <= 2; };
  if (!(options.repetition_penalty > 0 && options.repetition_penalty <= 100)) {
    return OutOfRange("repetition_penalty", "more than 0, at most 100");
  }
  if (!is_penalty(options.presence_penalty)) return OutOfRange("presence_penalty", "-2 to 2");
  if (!is_penalty(options.frequency_penalty)) return OutOfRange("frequency_penalty", "-2 to 2");
  if (options.logit_bias.size() > kMaxBiases) {
    return OutOfRange("logit_bias", absl::StrCat("at most ", kMaxBiases, " token ids"));
  }
  for (const auto& [id, bias] : options.logit_bias) {
    if (!(bias >= -100 && bias <= 100)) return OutOfRange("logit_bias", "values of -100 to 100");
  }
  return absl::OkStatus();
}

// A number in [0, 1) from the top 53 bits: std::uniform_real_distribution differs between libraries.
double UnitNumber(uint64_t random_bits) {
  return static_cast<double>(random_bits >> 11) * 0x1p-53;
}

// `left`: in [0, 1).
int64_t Draw(const std::vector<TokenProbability>& tokens, double left) {
  int64_t last = 0;
  for (const TokenProbability& token : tokens) {
    if (token.probability == 0) continue;
    last = token.id;
    if (left < token.probability) break;
    left -= token.probability;
  }
  return last;
}

}  // namespace

// Comparisons are written so that NaN fails them.
absl::Status ValidateOptions(const GenerationOptions& options) {
  const int64_t least = options.prompt_logprobs ? 0 : 1;
  if (options.max_new_tokens < least || options.max_new_tokens > kMaxCount) {
    return OutOfRange("max_new_tokens", absl::StrCat(least, " or more"));
  }
  if (options.min_new_tokens < 0 || options.min_new_tokens > options.max_new_tokens) {
    return OutOfRange("min_new_tokens", "0 to max_new_tokens");
  }
  if (!(options.temperature >= 0 && options.temperature <= 100)) return OutOfRange("temperature", "0 to 100");
  if (options.top_k < 0 || options.top_k > kMaxCount) return OutOfRange("top_k", "0 or more");
  if (!(options.top_p > 0 && options.top_p <= 1)) return OutOfRange("top_p", "more than 0, at most 1");
  if (!(options.min_p >= 0 && options.min_p <= 1)) return OutOfRange("min_p", "0 to 1");
  DIPTYCH_RETURN_IF_ERROR(ValidatePenalties(options));
  if (options.num_beams < 1 || options.num_beams > kMaxBeams) {
    return OutOfRange("num_beams", absl::StrCat("1 to ", kMaxBeams));
  }
  if (options.num_beams > 1 && options.temperature != 0) return OutOfRange("num_beams", "1 with a temperature over 0");
  if (!(options.length_penalty >= -10 && options.length_penalty <= 10))
    return OutOfRange("length_penalty", "-10 to 10");
  if (options.logprobs < 0 || options.logprobs > kMaxLogprobs) {
    return OutOfRange("logprobs", absl::StrCat("0 to ", kMaxLogprobs));
  }
  if (options.prompt_logprobs && (*options.prompt_logprobs < 0 || *options.prompt_logprobs > kMaxLogprobs)) {
    return OutOfRange("prompt_logprobs", absl::StrCat("0 to ", kMaxLogprobs));
  }
  if (options.stop_token_ids.size() > kMaxStopTokens) {
    return OutOfRange("stop_token_ids", absl::StrCat("at most ", kMaxStopTokens, " ids"));
  }
  return ValidateStop(options.stop);
}

absl::Status ValidateTokenIds(const GenerationOptions& options, int64_t vocab_size) {
  const auto refuse = [&](std::string_view field) {
    return OutOfRange(field, absl::StrCat("token ids of 0 to ", vocab_size - 1));
  };
  const auto is_token = [&](int64_t id) { return id >= 0 && id < vocab_size; };
  for (const auto& [id, bias] : options.logit_bias) {
    if (!is_token(id)) return refuse("logit_bias");
  }
  const auto& stops = options.stop_token_ids;
  if (!std::all_of(stops.begin(), stops.end(), is_token)) return refuse("stop_token_ids");
  return absl::OkStatus();
}

std::vector<int64_t> EndingTokens(const GenerationOptions& options, std::vector<int64_t> eos_token_ids) {
  if (options.ignore_eos) eos_token_ids.clear();
  for (const int64_t id : options.stop_token_ids) {
    if (std::find(eos_token_ids.begin(), eos_token_ids.end(), id) == eos_token_ids.end()) eos_token_ids.push_back(id);
  }
  return eos_token_ids;
}

TokenSelector::TokenSelector(const GenerationOptions& options, std::vector<int64_t> ending_token_ids)
    : options_(options), ending_token_ids_(std::move(ending_token_ids)) {
  std::random_device device;
  random_.seed(options.seed ? *options.seed : uint64_t{device()} << 32 | device());
}

absl::StatusOr<ChosenToken> TokenSelector::Choose(const at::Tensor& logits, std::span<const int64_t> context,
                                                  int64_t generated) {
  if (logits.dim() != 1 || logits.numel() == 0) return absl::InternalError("logits are not [V]");
  const at::Tensor host = logits.to(at::kCPU, at::kFloat).contiguous();
  const std::span<const float> raw(host.const_data_ptr<float>(), static_cast<size_t>(host.numel()));
  if (!std::all_of(raw.begin(), raw.end(), [](float logit) { return std::isfinite(logit); })) {
    return absl::InternalError("the model's scores for the next token are not finite");
  }

  std::vector<float> changed;  // copied only if a step changes them
  const std::vector<ScoreEdit> edits =
      ScoreEdits(options_, ending_token_ids_, context, generated, static_cast<int64_t>(raw.size()));
  if (!edits.empty()) changed.assign(raw.begin(), raw.end());
  for (const ScoreEdit& edit : edits) changed[edit.id] = Edited(raw[edit.id], edit);
  const std::span<const float> scores = changed.empty() ? raw : std::span<const float>(changed);

  ChosenToken token;
  const auto best = std::max_element(scores.begin(), scores.end());
  if (*best == kNever) return absl::InternalError("no token may follow");
  token.id = options_.temperature == 0 ? best - scores.begin()
                                       : Draw(SamplingDistribution(scores, options_), UnitNumber(random_()));
  AddLogprobs(raw, options_.logprobs, token);
  return token;
}

double TokenSelector::NextDraw(int64_t tokens) const {
  std::mt19937_64 random = random_;
  random.discard(static_cast<unsigned long long>(tokens));  // NOLINT(google-runtime-int): the library's type
  return UnitNumber(random());
}

void TokenSelector::Skip(int64_t tokens) {
  random_.discard(static_cast<unsigned long long>(tokens));  // NOLINT(google-runtime-int): the library's type
}

std::string StopStringFilter::Push(std::string_view text) {
  if (found_) return {};
  held_ += text;
  size_t first_end = std::string::npos;
  size_t begin = 0;
  for (const std::string& stop : stop_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    const size_t end = at + stop.size();
    if (end < first_end || (end == first_end && at < begin)) {
      first_end = end;
      begin = at;
    }
  }
  found_ = first_end != std::string::npos;
  const size_t released = found_ ? begin : held_.size() - LongestStopPrefix();
  std::string shown = held_.substr(0, released);
  held_.erase(0, found_ ? held_.size() : released);
  return shown;
}

size_t StopStringFilter::LongestStopPrefix() const {
  size_t longest = 0;
  for (const std::string& stop : stop_) {
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > longest; --length) {
      if (held_.compare(held_.size() - length, length, stop, 0, length) == 0) longest = length;
    }
  }
  return longest;
}

std::string StopStringFilter::Finish() {
  return std::exchange(held_, std::string());
}

}  // namespace diptych::blip2
