#include "cli/pull/disk_error.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "cli/connection/errors.h"
#include "common/status.h"

namespace diptych::cli {

absl::Status CannotWrite(const std::filesystem::path& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return WithRemedy(MakeError(absl::StatusCode::kFailedPrecondition, full ? "DISK_FULL" : "CACHE_NOT_WRITABLE",
                              absl::StrCat("cannot write ", path.string(), ": ", std::strerror(error))),
                    full ? "Free some room and run the same command: it resumes where this one stopped; or name "
                           "another folder with HF_HUB_CACHE."
                         : "Name a folder that can be written with HF_HUB_CACHE.");
}

absl::Status CannotWrite(const std::filesystem::path& path) {
  return CannotWrite(path, errno);
}

}  // namespace diptych::cli
