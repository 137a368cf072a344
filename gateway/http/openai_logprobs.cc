#include "gateway/http/openai_logprobs.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/text/utf8.h"

namespace diptych::gateway {
namespace {

using nlohmann::ordered_json;

ordered_json ByteList(std::string_view bytes) {
  ordered_json list = ordered_json::array();
  for (const char byte : bytes) list.push_back(static_cast<unsigned char>(byte));
  return list;
}

ordered_json ChatLogprob(const v1::TokenLogprob& token) {
  return {{"token", token.text()}, {"logprob", token.logprob()}, {"bytes", ByteList(token.text())}};
}

std::string NameOf(const v1::TokenLogprob& token) {
  if (IsValidUtf8(token.text())) return token.text();
  std::string name = "bytes:";
  for (const char byte : token.text()) absl::StrAppendFormat(&name, "\\x%02x", static_cast<unsigned char>(byte));
  return name;
}

bool BeginsCharacter(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
}

int64_t CharactersIn(std::string_view text) {
  return std::count_if(text.begin(), text.end(), BeginsCharacter);
}

}  // namespace

ordered_json ChatLogprobs(const LogprobSteps& steps, int top) {
  ordered_json content = ordered_json::array();
  for (const v1::StepLogprobs& step : steps) {
    ordered_json entry = ChatLogprob(step.chosen());
    entry["top_logprobs"] = ordered_json::array();
    for (int i = 0; i < std::min(top, step.top_size()); ++i) entry["top_logprobs"].push_back(ChatLogprob(step.top(i)));
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

int64_t TextOffsets::Of(std::string_view token) {
  if (!begun_) {
    const absl::string_view rest = absl::StripLeadingAsciiWhitespace(absl::string_view(token.data(), token.size()));
    token = {rest.data(), rest.size()};
    begun_ = !token.empty();
  }
  // A token that goes on with a character begins where that does.
  const bool goes_on = !token.empty() && !BeginsCharacter(token.front()) && characters_ > 0;
  const int64_t offset = characters_ - (goes_on ? 1 : 0);
  characters_ += CharactersIn(token);
  return offset;
}

ordered_json CompletionLogprobs(const LogprobSteps& prompt, const LogprobSteps& steps, int top, TextOffsets& offsets) {
  ordered_json tokens = ordered_json::array(), logprobs = ordered_json::array(), tops = ordered_json::array(),
               places = ordered_json::array();
  const auto add = [&](const v1::StepLogprobs& step, int64_t offset, bool known) {
    tokens.push_back(NameOf(step.chosen()));
    places.push_back(offset);
    logprobs.push_back(known ? ordered_json(step.chosen().logprob()) : ordered_json(nullptr));
    ordered_json map = ordered_json::object();
    for (int i = 0; i < std::min(top, step.top_size()); ++i) map.emplace(NameOf(step.top(i)), step.top(i).logprob());
    tops.push_back(known ? std::move(map) : ordered_json(nullptr));
  };
  for (int i = 0; i < prompt.size(); ++i) add(prompt[i], offsets.Of(prompt[i].chosen().text()), i > 0);
  for (const v1::StepLogprobs& step : steps) add(step, offsets.Of(step.chosen().text()), true);
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", std::move(logprobs)},
          {"top_logprobs", std::move(tops)},
          {"text_offset", std::move(places)}};
}

std::string JoinedText(const LogprobSteps& steps) {
  std::string text;
  for (const v1::StepLogprobs& step : steps) text += step.chosen().text();
  return text;
}

}  // namespace diptych::gateway
