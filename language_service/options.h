// Configuration of a language service.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "common/grpc/server.h"
#include "common/replicas/replica_affinity.h"
#include "common/requests/question_limits.h"
#include "common/tiers/tier_defaults.h"
#include "common/tracing/tracer.h"

namespace diptych::language {

// Default of the flag; LanguageOptions themselves have metrics off.
inline constexpr char kDefaultMetricsListen[] = "127.0.0.1:9002";

// Size of a pass by default: a card computes many tokens in the time of one.
struct PassDefaults {
  int max_batch = 0;
  int max_batched_tokens = 0;
};
inline PassDefaults PassDefaultsOn(std::string_view device) {
  if (device == "cpu") return {.max_batch = 32, .max_batched_tokens = 256};
  return {.max_batch = 128, .max_batched_tokens = 2048};
}

struct LanguageOptions {
  std::string model = "";                             // checkpoint folder
  std::string device = tier_defaults::kDevice;        // cpu, cuda or cuda:N
  std::string dtype = tier_defaults::kDtype;          // as --dtype
  std::string listen = "127.0.0.1:7002";              // host:port; port 0 picks a free one
  std::string metrics_listen = "";                    // the same for metrics; empty: none
  bool vllm_metric_names = false;                     // show metrics under vLLM's names, too
  std::string vision_target = "ipv4:127.0.0.1:7001";  // any gRPC name; may be down when this service starts
  Affinity affinity = Affinity::kImage;               // towards the vision tier
  bool wait_for_vision = false;                       // requests with images wait for a replica until their deadline
  // How visual tokens travel: float32, bfloat16, float16, int8 with a scale a column, or as the vision tier computed
  // them.
  std::string wire_dtype = "auto";
  TraceOptions tracing = {};
  TlsOptions tls = {};                                 // for callers, and towards the vision tier
  int64_t memory_limit = 0;                            // bytes; 0: what is free
  int threads = tier_defaults::kThreads;               // of one operator; 0: one for each core
  int queue_limit = tier_defaults::kQueueLimit;        // requests that may be inside, waiting or running
  int max_batch = 32;                                  // sequences that are decoded at a time; each beam is one
  int max_batched_tokens = 256;                        // of one pass of the decoder, prompts included
  int max_unread_tokens = 256;                         // a reader that lets more wait is paused,
  absl::Duration reader_patience = absl::Seconds(30);  // and after this long given up
  std::string kv_dtype = "auto";                       // of cached keys and values: as computed, or int8
  bool cuda_graphs = false;                            // decode steps on a card are recorded once and launched at once
  int64_t kv_cache_bytes = 0;                          // 0: AllocateKvCache's default
  double memory_fraction = 0.7;                        // of a card's memory that this process may take; in (0, 1]
  int64_t cache_bytes = 128 << 20;                     // of projected query tokens
  int64_t max_inflight_bytes = tier_defaults::kMaxInflightBytes;  // of memory for requests, images and visual tokens
  absl::Duration max_connection_age = tier_defaults::kMaxConnectionAge;  // after which callers connect again
  absl::Duration drain_delay = tier_defaults::kDrainDelay;
  absl::Duration drain_timeout = tier_defaults::kDrainTimeout;
  QuestionLimits limits = {};
  ImageLimits& ImageBounds() { return limits.image; }
  absl::Duration longest_pass = absl::Minutes(5);   // of decoder or Q-Former; one that takes longer does not end
  absl::Duration longest_call = absl::Minutes(10);  // for callers that set no deadline
};

}  // namespace diptych::language
