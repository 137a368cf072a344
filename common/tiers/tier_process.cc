#include "common/tiers/tier_process.h"

#include <malloc.h>

#include "common/tiers/tier_defaults.h"
#include "common/tracing/tracer.h"

namespace defaults = diptych::tier_defaults;

ABSL_FLAG(std::string, model, "models/demo",
          "checkpoint folder in Hugging Face layout, or ORG/NAME[@REVISION] of a model that `diptych pull` downloaded");
ABSL_FLAG(std::string, device, defaults::kDevice, "cpu, cuda or cuda:N");
ABSL_FLAG(
    std::string, dtype, defaults::kDtype,
    "float32 (float, fp32), bfloat16 (bf16), float16 (half, fp16); int8, a quarter of float32's memory with nearly the "
    "same answers, or int4, an eighth and less exact: on CUDA for the decoder's weights alone; on CUDA also fp8, "
    "products of 8-bit floats; none of these three was tried on a card yet; auto: bfloat16 on CUDA, float32 for a "
    "small model, else int8");
ABSL_FLAG(diptych::ByteSize, memory_limit, {0},
          "memory for weights, KV cache and work; a model that needs more does not start; 0: what the machine and its "
          "control group have free");
ABSL_FLAG(bool, cuda_graphs, false,
          "on a card, decode steps and passes over images of the model's own size are recorded once for each size of "
          "batch and then started by one launch; not yet tried on a card");
ABSL_FLAG(std::string, tls_cert, "", "PEM file with this server's certificate; empty: no TLS");
ABSL_FLAG(std::string, tls_key, "", "PEM file with its key");
ABSL_FLAG(std::string, tls_client_ca, "", "PEM file of the authority that signs callers' certificates");
ABSL_FLAG(int, threads, defaults::kThreads,
          "threads of one operator; 0: one for each core that its control group lets it use, but one alone for a model "
          "of less than 16 MiB");
ABSL_FLAG(int, queue_limit, defaults::kQueueLimit, "most calls that wait or run; more are refused with QUEUE_FULL");
ABSL_FLAG(diptych::ByteSize, max_inflight_bytes, {defaults::kMaxInflightBytes},
          "memory for the calls that wait or run, their images and visual tokens; more are refused with QUEUE_FULL");
ABSL_FLAG(diptych::ByteSize, max_image_bytes, {diptych::ImageLimits().max_bytes},
          "most bytes of one encoded image, 1 KiB to 256 MiB");
ABSL_FLAG(int64_t, max_image_pixels, diptych::ImageLimits().max_pixels,
          "most pixels of one image; decoding takes up to 12 bytes for each");
ABSL_FLAG(absl::Duration, max_connection_age, defaults::kMaxConnectionAge,
          "age at which callers must reconnect, and so find new replicas; calls in flight continue");
ABSL_FLAG(absl::Duration, drain_delay, defaults::kDrainDelay,
          "on SIGTERM: time between becoming unready and refusing calls");
ABSL_FLAG(absl::Duration, drain_timeout, defaults::kDrainTimeout, "on SIGTERM: time that calls in flight get to end");
ABSL_FLAG(std::string, otlp_endpoint, "",
          "host:port of an OpenTelemetry collector that receives the spans of requests by OTLP over gRPC; empty: none");
ABSL_FLAG(double, trace_sample_ratio, diptych::TraceOptions().sample_ratio,
          "share of the calls without a traceparent that are recorded; a gateway that records sends one");
ABSL_FLAG(std::string, log_level, "info", "trace, debug, info, warn, error or off");
ABSL_FLAG(std::string, log_format, "text", "text, or json: one object per line");

namespace diptych {

void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc takes
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

}  // namespace diptych
