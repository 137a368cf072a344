#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/grpc/server.h"
#include "common/replicas/replica_affinity.h"
#include "common/requests/question_limits.h"
#include "common/tracing/tracer.h"
#include "gateway/http/conversation.h"
#include "gateway/image_urls/https_get.h"

namespace diptych::gateway {

// Defaults of the flags; Options themselves have both off.
inline constexpr char kDefaultMetricsListen[] = "127.0.0.1:9000";
inline constexpr char kDefaultHttpListen[] = "127.0.0.1:8080";

// Gateway configuration. The flags take their defaults from here.
struct Options {
  std::string listen = "127.0.0.1:7000";
  std::string metrics_listen = "";           // empty: none
  std::string http_listen = "";              // IP:port of the HTTP surface; empty: none
  std::vector<std::string> http_hosts = {};  // names under which browsers may know it
  std::string language_target = "127.0.0.1:7002";
  std::string vision_target = "127.0.0.1:7001";         // asked for its description and for analyses
  Affinity affinity = Affinity::kImage;                 // towards both tiers
  std::vector<std::string> served_model_names = {};     // further names of the served model
  SystemPrompt system_prompt = SystemPrompt::kPrepend;  // over HTTP
  std::string api_keys_file = "";                       // empty: no key is asked for
  QuestionLimits limits = {};
  bool shared_cache = false;  // callers with keys share the tiers' caches
  bool allow_image_urls = false;
  FetchRules fetch = {};  // max_bytes is limits.image.max_bytes
  int max_inflight = 256;
  int64_t max_inflight_bytes = int64_t{1} << 30;       // of memory for questions being answered
  absl::Duration request_timeout = absl::Minutes(10);  // longest, whatever the caller allows
  std::vector<std::string> cors_origins = {};          // whose pages may use the HTTP surface
  TraceOptions tracing = {};
  TlsOptions tls = {};       // towards callers
  TlsOptions tier_tls = {};  // towards the tiers
  absl::Duration drain_delay = absl::ZeroDuration();
  absl::Duration drain_timeout = absl::Seconds(30);
};

}  // namespace diptych::gateway
