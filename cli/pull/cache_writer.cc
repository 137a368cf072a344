#include "cli/pull/cache_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/connection/errors.h"
#include "cli/pull/disk_error.h"
#include "cli/terminal/text.h"
#include "common/files.h"
#include "common/models/hub_cache.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSpareBytes = 64 << 20;  // left to others
constexpr absl::Duration kLockLook = absl::Milliseconds(100);

absl::Status LinkTo(const fs::path& link, const fs::path& to) {
  Unfinished made(link);
  return symlink(to.c_str(), made.path().c_str()) == 0 && made.Finish() ? absl::OkStatus() : CannotWrite(link);
}

absl::Status LinkAll(const fs::path& folder, const std::map<std::string, std::string>& blob_of_file) {
  std::error_code error;
  for (const auto& [file, blob] : blob_of_file) {
    const fs::path to = fs::path("../../blobs") / blob;
    if (fs::read_symlink(folder / file, error) == to) continue;
    DIPTYCH_RETURN_IF_ERROR(LinkTo(folder / file, to));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MakeFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error && fs::is_symlink(folder, error)) return CannotWrite(folder, ELOOP);
  return error ? CannotWrite(folder, error.value()) : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<RepositoryLock>> RepositoryLock::Take(const fs::path& cache,
                                                                     const std::string& repository,
                                                                     const std::function<void()>& waiting,
                                                                     const std::function<bool()>& stopped) {
  const fs::path folder = cache / ".locks" / RepositoryFolder(cache, repository).filename();
  DIPTYCH_RETURN_IF_ERROR(MakeFolder(folder));
  const int file = open((folder / "pull.lock").c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (file < 0) return CannotWrite(folder / "pull.lock");
  std::unique_ptr<RepositoryLock> lock(new RepositoryLock(file));
  for (bool told = false; flock(file, LOCK_EX | LOCK_NB) != 0; absl::SleepFor(kLockLook)) {
    if (errno != EWOULDBLOCK && errno != EINTR) return CannotWrite(folder / "pull.lock");
    if (stopped()) return absl::CancelledError("stopped");
    if (!std::exchange(told, true)) waiting();
  }
  return lock;
}

RepositoryLock::~RepositoryLock() {
  close(file_);
}

absl::Status CheckRoom(const fs::path& folder, int64_t bytes) {
  struct statvfs disk = {};
  if (bytes == 0 || statvfs(folder.c_str(), &disk) != 0) return absl::OkStatus();
  const auto free = static_cast<int64_t>(disk.f_bavail * disk.f_frsize);
  if (bytes <= free - kSpareBytes) return absl::OkStatus();
  return WithRemedy(MakeError(absl::StatusCode::kFailedPrecondition, "DISK_FULL",
                              absl::StrCat("the model needs ", FormatBytes(bytes), ", and the disk of ",
                                           folder.string(), " has ", FormatBytes(free), " free")),
                    "Free some room, or name another folder with HF_HUB_CACHE.");
}

void RemoveOtherPartialFiles(const fs::path& blobs, const std::set<fs::path>& wanted) {
  std::error_code error;
  for (fs::directory_iterator entry(blobs, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const fs::path& path = entry->path();
    if (path.extension() == ".partial" && !wanted.contains(path)) unlink(path.c_str());
  }
}

absl::Status LinkSnapshot(const fs::path& repository, const std::string& commit,
                          const std::map<std::string, std::string>& blob_of_file) {
  const fs::path snapshot = repository / "snapshots" / commit;
  DIPTYCH_RETURN_IF_ERROR(MakeFolder(snapshot.parent_path()));
  std::error_code error;
  if (fs::exists(snapshot, error)) {
    DIPTYCH_RETURN_IF_ERROR(MakeFolder(snapshot));
    return LinkAll(snapshot, blob_of_file);
  }
  Unfinished made(snapshot, repository);  // whatever lies in snapshots/ is taken for one
  DIPTYCH_RETURN_IF_ERROR(MakeFolder(made.path()));
  DIPTYCH_RETURN_IF_ERROR(LinkAll(made.path(), blob_of_file));
  return made.Finish() ? absl::OkStatus() : CannotWrite(snapshot);
}

absl::Status CheckRef(const fs::path& repository, const std::string& revision) {
  const fs::path refs = repository / "refs";
  std::error_code error;
  fs::path other = fs::is_directory(refs / revision, error) ? revision : "";
  for (fs::path above = fs::path(revision).parent_path(); !above.empty(); above = above.parent_path()) {
    if (fs::is_regular_file(refs / above, error)) other = above;
  }
  if (other.empty()) return absl::OkStatus();
  return WithRemedy(MakeError(absl::StatusCode::kFailedPrecondition, "CACHE_NOT_WRITABLE",
                              absl::StrCat("the cache cannot hold the revision ", revision, " beside what ",
                                           (refs / other).string(), " stands for")),
                    "Remove that if it is an old branch, or name the commit in place of the revision.");
}

absl::Status WriteRef(const fs::path& repository, const std::string& revision, const std::string& commit) {
  if (revision == commit) return absl::OkStatus();
  const fs::path ref = repository / "refs" / revision;
  if (const auto written = ReadFile(ref.string(), 256); written.ok() && *written == commit) return absl::OkStatus();
  DIPTYCH_RETURN_IF_ERROR(MakeFolder(ref.parent_path()));
  Unfinished made(ref);
  return WriteBytes(made.path(), commit) && made.Finish() ? absl::OkStatus() : CannotWrite(ref);
}

}  // namespace diptych::cli
