#include "cli/pull/partial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/pull/disk_error.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr mode_t kMode = 0666;  // less what the umask takes
constexpr int64_t kCountBytes = sizeof(int64_t);

size_t RangesOf(int64_t size, int64_t range_bytes) {
  return static_cast<size_t>((size + range_bytes - 1) / range_bytes);
}

}  // namespace

PartialFile::PartialFile(std::filesystem::path path, int file, const std::string& etag, int64_t size,
                         int64_t range_bytes)
    : path_(std::move(path)),
      etag_(etag),
      file_(file),
      size_(size),
      range_bytes_(range_bytes),
      done_(RangesOf(size, range_bytes)),
      check_(std::make_unique<ContentCheck>(etag, size)) {}

PartialFile::~PartialFile() {
  close(file_);
}

absl::StatusOr<std::unique_ptr<PartialFile>> PartialFile::Open(const std::filesystem::path& path,
                                                               const std::string& etag, int64_t size,
                                                               int64_t range_bytes) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, kMode);
  if (file < 0) return CannotWrite(path);
  std::unique_ptr<PartialFile> partial(new PartialFile(path, file, etag, size, range_bytes));
  struct stat status = {};
  const auto whole = size + static_cast<int64_t>(partial->done_.size()) * kCountBytes;
  if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == whole) {
    partial->ReadCounts();
  } else {
    DIPTYCH_RETURN_IF_ERROR(partial->Begin());
  }
  return partial;
}

void PartialFile::ReadCounts() {
  const auto bytes = static_cast<ssize_t>(done_.size()) * kCountBytes;
  bool valid = pread(file_, done_.data(), static_cast<size_t>(bytes), size_) == bytes;
  for (int range = 0; range < ranges(); ++range) {
    valid = valid && done_[range] >= 0 && done_[range] <= End(range) - range * range_bytes_;
  }
  if (!valid) std::fill(done_.begin(), done_.end(), 0);
}

absl::Status PartialFile::Begin() {
  std::fill(done_.begin(), done_.end(), 0);
  const auto whole = size_ + static_cast<int64_t>(done_.size()) * kCountBytes;
  return ftruncate(file_, 0) == 0 && ftruncate(file_, whole) == 0 ? absl::OkStatus() : CannotWrite(path_);
}

int64_t PartialFile::End(int range) const {
  return std::min(size_, (range + 1) * range_bytes_);
}

int64_t PartialFile::Done() const {
  return std::accumulate(done_.begin(), done_.end(), int64_t{0});
}

absl::Status PartialFile::WriteAt(int64_t at, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = pwrite(file_, bytes.data(), bytes.size(), at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return CannotWrite(path_);
    bytes.remove_prefix(static_cast<size_t>(wrote));
    at += wrote;
  }
  return absl::OkStatus();
}

absl::Status PartialFile::Append(int range, std::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) > End(range) - Next(range)) {
    return absl::OutOfRangeError("more bytes came than were asked for");
  }
  DIPTYCH_RETURN_IF_ERROR(WriteAt(Next(range), bytes));
  done_[range] += static_cast<int64_t>(bytes.size());
  return WriteAt(size_ + range * kCountBytes, {reinterpret_cast<const char*>(&done_[range]), kCountBytes});
}

absl::Status PartialFile::RestartAsOneRange() {
  range_bytes_ = std::max(size_, int64_t{1});
  done_.assign(RangesOf(size_, range_bytes_), 0);
  checked_ = 0;
  check_ = std::make_unique<ContentCheck>(etag_, size_);
  return Begin();
}

int64_t PartialFile::FirstGap() const {
  for (int range = 0; range < ranges(); ++range) {
    if (Next(range) < End(range)) return Next(range);
  }
  return size_;
}

absl::StatusOr<bool> PartialFile::CheckSome(int64_t most) {
  constexpr int64_t kPiece = 1 << 20;
  std::string piece(kPiece, 0);
  const int64_t end = std::min(FirstGap(), checked_ + most);
  if (checked_ >= end) return false;
  while (checked_ < end) {
    const ssize_t got = pread(file_, piece.data(), static_cast<size_t>(std::min(kPiece, end - checked_)), checked_);
    if (got <= 0) return absl::InternalError(absl::StrCat("cannot read ", path_.string(), " again"));
    check_->Update({piece.data(), static_cast<size_t>(got)});
    checked_ += got;
  }
  return true;
}

absl::Status PartialFile::Finish(const std::filesystem::path& path) {
  if (!check_->Matches()) {
    unlink(path_.c_str());
    return absl::DataLossError("its bytes do not match the hub's checksum");
  }
  if (fsync(file_) != 0 || ftruncate(file_, size_) != 0 || rename(path_.c_str(), path.c_str()) != 0) {
    return CannotWrite(path);
  }
  return absl::OkStatus();
}

}  // namespace diptych::cli
