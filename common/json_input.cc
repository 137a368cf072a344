#include "common/json_input.h"

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace diptych {
namespace {

using nlohmann::json;

// Builds the value while it watches what nlohmann::json lets pass.
class StrictReader {
 public:
  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxJsonDepth) Fail(absl::StrCat("it is nested deeper than ", kMaxJsonDepth));
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end && !keys_.empty()) keys_.pop_back();
    if (event == json::parse_event_t::key && !keys_.back().insert(parsed.get<std::string>()).second) {
      Fail("an object names one key twice");
    }
    return fault_.empty();
  }

  const std::string& fault() const { return fault_; }

 private:
  void Fail(std::string fault) {
    if (fault_.empty()) fault_ = std::move(fault);
  }

  std::vector<std::set<std::string>> keys_;  // of the objects that are open
  std::string fault_;
};

}  // namespace

absl::StatusOr<json> ParseJsonObject(std::string_view text, std::string_view what) {
  const absl::string_view name(what.data(), what.size());
  StrictReader reader;
  json value;
  try {
    value = json::parse(text, std::ref(reader));
  } catch (const json::exception& error) {
    // The message may quote the text; its position is all that is said.
    const auto* syntax = dynamic_cast<const json::parse_error*>(&error);
    return absl::InvalidArgumentError(syntax == nullptr
                                          ? absl::StrCat(name, " is not JSON")
                                          : absl::StrCat(name, " is not JSON: error at byte ", syntax->byte));
  }
  if (!reader.fault().empty()) return absl::InvalidArgumentError(absl::StrCat(name, " is refused: ", reader.fault()));
  if (!value.is_object()) return absl::InvalidArgumentError(absl::StrCat(name, " is not a JSON object"));
  return value;
}

}  // namespace diptych
