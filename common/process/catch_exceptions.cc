#include "common/process/catch_exceptions.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/logging/log.h"
#include "common/text/utf8.h"

namespace diptych {

absl::Status StatusOfException(std::string_view stage, std::string_view what) {
  spdlog::error("a request failed in {}: {}", stage, FirstLine(what));
  return absl::InternalError(absl::StrCat("the server failed in stage ", std::string(stage)));
}

}  // namespace diptych
