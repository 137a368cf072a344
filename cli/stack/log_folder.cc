#include "cli/stack/log_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kMostStacks = 99;

absl::Status CannotMake(const std::string& folder, const std::string& why) {
  return absl::FailedPreconditionError(absl::StrCat("--log_folder: cannot make ", folder, ": ", why));
}

// With an unpredictable name, readable only by its owner.
absl::StatusOr<std::string> TemporaryFolder() {
  std::error_code error;
  const fs::path wanted = fs::temp_directory_path(error);
  std::string folder = ((error ? fs::path("/tmp") : wanted) / "diptych-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return CannotMake(folder, std::strerror(errno));
  return folder;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LogFolder>> LogFolder::Claim(const std::string& wanted) {
  std::error_code error;
  std::string first = wanted;
  if (wanted.empty()) {
    DIPTYCH_ASSIGN_OR_RETURN(first, TemporaryFolder());
  }
  for (int number = 1; number <= kMostStacks; ++number) {
    const std::string folder = number == 1 ? first : absl::StrCat(first, "-", number);
    fs::create_directories(folder, error);
    if (error) return CannotMake(folder, error.message());
    const int lock = open((folder + "/.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock < 0) return CannotMake(folder, std::strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
      return std::unique_ptr<LogFolder>(new LogFolder(folder, /*temporary=*/wanted.empty(), lock));
    }
    close(lock);
  }
  return absl::FailedPreconditionError(
      absl::StrCat(kMostStacks, " stacks run already; their logs are in ", first, "*"));
}

LogFolder::~LogFolder() {
  std::error_code error;
  if (temporary_) fs::remove_all(path_, error);
  close(lock_);
}

}  // namespace diptych::cli
