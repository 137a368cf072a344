#include "gateway/http/field_names.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/rewording.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

// The name for "turns[3].text" or "images[0]": the member's own place, or all content if there is none.
std::string Place(absl::string_view index, const std::vector<std::string>& places, const std::string& content) {
  size_t i = 0;
  const bool known = absl::ConsumePrefix(&index, "[") && absl::SimpleAtoi(index.substr(0, index.find(']')), &i);
  return known && i < places.size() ? places[i] : content;
}

std::string FieldName(absl::string_view field, const FieldNames& names) {
  absl::ConsumePrefix(&field, "question.");
  absl::ConsumePrefix(&field, "generation.");
  if (const auto known = names.options.find(std::string(field)); known != names.options.end()) return known->second;
  if (field == "question" || field == "prompt" || field == "prompt_token_ids") return names.content;
  if (absl::StartsWith(field, "options.")) return absl::StrCat("image_", field);
  if (absl::ConsumePrefix(&field, "turns")) return Place(field, names.turns, names.content);
  if (absl::ConsumePrefix(&field, "images")) return Place(field, names.images, names.content);
  return std::string(field);
}

}  // namespace

absl::Status InCallersNames(const absl::Status& status, const FieldNames& names) {
  if (status.ok()) return status;
  std::string message(status.message());
  for (const auto& [own, callers] : names.options) message = ReplaceWord(std::move(message), own, callers);
  for (const char* own : {"turns", "prompt_token_ids"}) message = ReplaceWord(std::move(message), own, names.content);
  const std::string field = FieldOf(status);
  return Reworded(status, field.empty() ? "" : FieldName(field, names), message);
}

}  // namespace diptych::gateway
