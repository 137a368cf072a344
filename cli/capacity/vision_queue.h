// A replica of the vision tier under load: a queue whose server takes all that wait, up to a batch, at once.
#pragma once

#include "cli/capacity/distribution.h"

namespace diptych::cli {

struct VisionReplica {
  double pass_seconds = 0;   // of a pass, however many images it has
  double image_seconds = 0;  // more for each image in it; above 0
  int max_batch = 8;

  double PassSeconds(double images) const { return pass_seconds + image_seconds * images; }
};

struct VisionLoad {
  double images_per_second = 0;
  int group = 1;         // images that arrive together
  double variation = 1;  // of the number that arrive in a time: variance by mean; 1: at random moments
};

// Share of the images a second that full batches could take.
double VisionUtilization(const VisionReplica& replica, const VisionLoad& load);

// From the arrival of a group to the end of the pass that has its last image. Passes take as long as they always take:
// the chain of queue lengths between passes (Bailey 1954) is solved as it is, for arrivals at random moments; what
// images then wait is multiplied by `variation`, as Allen and Cunneen do for constant service. Requires
// VisionUtilization below 1.
Distribution VisionSeconds(const VisionReplica& replica, const VisionLoad& load);

}  // namespace diptych::cli
