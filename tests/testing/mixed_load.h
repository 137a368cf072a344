// Many requests of every kind at once, each of which must end as it should.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "diptych/v1/gateway.grpc.pb.h"

namespace diptych::testing {

struct LoadOptions {
  int requests = 200;
  absl::Duration deadline = absl::Minutes(2);
  // Ask again when the server is full, as long as the deadline allows.
  bool patient = false;
};

// How the requests ended. The first six add up to the requests.
struct LoadTally {
  int answered = 0;       // with the true answer, where it is known
  int refused = 0;        // QUEUE_FULL with a time to retry
  int past_deadline = 0;  // those that had a short one
  int cancelled = 0;      // those that were cancelled by their caller
  int wrong = 0;          // answered untruly
  int other = 0;          // anything else: always a fault
  int late = 0;           // of all, ended after their deadline
  std::string first_fault;
  absl::Duration longest_refusal;
  absl::Duration total;
};

// Asks the demo model behind `gateway`, one thread a request, all let go at the same time: text; images that nobody
// else asks about; one image that many ask about; two images; conversations; streams; long and short answers;
// callers that leave before or in the middle of an answer; deadlines that are too short. `gateway` must outlive it.
LoadTally RunMixedLoad(v1::GatewayService::Stub& gateway, const LoadOptions& options);

// Megabytes that a process holds in memory now, and at most so far; 0 if it is gone.
double ResidentMegabytes(int pid);
double PeakMegabytes(int pid);

}  // namespace diptych::testing
