#include "common/files.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace diptych {
namespace {

constexpr char kUnfinished[] = ".unfinished-";  // and the process that makes it

}  // namespace

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

Unfinished::Unfinished(const std::filesystem::path& wanted) : Unfinished(wanted, wanted.parent_path()) {}

Unfinished::Unfinished(const std::filesystem::path& wanted, const std::filesystem::path& folder)
    : wanted_(wanted), path_(folder / absl::StrCat(wanted.filename().string(), kUnfinished, getpid())) {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);  // of a process that had the same id and was killed
}

Unfinished::~Unfinished() {
  const int before = errno;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
  errno = before;
}

bool Unfinished::Finish() {
  return std::rename(path_.c_str(), wanted_.c_str()) == 0;
}

void RemoveAbandoned(const std::filesystem::path& wanted) {
  const std::string prefix = wanted.filename().string() + kUnfinished;
  const std::filesystem::path folder = wanted.has_parent_path() ? wanted.parent_path() : ".";
  std::error_code error;
  std::filesystem::directory_iterator entries(folder, error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    pid_t process = 0;
    if (!name.starts_with(prefix) || !absl::SimpleAtoi(name.substr(prefix.size()), &process) || process <= 0) continue;
    std::error_code ignored;
    if (kill(process, 0) != 0 && errno == ESRCH) std::filesystem::remove_all(entries->path(), ignored);
  }
}

bool WriteBytes(const std::filesystem::path& file, std::string_view bytes) {
  std::FILE* stream = std::fopen(file.c_str(), "wb");
  if (stream == nullptr) return false;
  const bool taken = std::fwrite(bytes.data(), 1, bytes.size(), stream) == bytes.size() && std::fflush(stream) == 0;
  const int why = errno;
  const bool closed = std::fclose(stream) == 0;
  if (!taken) errno = why;
  return taken && closed;
}

}  // namespace diptych
