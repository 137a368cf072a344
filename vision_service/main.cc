// The vision_service process: its own flags; common/tiers/tier_process.h has the rest.
#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/flags/flag.h"
#include "blip2/device/device_memory.h"
#include "common/process/flags.h"
#include "common/process/process.h"
#include "common/process/standard_streams.h"
#include "common/text/byte_size.h"
#include "common/tiers/tier_process.h"
#include "vision_service/server.h"

using Defaults = diptych::vision::VisionOptions;

ABSL_FLAG(std::string, listen, Defaults().listen, "host:port to serve on; port 0 picks a free one");
ABSL_FLAG(std::string, metrics_listen, diptych::vision::kDefaultMetricsListen,
          "host:port where Prometheus reads /metrics; empty: none");
ABSL_FLAG(int, image_workers, Defaults().image_workers, "threads that decode and resize images");
ABSL_FLAG(
    std::string, image_decode, Defaults().image_decode,
    "exact: pixels as transformers sees them; scaled: a JPEG at least four times as large as the model's square is "
    "shrunk by 2, 4 or 8 while it is decoded, which is faster and moves pixels a little");
ABSL_FLAG(
    int, max_batch, 0,
    "images that may go through the vision transformer together; 0: 32 on a card, on the cpu as many as stay in its "
    "caches, 8 at most");
ABSL_FLAG(double, memory_fraction, Defaults().memory_fraction,
          "share of a card's memory that this process may take; together with a language_service on the same card at "
          "most 1");
ABSL_FLAG(diptych::ByteSize, cache_bytes, {Defaults().cache_bytes},
          "memory for the visual tokens of recent images; 0: none");

ABSL_FLAG(bool, show_devices, false,
          "instead of serving, prints the cards that libtorch can use here, or why it can use none");

namespace {

absl::Status ShowDevices() {
  for (const std::string& line : diptych::blip2::DescribeDevices()) std::printf("%s\n", line.c_str());
  return absl::OkStatus();
}

absl::Status Serve() {
  if (absl::GetFlag(FLAGS_show_devices)) return ShowDevices();
  diptych::vision::VisionOptions options;
  DIPTYCH_RETURN_IF_ERROR(diptych::ReadTierFlags(options));
  options.listen = absl::GetFlag(FLAGS_listen);
  options.metrics_listen = absl::GetFlag(FLAGS_metrics_listen);
  options.image_workers = absl::GetFlag(FLAGS_image_workers);
  options.image_decode = absl::GetFlag(FLAGS_image_decode);
  options.max_batch = absl::GetFlag(FLAGS_max_batch);
  options.memory_fraction = absl::GetFlag(FLAGS_memory_fraction);
  options.cache_bytes = absl::GetFlag(FLAGS_cache_bytes);
  return diptych::ServeTier<diptych::vision::VisionServer>("vision", options);
}

}  // namespace

int main(int argc, char** argv) {
  diptych::OpenStandardStreams();
  diptych::KeepFreedMemory();
  diptych::ParseFlags("Computes the visual tokens of images. Called by language_service.", argc, argv);
  const absl::Status status = Serve();
  diptych::EndProcess(status.ok() ? 0 : diptych::FailStart("vision_service", status));
}
