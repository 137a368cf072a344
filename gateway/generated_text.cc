#include "gateway/generated_text.h"

#include <algorithm>

#include "common/text/white_space.h"

namespace diptych::gateway {
namespace {

std::string_view SpaceAtTheStart(std::string_view text) {
  return text.substr(0, text.size() - StripLeft(text).size());
}

}  // namespace

std::string GeneratedText::Push(std::string_view text, const Steps& steps) {
  for (const v1::StepLogprobs& step : steps) {
    before_last_token_ = tokens_.size();
    tokens_ += step.chosen().text();
  }
  const bool begins = text_.empty() && !text.empty();
  text_ += text;
  std::string piece(begins ? SpaceAtTheStart(tokens_) : std::string_view());
  return piece += text;
}

std::string GeneratedText::Finish(v1::FinishReason reason, const v1::GenerationOptions& options) const {
  std::string_view rest = tokens_;
  // The token that ended the answer has no text.
  if (reason == v1::FINISH_REASON_STOP) rest = rest.substr(0, before_last_token_);
  const size_t begin = rest.find(text_);
  if (begin == rest.npos) return "";  // bytes that are no text were shown otherwise
  rest.remove_prefix(begin + text_.size());
  size_t end = SpaceAtTheStart(rest).size();
  for (const std::string& stop : options.stop()) end = std::min(end, rest.find(stop));
  return std::string(rest.substr(0, end));
}

}  // namespace diptych::gateway
