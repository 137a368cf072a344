// Linked by a tier, lets libtorch's threads wait for work for some microseconds before they sleep, not for a
// millisecond. Next to other programs, or under a quota of processor time, those that wait take the time that the
// others need (docs/decisions/0067-threads-wait-for-work-briefly.md).
#include <limits.h>
#include <unistd.h>

#include <string_view>
#include <vector>

namespace diptych {
namespace {

// Unless GOMP_SPINCOUNT or OMP_WAIT_POLICY is set, sets the former and starts the program once more.
void WaitForWorkBriefly(int, char** argv, char** environment) {
  std::vector<char*> variables;
  for (; *environment != nullptr; ++environment) {
    const std::string_view variable = *environment;
    if (variable.starts_with("GOMP_SPINCOUNT=") || variable.starts_with("OMP_WAIT_POLICY=")) return;
    variables.push_back(*environment);
  }
  char spin_count[] = "GOMP_SPINCOUNT=2000";
  variables.insert(variables.end(), {spin_count, nullptr});
  char program[PATH_MAX];  // the link itself would rename it
  const ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 1);
  if (size <= 0) return;
  program[size] = '\0';
  execve(program, argv, variables.data());
}

// Run before the constructors of all libraries: libgomp's reads the variable, and libtorch's take a third of a second.
[[gnu::section(".preinit_array"), gnu::used]] void (*run_first)(int, char**, char**) = WaitForWorkBriefly;

}  // namespace
}  // namespace diptych
