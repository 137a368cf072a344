#include "common/logging/stderr_sink.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"

namespace diptych {
namespace {

// A pipe is opened again: O_NONBLOCK on a copy would apply to every process that writes to it.
int CopyOf(int descriptor, bool is_pipe) {
  if (is_pipe) {
    const std::string path = absl::StrCat("/proc/self/fd/", descriptor);
    if (const int out = open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC); out >= 0) return out;
  }
  return fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
}

}  // namespace

StderrSink::StderrSink(int descriptor) {
  struct stat what = {};
  const bool known = fstat(descriptor, &what) == 0;
  is_socket_ = known && S_ISSOCK(what.st_mode);
  out_ = CopyOf(descriptor, known && S_ISFIFO(what.st_mode));
}

StderrSink::~StderrSink() {
  if (out_ >= 0) close(out_);
}

void StderrSink::sink_it_(const spdlog::details::log_msg& message) {
  spdlog::memory_buf_t line;
  formatter_->format(message, line);
  if (lost_ > 0) {
    const std::string note = absl::StrCat(cut_ ? "\n" : "", lost_, " lines of the log were lost: nobody read them\n");
    if (!Write(note)) {
      ++lost_;
      return;
    }
    lost_ = 0;
  }
  if (!Write(std::string_view(line.data(), line.size()))) ++lost_;
}

bool StderrSink::Write(std::string_view line) {
  while (!line.empty()) {
    const ssize_t taken = is_socket_ ? send(out_, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                                     : write(out_, line.data(), line.size());
    if (taken < 0 && errno == EINTR) continue;
    if (taken <= 0) return false;
    line.remove_prefix(static_cast<size_t>(taken));
    cut_ = !line.empty();
  }
  return true;
}

}  // namespace diptych
