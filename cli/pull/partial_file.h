// A file on its way: which of its bytes are there, also after the program was killed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/pull/content_check.h"

namespace diptych::cli {

// Bytes that one request fetches at most.
inline constexpr int64_t kRangeBytes = int64_t{32} << 20;

// On disk: the file's bytes, then for each range the number of bytes that it has, counted from its beginning, written
// after them. Thread-compatible; one process at a time (RepositoryLock).
class PartialFile {
 public:
  // Opens what an earlier run left, or begins. INTERNAL if that cannot be done, with the system's words.
  static absl::StatusOr<std::unique_ptr<PartialFile>> Open(const std::filesystem::path& path, const std::string& etag,
                                                           int64_t size, int64_t range_bytes = kRangeBytes);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  int64_t size() const { return size_; }
  int ranges() const { return static_cast<int>(done_.size()); }
  // Offsets of a range's next byte and of its end.
  int64_t Next(int range) const { return range * range_bytes_ + done_[range]; }
  int64_t End(int range) const;
  // Bytes that are there, of all ranges.
  int64_t Done() const;
  bool IsWhole() const { return Done() == size_; }

  // Puts bytes where the range's next one belongs. OUT_OF_RANGE if they do not fit into it; INTERNAL if the disk does
  // not take them.
  absl::Status Append(int range, std::string_view bytes);
  // Forgets what is there; one range holds all from here on.
  absl::Status RestartAsOneRange();

  // Checks the next `most` of the bytes that are there without a gap; false if there is nothing to check for now.
  absl::StatusOr<bool> CheckSome(int64_t most);
  // Whether all is there and checked.
  bool IsChecked() const { return IsWhole() && checked_ == size_; }
  // Makes it the file `path` if its content is what the ETag identifies. DATA_LOSS if not: then nothing of it is kept.
  absl::Status Finish(const std::filesystem::path& path);

 private:
  PartialFile(std::filesystem::path path, int file, const std::string& etag, int64_t size, int64_t range_bytes);
  void ReadCounts();
  absl::Status Begin();
  absl::Status WriteAt(int64_t at, std::string_view bytes);
  // The first byte that is missing.
  int64_t FirstGap() const;

  const std::filesystem::path path_;
  const std::string etag_;
  const int file_;
  const int64_t size_;
  int64_t range_bytes_;
  std::vector<int64_t> done_;  // for each range
  int64_t checked_ = 0;
  std::unique_ptr<ContentCheck> check_;
};

}  // namespace diptych::cli
