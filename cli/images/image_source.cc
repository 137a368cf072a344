#include "cli/images/image_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/connection/errors.h"
#include "cli/images/fetch.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/text.h"
#include "common/mutex.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr int64_t kMaxBytes = 256 << 20;
constexpr size_t kMostShown = 500;  // columns of what was given as an image
constexpr char kStandardInput[] = "-";

bool HasScheme(const std::string& source) {
  return source.find("://") != std::string::npos;
}

absl::Status Error(const std::string& source, const std::string& what) {
  return UsageError(absl::StrCat(Shorten(Printable(source), kMostShown), ": ", what));
}

// Whether it may be a question, or the first word of one that stands without quotes.
bool IsLikeWords(const std::string& source) {
  return source.find_first_of(" ?") != std::string::npos || source.find_first_of("./") == std::string::npos;
}

absl::Status FromErrno(const std::string& source, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return Error(source, IsLikeWords(source) ? "there is no such file; a question is given with --question, in quotes"
                                               : "there is no such file");
    case EACCES:
    case EPERM:
      return Error(source, "you may not read this file");
    case EISDIR:
      return Error(source, absl::StrCat("this is a directory; give the images in it, for example ", Printable(source),
                                        source.ends_with('/') ? "" : "/", "*.jpg"));
    case ELOOP:
      return Error(source, "this is a link to itself");
    case ENAMETOOLONG:
      return Error(source, "this is too long for the name of a file");
    case ENXIO:
      return Error(source, "this is a socket");
    default:
      return Error(source, "the file cannot be read");
  }
}

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() {
    if (descriptor_ > STDERR_FILENO) close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return descriptor_; }

 private:
  const int descriptor_;
};

// To its end, whatever it is.
absl::StatusOr<std::string> ReadAll(const std::string& source, int descriptor) {
  std::string bytes, piece(1 << 16, '\0');
  for (;;) {
    const ssize_t got = read(descriptor, piece.data(), piece.size());
    DIPTYCH_RETURN_IF_ERROR(CheckInterrupt());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno(source, errno);
    if (got == 0) break;
    if (static_cast<int64_t>(bytes.size()) + got > kMaxBytes) {
      return Error(source, absl::StrCat("this is more than ", kMaxBytes >> 20, " MiB"));
    }
    bytes.append(piece, 0, got);
  }
  if (bytes.empty()) return Error(source, "this is empty");
  return bytes;
}

absl::StatusOr<std::string> ReadPath(const std::string& path) {
  int descriptor;
  do {
    descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);  // a pipe opens when a writer does
    const int error = errno;
    DIPTYCH_RETURN_IF_ERROR(CheckInterrupt());
    if (descriptor < 0 && error != EINTR) return FromErrno(path, error);
  } while (descriptor < 0);
  return ReadAll(path, Descriptor(descriptor).get());
}

bool CanBeReadAgain(const std::string& source) {
  std::error_code error;
  return !HasScheme(source) && std::filesystem::is_regular_file(source, error);
}

absl::StatusOr<std::string> ReadNow(const std::string& source) {
  if (source == kStandardInput) return ReadAll("standard input", STDIN_FILENO);
  if (!HasScheme(source)) return ReadPath(source);
  auto bytes = FetchImage(source, kMaxBytes);
  if (!bytes.ok() && !Interrupted()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "FETCH_FAILED",
                     absl::StrCat(Printable(source), ": ", bytes.status().message()));
  }
  return bytes;
}

// What cannot be read twice.
struct Kept {
  Mutex mutex;
  std::map<std::string, absl::StatusOr<std::string>> by_source ABSL_GUARDED_BY(mutex);
};
Kept& TheKept() {
  static Kept& kept = *new Kept;
  return kept;
}

}  // namespace

absl::Status CheckImageSource(const std::string& source) {
  if (source == kStandardInput || absl::StartsWith(source, "https://")) return absl::OkStatus();
  if (absl::StartsWith(source, "file://")) return Error(source, "give the file's path, without file://");
  if (absl::StartsWithIgnoreCase(source, "data:")) return Error(source, "give the image's file, not a data: address");
  if (HasScheme(source))
    return Error(source, "images are fetched from https addresses only; download it and give the file");
  if (source.empty()) return Error("--image", "the name of a file is missing");
  struct stat status = {};
  if (stat(source.c_str(), &status) != 0) return FromErrno(source, errno);
  if (S_ISDIR(status.st_mode)) return FromErrno(source, EISDIR);
  if (S_ISSOCK(status.st_mode)) return FromErrno(source, ENXIO);
  return access(source.c_str(), R_OK) == 0 ? absl::OkStatus() : FromErrno(source, errno);
}

absl::StatusOr<std::string> ReadImage(const std::string& source) {
  if (source != kStandardInput) DIPTYCH_RETURN_IF_ERROR(CheckImageSource(source));
  if (source != kStandardInput && CanBeReadAgain(source)) return ReadPath(source);
  Kept& kept = TheKept();
  MutexLock lock(kept.mutex);
  const auto found = kept.by_source.find(source);
  if (found != kept.by_source.end()) return found->second;
  return kept.by_source.emplace(source, ReadNow(source)).first->second;
}

void ForgetUnreadableImages() {
  Kept& kept = TheKept();
  MutexLock lock(kept.mutex);
  std::erase_if(kept.by_source, [](const auto& entry) { return !entry.second.ok(); });
}

std::string NameOfImage(const std::string& source) {
  if (source == kStandardInput) return "stdin";
  if (!HasScheme(source)) return std::filesystem::path(source).filename().string();
  const std::string path = source.substr(0, source.find_first_of("?#"));
  const std::string name = path.substr(path.rfind('/') + 1);
  return name.empty() ? source : name;
}

}  // namespace diptych::cli
