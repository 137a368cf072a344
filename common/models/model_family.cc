#include "common/models/model_family.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace diptych {
namespace {

constexpr char kServed[] = "; Diptych serves BLIP-2 with an OPT decoder, such as Salesforce/blip2-opt-2.7b";

// Words of a stranger's file, short and without what steers a terminal.
std::string Shown(std::string_view word) {
  constexpr size_t kLongest = 40;
  std::string shown(word.substr(0, kLongest));
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return !absl::ascii_isprint(c); }, '?');
  return shown;
}

}  // namespace

absl::Status CheckFamily(std::string_view model_type, std::string_view text_model_type) {
  if (!model_type.empty() && model_type != "blip-2") {
    return absl::InvalidArgumentError(absl::StrCat("model_type is \"", Shown(model_type), "\"", kServed));
  }
  if (!text_model_type.empty() && text_model_type != "opt") {
    return absl::InvalidArgumentError(
        absl::StrCat("text_config.model_type is \"", Shown(text_model_type), "\"", kServed));
  }
  return absl::OkStatus();
}

}  // namespace diptych
