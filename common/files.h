// Files that are read or written whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace diptych {

// The bytes of a regular file. NOT_FOUND if there is none, OUT_OF_RANGE if it holds more than `max_bytes`
// (nothing is read then), UNAVAILABLE if reading fails. Messages don't repeat the file's name.
absl::StatusOr<std::string> ReadFile(const std::string& file, int64_t max_bytes);

// A file, link or folder that appears under its name at once, complete: it is made under another one, which no other
// process of this machine uses, and renamed. Unless it has been, the destructor removes it with all that is in it, and
// leaves errno as it is. Thread-compatible.
class Unfinished {
 public:
  // Makes nothing yet. It lies in `folder`, which is on the disk of `wanted`; by default beside that.
  explicit Unfinished(const std::filesystem::path& wanted);
  Unfinished(const std::filesystem::path& wanted, const std::filesystem::path& folder);
  ~Unfinished();
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

  // Where to make it.
  const std::filesystem::path& path() const { return path_; }

  // Renames it, in place of a file or link that is there. False with errno: that is then as it was.
  bool Finish();

 private:
  const std::filesystem::path wanted_;
  const std::filesystem::path path_;
};

// Removes what processes that were killed have left of `wanted`: those of this machine (and this container, if it is
// one) that made it beside it and run no more.
void RemoveAbandoned(const std::filesystem::path& wanted);

// Writes a file, or over the one that is there, in place. False with errno.
bool WriteBytes(const std::filesystem::path& file, std::string_view bytes);

}  // namespace diptych
