#include "common/process/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

namespace diptych {

void OpenStandardStreams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) != -1) continue;
    if (open("/dev/null", O_RDWR) != descriptor) _exit(1);  // it takes the lowest that is free, which is this one
  }
}

namespace {

// Before the constructors of shared libraries, which open files, too. Not under a sanitizer, whose runtime starts
// later.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
[[gnu::section(".preinit_array"), gnu::used]] void (*const open_first)() = OpenStandardStreams;
#endif

}  // namespace
}  // namespace diptych
