#include "cli/charts/write_file.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace diptych::cli {

absl::Status CheckOutputFile(const std::string& option, const std::string& file) {
  if (file.empty()) return absl::OkStatus();
  std::error_code error;
  const std::filesystem::path path = file;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const auto fault = [&](const std::string& what) {
    return absl::FailedPreconditionError(absl::StrCat(option, ": cannot write ", file, ": ", what));
  };
  if (std::filesystem::is_directory(path, error)) return fault("this is a directory");
  if (!std::filesystem::is_directory(folder, error)) return fault("there is no folder " + folder.string());
  const std::filesystem::path& written = std::filesystem::exists(path, error) ? path : folder;
  return access(written.c_str(), W_OK) == 0 ? absl::OkStatus() : fault("you may not write there");
}

absl::Status WriteFile(const std::string& file, const std::string& bytes) {
  const absl::Status failed =
      absl::FailedPreconditionError(absl::StrCat("cannot write ", file, ": check its folder and the free disk"));
  std::FILE* stream = std::fopen(file.c_str(), "wb");
  if (stream == nullptr) return failed;
  const bool whole = std::fwrite(bytes.data(), 1, bytes.size(), stream) == bytes.size();
  return std::fclose(stream) == 0 && whole ? absl::OkStatus() : failed;
}

}  // namespace diptych::cli
