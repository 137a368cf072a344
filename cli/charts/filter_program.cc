#include "cli/charts/filter_program.h"

#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

extern char** environ;

namespace diptych::cli {
namespace {

// A file without a name.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(memfd_create("diptych", MFD_CLOEXEC)) {}
  ~MemoryFile() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  bool ok() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }

  // Leaves the place at the beginning.
  bool Fill(std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = write(descriptor_, text.data(), text.size());
      if (written < 0) return false;
      text.remove_prefix(written);
    }
    return lseek(descriptor_, 0, SEEK_SET) == 0;
  }

  std::string Whole() const {
    std::string whole, piece(1 << 16, '\0');
    for (ssize_t got; (got = pread(descriptor_, piece.data(), piece.size(), whole.size())) > 0;) {
      whole.append(piece, 0, got);
    }
    return whole;
  }

 private:
  const int descriptor_;
};

std::string LastLine(std::string text) {
  text.erase(text.find_last_not_of(" \n") + 1);
  return text.substr(text.rfind('\n') + 1);
}

// 0, or the error number of posix_spawnp.
int Spawn(const std::vector<std::string>& argv, const MemoryFile& in, const MemoryFile& out, const MemoryFile& error,
          pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.descriptor(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.descriptor(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, error.descriptor(), STDERR_FILENO);
  std::vector<char*> pointers;
  for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  const int failed = posix_spawnp(&pid, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return failed;
}

}  // namespace

absl::StatusOr<std::string> RunFilter(const std::vector<std::string>& argv, std::string_view input) {
  MemoryFile in, out, error;
  if (!in.ok() || !out.ok() || !error.ok() || !in.Fill(input)) return absl::InternalError("no memory for a pipe");
  pid_t pid = -1;
  if (const int failed = Spawn(argv, in, out, error, pid); failed != 0) {
    return failed == ENOENT ? absl::NotFoundError(absl::StrCat(argv[0], " is not installed"))
                            : absl::InternalError(absl::StrCat(argv[0], " does not start"));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return out.Whole();
  return absl::InternalError(absl::StrCat(argv[0], " failed: ", LastLine(error.Whole())));
}

}  // namespace diptych::cli
