// Writes into Hugging Face's cache; readers never see an unfinished file (common/models/hub_cache.h has its layout).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/models/hub_name.h"

namespace diptych::cli {

// While it lives no other process pulls the same model into the same cache.
class RepositoryLock {
 public:
  // Waits for another process, after calling `waiting` once. CANCELLED if `stopped` says so; FAILED_PRECONDITION if the
  // cache cannot be written.
  static absl::StatusOr<std::unique_ptr<RepositoryLock>> Take(const std::filesystem::path& cache,
                                                              const std::string& repository,
                                                              const std::function<void()>& waiting,
                                                              const std::function<bool()>& stopped);
  ~RepositoryLock();
  RepositoryLock(const RepositoryLock&) = delete;
  RepositoryLock& operator=(const RepositoryLock&) = delete;

 private:
  explicit RepositoryLock(int file) : file_(file) {}
  const int file_;
};

// FAILED_PRECONDITION, with the numbers, if the disk of `folder` has not `bytes` free.
absl::Status CheckRoom(const std::filesystem::path& folder, int64_t bytes);

// Makes the folder and those above it. FAILED_PRECONDITION also where it is a link: who planted that would choose what
// is written to.
absl::Status MakeFolder(const std::filesystem::path& folder);

// Removes the partial files in `blobs` that are not `wanted`: what interrupted pulls left of files that have changed
// since, or of other revisions. Only under the RepositoryLock; what cannot be removed stays.
void RemoveOtherPartialFiles(const std::filesystem::path& blobs, const std::set<std::filesystem::path>& wanted);

// Makes snapshots/COMMIT, which holds a link for each file to its blob: all at once, or, where there is such a snapshot
// already, those that it lacks.
absl::Status LinkSnapshot(const std::filesystem::path& repository, const std::string& commit,
                          const std::map<std::string, std::string>& blob_of_file);

// FAILED_PRECONDITION if the cache has a revision whose name is the beginning of this one up to a slash, or the other
// way round: a file and a folder of one name.
absl::Status CheckRef(const std::filesystem::path& repository, const std::string& revision);

// Writes down which commit the revision is at; nothing for a commit itself.
absl::Status WriteRef(const std::filesystem::path& repository, const std::string& revision, const std::string& commit);

}  // namespace diptych::cli
