#include "cli/charts/write_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

absl::Status NotWritable(const std::string& message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "OUTPUT_NOT_WRITABLE", message);
}

// False with errno.
bool Put(const std::string& file, const std::string& bytes) {
  std::FILE* stream = std::fopen(file.c_str(), "wb");
  if (stream == nullptr) return false;
  const bool taken = std::fwrite(bytes.data(), 1, bytes.size(), stream) == bytes.size() && std::fflush(stream) == 0;
  const int why = errno;
  const bool closed = std::fclose(stream) == 0;
  if (!taken) errno = why;
  return taken && closed;
}

// False with errno, and then `file` is as it was.
bool Replace(const std::string& file, const std::string& bytes) {
  const std::string part = file + ".unfinished";
  if (Put(part, bytes) && std::rename(part.c_str(), file.c_str()) == 0) return true;
  const int why = errno;
  unlink(part.c_str());
  if (why == EACCES) return Put(file, bytes);  // a folder that takes no other file
  errno = why;
  return false;
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
  if (is_special ? Put(file, bytes) : Replace(std::filesystem::weakly_canonical(file, error), bytes)) {
    return absl::OkStatus();
  }
  return NotWritable(absl::StrCat("cannot write ", file, ": ", std::strerror(errno)));
}

}  // namespace diptych::cli
