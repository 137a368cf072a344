#include "common/files.h"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace diptych {

absl::StatusOr<std::string> ReadFile(const std::string& file, int64_t max_bytes) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return absl::NotFoundError("there is no such file");
  const auto size = static_cast<int64_t>(std::filesystem::file_size(file, error));
  if (error) return absl::UnavailableError("the file cannot be read");
  if (size > max_bytes) {
    return absl::OutOfRangeError(absl::StrCat("the file has ", size, " bytes; at most ", max_bytes, " are read"));
  }
  std::string bytes(static_cast<size_t>(size), '\0');
  std::ifstream stream(file, std::ios::binary);
  if (!stream.read(bytes.data(), size)) return absl::UnavailableError("the file cannot be read");
  return bytes;
}

}  // namespace diptych
