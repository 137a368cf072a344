// Configuration of a vision service.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "common/grpc/server.h"
#include "common/images/image_header.h"
#include "common/tiers/tier_defaults.h"
#include "common/tracing/tracer.h"

namespace diptych::vision {

// Default of the flag; VisionOptions themselves have metrics off.
inline constexpr char kDefaultMetricsListen[] = "127.0.0.1:9001";

struct VisionOptions {
  std::string model = "";                       // checkpoint folder
  std::string device = tier_defaults::kDevice;  // cpu, cuda or cuda:N
  std::string dtype = tier_defaults::kDtype;    // as --dtype
  std::string listen = "127.0.0.1:7001";        // host:port; port 0 picks a free one
  std::string metrics_listen = "";              // the same for metrics; empty: none
  TraceOptions tracing = {};
  TlsOptions tls = {};
  int64_t memory_limit = 0;                      // bytes; 0: what is free
  int threads = tier_defaults::kThreads;         // of one operator; 0: one for each core
  int image_workers = 2;                         // threads that decode and resize
  std::string image_decode = "exact";            // or scaled: large JPEGs are shrunk while they are decoded
  int queue_limit = tier_defaults::kQueueLimit;  // calls that may be inside, waiting or running
  int max_batch = 0;                             // images of the model's own size that share a pass; 0: as VisionBatch
  bool cuda_graphs = false;                      // passes on a card are recorded once and launched at once
  double memory_fraction = 0.25;                 // of a card's memory that this process may take; in (0, 1]
  int64_t cache_bytes = 256ll << 20;             // visual tokens that are remembered; 0: none
  int64_t max_inflight_bytes = tier_defaults::kMaxInflightBytes;         // files, pixels and tokens of images in flight
  absl::Duration max_connection_age = tier_defaults::kMaxConnectionAge;  // after which callers connect again
  absl::Duration drain_delay = tier_defaults::kDrainDelay;
  absl::Duration drain_timeout = tier_defaults::kDrainTimeout;
  ImageLimits image_limits = {};
  ImageLimits& ImageBounds() { return image_limits; }
  absl::Duration longest_pass = absl::Minutes(5);  // of the vision transformer; one that takes longer does not end
  absl::Duration longest_call = absl::Minutes(5);  // for callers that set no deadline

  int MaxBatch(int visual_tokens) const {
    return max_batch == 0 ? tier_defaults::VisionBatch(device, visual_tokens) : max_batch;
  }
};

}  // namespace diptych::vision
