// The file of keys, read again when it changes.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "gateway/admission/api_keys.h"

namespace diptych::gateway {

// Looks at the file once a second, on a thread of its own, because no call may wait for a disk. A file that cannot be
// read or is faulty changes nothing: the keys that were last good stay, and the log says why. Thread-safe.
class ApiKeyFile {
 public:
  // INVALID_ARGUMENT, naming the flag and what to fix, if the file is not there or faulty.
  static absl::StatusOr<std::unique_ptr<ApiKeyFile>> Open(const std::string& file);
  ~ApiKeyFile();

  std::shared_ptr<const ApiKeys> keys() const;

  // Reads the file if it is not the one that was last good. What the thread does each second: a failure may have been
  // the process's own, which was out of descriptors, and a key that was taken out must not stay.
  void Refresh();

 private:
  // Distinguishes two states of a file: also a link that points elsewhere now, as Kubernetes mounts secrets.
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = -1;
    int64_t modified_ns = 0;
    int64_t changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };

  explicit ApiKeyFile(std::string file) : file_(std::move(file)), stamp_(StampOf(file_)) {}
  static Stamp StampOf(const std::string& file);
  absl::Status Read();
  void Run();

  const std::string file_;
  Mutex refresh_mutex_;  // held while the file is read
  Stamp stamp_ ABSL_GUARDED_BY(refresh_mutex_);
  std::string fault_ ABSL_GUARDED_BY(refresh_mutex_);  // that was logged last
  mutable Mutex mutex_;
  CondVar stop_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<const ApiKeys> keys_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

// "Bearer KEY" -> KEY; empty if it is anything else, or the key is not printable ASCII, which gRPC could not pass on.
std::string_view BearerOf(std::string_view authorization);

}  // namespace diptych::gateway
