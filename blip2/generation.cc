#include "blip2/generation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "blip2/token_distribution.h"
#include "blip2/token_scores.h"
#include "common/status.h"
#include "common/utf8.h"

namespace diptych::blip2 {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxStopStrings = 8;
constexpr size_t kMaxStopBytes = 256;
constexpr int64_t kMaxLogprobs = 20;
constexpr int64_t kMaxBeams = 8;

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

// One draw. A number in [0, 1) from the top 53 bits: std::uniform_real_distribution differs between libraries.
int64_t Draw(const std::vector<TokenProbability>& tokens, uint64_t random_bits) {
  double left = static_cast<double>(random_bits >> 11) * 0x1p-53;
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
  if (options.max_new_tokens < 1 || options.max_new_tokens > kMaxCount)
    return OutOfRange("max_new_tokens", "1 or more");
  if (options.min_new_tokens < 0 || options.min_new_tokens > options.max_new_tokens) {
    return OutOfRange("min_new_tokens", "0 to max_new_tokens");
  }
  if (!(options.temperature >= 0 && options.temperature <= 100)) return OutOfRange("temperature", "0 to 100");
  if (options.top_k < 0 || options.top_k > kMaxCount) return OutOfRange("top_k", "0 or more");
  if (!(options.top_p > 0 && options.top_p <= 1)) return OutOfRange("top_p", "more than 0, at most 1");
  if (!(options.repetition_penalty > 0 && options.repetition_penalty <= 100)) {
    return OutOfRange("repetition_penalty", "more than 0, at most 100");
  }
  if (options.num_beams < 1 || options.num_beams > kMaxBeams) {
    return OutOfRange("num_beams", absl::StrCat("1 to ", kMaxBeams));
  }
  if (options.num_beams > 1 && options.temperature != 0) return OutOfRange("num_beams", "1 with a temperature over 0");
  if (!(options.length_penalty >= -10 && options.length_penalty <= 10))
    return OutOfRange("length_penalty", "-10 to 10");
  if (options.logprobs < 0 || options.logprobs > kMaxLogprobs) {
    return OutOfRange("logprobs", absl::StrCat("0 to ", kMaxLogprobs));
  }
  return ValidateStop(options.stop);
}

TokenSelector::TokenSelector(const GenerationOptions& options, std::vector<int64_t> eos_token_ids)
    : options_(options), eos_token_ids_(std::move(eos_token_ids)) {
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

  // Copied only if a step changes them.
  std::vector<float> changed;
  const bool too_short = generated < options_.min_new_tokens;
  if (options_.repetition_penalty != 1 || too_short) changed.assign(raw.begin(), raw.end());
  if (options_.repetition_penalty != 1) Penalise(raw, context, options_.repetition_penalty, changed);
  if (too_short) Forbid(eos_token_ids_, changed);
  const std::span<const float> scores = changed.empty() ? raw : std::span<const float>(changed);

  ChosenToken token;
  const auto best = std::max_element(scores.begin(), scores.end());
  if (*best == kNever) return absl::InternalError("no token may follow");
  token.id =
      options_.temperature == 0 ? best - scores.begin() : Draw(SamplingDistribution(scores, options_), random_());
  AddLogprobs(raw, options_.logprobs, token);
  return token;
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
