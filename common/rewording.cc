#include "common/rewording.h"

#include "absl/strings/ascii.h"
#include "common/status.h"

namespace diptych {
namespace {

bool IsPartOfWord(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
}

}  // namespace

std::string ReplaceWord(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, at)) {
    const size_t end = at + from.size();
    if ((at > 0 && IsPartOfWord(text[at - 1])) || (end < text.size() && IsPartOfWord(text[end]))) {
      at = end;
      continue;
    }
    text.replace(at, from.size(), to);
    at += to.size();
  }
  return text;
}

absl::Status Reworded(const absl::Status& status, std::string_view field, std::string_view message) {
  const absl::string_view text(message.data(), message.size());
  absl::Status reworded =
      field.empty() ? absl::Status(status.code(), text) : InvalidField(ReasonOf(status), field, message);
  status.ForEachPayload([&reworded](absl::string_view url, const absl::Cord& payload) {
    if (!reworded.GetPayload(url)) reworded.SetPayload(url, payload);
  });
  return reworded;
}

}  // namespace diptych
