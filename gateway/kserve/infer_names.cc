#include "gateway/kserve/infer_names.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/rewording.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

std::string GivenName(const std::map<std::string, std::string>& given, const std::string& name) {
  const auto found = given.find(name);
  return found == given.end() ? name : found->second;
}

// The input that becomes a field of Question.
std::string InputOf(absl::string_view field) {
  if (field == "images") return "image";
  if (field == "turns") return "question";
  return field == "question" ? "prompt" : std::string(field);
}

std::string FieldName(absl::string_view field, const std::map<std::string, std::string>& given) {
  for (const char* above : {"question.", "generation.", "image_options."}) absl::ConsumePrefix(&field, above);
  if (field == "request_id") return "id";
  if (field == "model") return "model_name";
  const absl::string_view name = field.substr(0, field.find_first_of("[."));
  const bool is_image = absl::ConsumePrefix(&field, "images");
  return absl::StrCat("inputs.", GivenName(given, InputOf(name)), is_image ? field : "");
}

std::string InWords(std::string message, const std::map<std::string, std::string>& given) {
  for (const auto& [own, callers] : given) {
    // Words of plain English, where they do not name what is wrong.
    if (own != "image" && own != "prompt") message = ReplaceWord(std::move(message), own, callers);
  }
  if (absl::StartsWith(message, "prompt takes")) message.replace(0, 6, GivenName(given, "prompt"));
  if (absl::StartsWith(message, "request_id takes")) message.replace(0, 10, "id");
  if (absl::StartsWith(message, "model takes")) message.replace(0, 5, "model_name");
  return ReplaceWord(std::move(message), "turns", "question");
}

// Clients show the message alone: one of several images is named in it.
std::string WithImage(std::string_view field, std::string message) {
  const absl::string_view name = absl::StripPrefix(absl::string_view(field.data(), field.size()), "inputs.");
  const bool is_numbered = absl::EndsWith(name, "]");
  return is_numbered && !absl::StartsWith(message, name) ? absl::StrCat(name, ": ", message) : message;
}

}  // namespace

absl::Status InInputNames(const absl::Status& status, const std::map<std::string, std::string>& given) {
  if (status.ok()) return status;
  const std::string field = FieldOf(status);
  const std::string name = field.empty() ? "" : FieldName(field, given);
  return Reworded(status, name, WithImage(name, InWords(std::string(status.message()), given)));
}

}  // namespace diptych::gateway
