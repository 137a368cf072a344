// A replica of the vision tier under load: a queue whose server takes all that wait, up to a batch, at once.
#pragma once

#include "cli/capacity/distribution.h"

namespace diptych::cli {

struct VisionReplica {
  double pass_seconds = 0;   // of a pass, however many images it has
  double image_seconds = 0;  // more for each image in it; above 0
  int max_batch = 1;         // images of a pass

  double PassSeconds(double images) const { return pass_seconds + image_seconds * images; }
};

struct VisionLoad {
  double images_per_second = 0;
  int group = 1;      // images that arrive together
  double uneven = 1;  // how much they wait beyond what even arrivals do, by what arrivals at random moments do
  double companion_seconds = 0;  // that each other image of the pass adds afterwards
};

// Images a second that passes of so many do, max_batch at most. Requires: images > 0.
double ImagesThatEnd(const VisionReplica& replica, int images);

// Share of the images a second that full batches could take.
double VisionUtilization(const VisionReplica& replica, const VisionLoad& load);

// From the arrival of a group to the end of the pass that has its last image, and what its companions add. Passes take
// as long as they always take: the chain of queue lengths between passes (Bailey 1954) is solved as it is, for arrivals
// at random moments. Arrivals that are `uneven` below 1 lie between these and even ones, which wait for the rest of a
// pass at most. Requires VisionUtilization below 1.
Distribution VisionSeconds(const VisionReplica& replica, const VisionLoad& load);

}  // namespace diptych::cli
