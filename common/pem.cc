#include "common/pem.h"

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace diptych {

absl::StatusOr<std::string> ReadPem(const std::string& file, std::string_view flag) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) {
    return absl::InvalidArgumentError(absl::StrCat("--", std::string(flag), ": cannot read the file it names"));
  }
  return text.str();
}

}  // namespace diptych
