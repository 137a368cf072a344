#include "common/json_input.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace diptych {
namespace {

using nlohmann::json;

// More characters than any number of ours. The parser keeps a number's text several times over.
constexpr size_t kMaxNumberBytes = 1024;

// The end of the string that begins at `begin`, a quotation mark.
size_t EndOfString(std::string_view text, size_t begin) {
  size_t at = text.find_first_of("\"\\", begin + 1);
  while (at < text.size() && text[at] == '\\') at = text.find_first_of("\"\\", std::min(at + 2, text.size()));
  return std::min(at, text.size());
}

bool HasLongNumber(std::string_view text) {
  size_t begin = 0;  // of the number at `at`
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '"') at = EndOfString(text, at);
    const bool in_number = at < text.size() && text[at] >= '+' && text[at] <= '9' && text[at] != ',' && text[at] != '/';
    if (!in_number) begin = at + 1;
    if (at + 1 - begin > kMaxNumberBytes) return true;
  }
  return false;
}

// Builds the value while it watches what nlohmann::json lets pass.
class StrictReader {
 public:
  // Thrown to leave the parser, which would go on over the rest otherwise.
  struct Refused {
    std::string fault;
  };

  explicit StrictReader(int max_values) : values_left_(max_values) {}

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    const bool closes = event == json::parse_event_t::object_end || event == json::parse_event_t::array_end;
    if (!closes && --values_left_ < 0) throw Refused{"it has too many values"};
    if (depth > kMaxJsonDepth) throw Refused{absl::StrCat("it is nested deeper than ", kMaxJsonDepth)};
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end && !keys_.empty()) keys_.pop_back();
    if (event == json::parse_event_t::key && !keys_.back().insert(parsed.get<std::string>()).second) {
      throw Refused{"an object names one key twice"};
    }
    return true;
  }

 private:
  int values_left_;
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
};

}  // namespace

absl::StatusOr<json> ParseJsonObject(std::string_view text, std::string_view what, int max_values) {
  const absl::string_view name(what.data(), what.size());
  if (HasLongNumber(text)) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is refused: it has too long a number"));
  }
  StrictReader reader(max_values);
  json value;
  try {
    value = json::parse(text, std::ref(reader));
  } catch (const StrictReader::Refused& refused) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is refused: ", refused.fault));
  } catch (const json::exception& error) {
    // The message may quote the text; its position is all that is said.
    const auto* syntax = dynamic_cast<const json::parse_error*>(&error);
    return absl::InvalidArgumentError(syntax == nullptr
                                          ? absl::StrCat(name, " is not JSON")
                                          : absl::StrCat(name, " is not JSON: error at byte ", syntax->byte));
  }
  if (!value.is_object()) return absl::InvalidArgumentError(absl::StrCat(name, " is not a JSON object"));
  return value;
}

}  // namespace diptych
