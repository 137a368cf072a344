// The vision_service process: its own flags; common/tier_process.h has the rest.
#include <cstdint>
#include <string>

#include "absl/flags/flag.h"
#include "common/byte_size.h"
#include "common/flags.h"
#include "common/tier_process.h"
#include "vision_service/server.h"

using Defaults = diptych::vision::VisionOptions;

ABSL_FLAG(std::string, listen, Defaults().listen, "host:port to serve on; port 0 picks a free one");
ABSL_FLAG(std::string, metrics_listen, diptych::vision::kDefaultMetricsListen,
          "host:port where Prometheus reads /metrics; empty: none");
ABSL_FLAG(int, image_workers, Defaults().image_workers, "threads that decode and resize images");
ABSL_FLAG(int, max_batch, Defaults().max_batch, "images that may go through the vision transformer together");
ABSL_FLAG(diptych::ByteSize, cache_bytes, {Defaults().cache_bytes}, "visual tokens that are remembered; 0: none");

namespace {

absl::Status Serve() {
  diptych::vision::VisionOptions options;
  DIPTYCH_RETURN_IF_ERROR(diptych::ReadTierFlags(options));
  options.listen = absl::GetFlag(FLAGS_listen);
  options.metrics_listen = absl::GetFlag(FLAGS_metrics_listen);
  options.image_workers = absl::GetFlag(FLAGS_image_workers);
  options.max_batch = absl::GetFlag(FLAGS_max_batch);
  options.cache_bytes = absl::GetFlag(FLAGS_cache_bytes);
  return diptych::ServeTier<diptych::vision::VisionServer>("vision", options);
}

}  // namespace

int main(int argc, char** argv) {
  diptych::KeepFreedMemory();
  diptych::ParseFlags("Computes the visual tokens of images. Called by language_service.", argc, argv);
  const absl::Status status = Serve();
  return status.ok() ? 0 : diptych::FailStart("vision_service", status);
}
