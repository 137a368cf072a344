#include "cli/charts/write_file.h"

#include <cstdio>

#include "absl/strings/str_cat.h"

namespace diptych::cli {

absl::Status WriteFile(const std::string& file, const std::string& bytes) {
  const absl::Status failed =
      absl::FailedPreconditionError(absl::StrCat("cannot write ", file, ": check its folder and the free disk"));
  std::FILE* stream = std::fopen(file.c_str(), "wb");
  if (stream == nullptr) return failed;
  const bool whole = std::fwrite(bytes.data(), 1, bytes.size(), stream) == bytes.size();
  return std::fclose(stream) == 0 && whole ? absl::OkStatus() : failed;
}

}  // namespace diptych::cli
