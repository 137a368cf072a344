#include "cli/charts/write_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

absl::Status NotWritable(const std::string& message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "OUTPUT_NOT_WRITABLE", message);
}

// False with errno, and then `file` is as it was.
bool Replace(const std::filesystem::path& file, const std::string& bytes) {
  Unfinished replacement(file);
  if (WriteBytes(replacement.path(), bytes) && replacement.Finish()) return true;
  return errno == EACCES && WriteBytes(file, bytes);  // a folder that takes no other file
}

}  // namespace

absl::Status CheckOutputFile(const std::string& option, const std::string& file) {
  if (file.empty()) return absl::OkStatus();
  std::error_code error;
  const std::filesystem::path path = file;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const auto fault = [&](const std::string& what) {
    return NotWritable(absl::StrCat(option, ": cannot write ", file, ": ", what));
  };
  if (std::filesystem::is_directory(path, error)) return fault("this is a directory");
  if (!std::filesystem::is_directory(folder, error)) return fault("there is no folder " + folder.string());
  const std::filesystem::path& written = std::filesystem::exists(path, error) ? path : folder;
  return access(written.c_str(), W_OK) == 0 ? absl::OkStatus() : fault("you may not write there");
}

absl::Status WriteFile(const std::string& file, const std::string& bytes) {
  std::error_code error;
  const bool is_special = std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error);
  if (is_special ? WriteBytes(file, bytes) : Replace(std::filesystem::weakly_canonical(file, error), bytes)) {
    return absl::OkStatus();
  }
  return NotWritable(absl::StrCat("cannot write ", file, ": ", std::strerror(errno)));
}

}  // namespace diptych::cli
