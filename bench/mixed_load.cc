// mixed_load [REQUESTS [MAX_INFLIGHT]]: starts the three processes with the demo model, lets that many requests of
// every kind go at once, first asking each once, then with callers that come back when the server is full, and prints
// how they ended and what memory the processes held.
#include "tests/testing/mixed_load.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/end_to_end/stack.h"

namespace {

using diptych::testing::LoadTally;
using diptych::testing::Stack;

// False if a request ended as none may.
bool Report(const char* name, const LoadTally& tally) {
  std::printf(
      "%-10s %6.1f s  answered %d  refused %d  past deadline %d  cancelled %d  wrong %d  other %d  late %d  "
      "longest refusal %.0f ms\n",
      name, absl::ToDoubleSeconds(tally.total), tally.answered, tally.refused, tally.past_deadline, tally.cancelled,
      tally.wrong, tally.other, tally.late, absl::ToDoubleMilliseconds(tally.longest_refusal));
  if (!tally.first_fault.empty()) std::printf("first fault: %s\n", tally.first_fault.c_str());
  return tally.wrong + tally.other + tally.late == 0;
}

void ReportMemory(const char* when, Stack& stack) {
  std::printf("%-16s", when);
  const auto print = [](const char* name, diptych::testing::ServerProcess& server) {
    const int pid = server.process().pid();
    std::printf("  %s %.0f MB (peak %.0f)", name, diptych::testing::ResidentMegabytes(pid),
                diptych::testing::PeakMegabytes(pid));
  };
  print("gateway", stack.gateway());
  print("language", stack.language());
  print("vision", stack.vision());
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  const int requests = argc > 1 ? std::atoi(argv[1]) : 2000;
  const std::string max_inflight = argc > 2 ? argv[2] : "256";
  Stack stack({.gateway_flags = {"--max_inflight=" + max_inflight}, .tier_flags = {"--queue_limit=256"}});
  ReportMemory("started", stack);
  bool fine = Report("200", diptych::testing::RunMixedLoad(stack.stub(), {.requests = 200}));
  ReportMemory("after 200", stack);
  fine &= Report("once", diptych::testing::RunMixedLoad(stack.stub(), {.requests = requests}));
  ReportMemory("after once", stack);
  fine &= Report("patient", diptych::testing::RunMixedLoad(
                                stack.stub(), {.requests = requests, .deadline = absl::Minutes(10), .patient = true}));
  ReportMemory("after patient", stack);
  return fine ? 0 : 1;
}
