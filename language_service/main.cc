// The language_service process: its own flags; common/tiers/tier_process.h has the rest.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/flags/flag.h"
#include "blip2/rounding.h"
#include "common/models/model_folder.h"
#include "common/process/catch_exceptions.h"
#include "common/process/flags.h"
#include "common/process/process.h"
#include "common/process/standard_streams.h"
#include "common/text/byte_size.h"
#include "common/tiers/tier_process.h"
#include "language_service/server.h"

using Defaults = diptych::language::LanguageOptions;

ABSL_FLAG(std::string, listen, Defaults().listen, "host:port to serve on; port 0 picks a free one");
ABSL_FLAG(std::string, metrics_listen, diptych::language::kDefaultMetricsListen,
          "host:port where Prometheus reads /metrics; empty: none");
ABSL_FLAG(std::string, metrics_compat, "", "vllm: also show metrics under vLLM's names");
ABSL_FLAG(std::string, vision_target, Defaults().vision_target,
          "the vision tier: any gRPC target name, of one or more replicas");
ABSL_FLAG(std::string, wire_dtype, Defaults().wire_dtype,
          "dtype in which the vision tier sends visual tokens: float32, bfloat16, float16, or int8 with one scale per "
          "channel, a quarter of float32's bytes; auto: as they were computed, without loss");
ABSL_FLAG(diptych::Affinity, affinity, Defaults().affinity,
          "how the replica of the vision tier is chosen; image: an image goes to the replica that has it in its cache; "
          "none: round robin");
ABSL_FLAG(bool, wait_for_vision, false,
          "if no replica of the vision tier answers, requests with images wait until their deadline instead of failing "
          "at once, for example while the tier is scaled up from zero");
ABSL_FLAG(int, max_batch, 0,
          "sequences that are decoded at a time; each beam of a beam search is one; 0: 32 on the cpu, 128 on a card");
ABSL_FLAG(int, max_batched_tokens, 0,
          "tokens of one pass of the decoder; a longer prompt takes several passes, between which other answers "
          "continue; 0: 256 on the cpu, 2048 on a card");
ABSL_FLAG(std::string, kv_dtype, Defaults().kv_dtype,
          "dtype of cached keys and values: int8 with one scale for each head of a token, half of bfloat16's bytes, on "
          "the cpu; auto: bfloat16 with --dtype int8 or int4, else as --dtype");
ABSL_FLAG(diptych::ByteSize, kv_cache_bytes, {Defaults().kv_cache_bytes},
          "bytes for keys and values, allocated at the start; 0: sixteen windows, but at most half of the free memory "
          "and at least one window; on a card what --memory_fraction leaves next to the weights");
ABSL_FLAG(
    double, memory_fraction, Defaults().memory_fraction,
    "share of a card's memory that this process may take; together with a vision_service on the same card at most 1");
ABSL_FLAG(diptych::ByteSize, cache_bytes, {Defaults().cache_bytes},
          "memory for the query tokens of recent images; 0: none");

ABSL_FLAG(int, nice, 0,
          "priority of this process on its host, 0 to 19, as of the command nice; with 10, which `diptych serve` sets, "
          "images in a vision tier on the same host go first, and the decoder then runs on all cores");

ABSL_FLAG(
    std::string, round_to, "",
    "instead of serving, writes --model with weights of --dtype, int8 (also for auto) or int4, to this new folder");

namespace {

absl::StatusOr<diptych::language::LanguageOptions> ReadOptions() {
  const std::string compat = absl::GetFlag(FLAGS_metrics_compat);
  if (!compat.empty() && compat != "vllm") return absl::InvalidArgumentError("--metrics_compat takes vllm or nothing");
  diptych::language::LanguageOptions options;
  DIPTYCH_RETURN_IF_ERROR(diptych::ReadTierFlags(options));
  options.listen = absl::GetFlag(FLAGS_listen);
  options.metrics_listen = absl::GetFlag(FLAGS_metrics_listen);
  options.vllm_metric_names = compat == "vllm";
  options.vision_target = absl::GetFlag(FLAGS_vision_target);
  options.wire_dtype = absl::GetFlag(FLAGS_wire_dtype);
  options.affinity = absl::GetFlag(FLAGS_affinity);
  options.wait_for_vision = absl::GetFlag(FLAGS_wait_for_vision);
  const auto by_device = diptych::language::PassDefaultsOn(options.device);
  const int max_batch = absl::GetFlag(FLAGS_max_batch), max_batched_tokens = absl::GetFlag(FLAGS_max_batched_tokens);
  options.max_batch = max_batch == 0 ? by_device.max_batch : max_batch;
  options.max_batched_tokens =
      max_batched_tokens == 0 ? std::max(by_device.max_batched_tokens, options.max_batch) : max_batched_tokens;
  options.memory_fraction = absl::GetFlag(FLAGS_memory_fraction);
  options.kv_dtype = absl::GetFlag(FLAGS_kv_dtype);
  options.kv_cache_bytes = absl::GetFlag(FLAGS_kv_cache_bytes);
  options.cache_bytes = absl::GetFlag(FLAGS_cache_bytes);
  return options;
}

// Before any thread is started: each has its own niceness.
absl::Status GiveWay() {
  const int steps = absl::GetFlag(FLAGS_nice);
  if (steps < 0 || steps > 19) return absl::InvalidArgumentError("--nice takes 0 to 19");
  [[maybe_unused]] const int niceness = nice(steps);
  return absl::OkStatus();
}

// What `diptych quantize` runs.
absl::Status WriteRounded(const std::string& folder) {
  const std::string dtype = absl::GetFlag(FLAGS_dtype) == "auto" ? "int8" : absl::GetFlag(FLAGS_dtype);
  if (dtype != "int8" && dtype != "int4") return absl::InvalidArgumentError("--round_to takes --dtype int8 or int4");
  DIPTYCH_ASSIGN_OR_RETURN(const std::string model, diptych::FindModelFolder(absl::GetFlag(FLAGS_model)));
  const auto type = dtype == "int8" ? diptych::blip2::IntegerType::kInt8 : diptych::blip2::IntegerType::kInt4;
  return diptych::CatchExceptions("rounding the model",
                                  [&] { return diptych::blip2::WriteRounded(model, folder, type); });
}

absl::Status Serve() {
  if (const std::string folder = absl::GetFlag(FLAGS_round_to); !folder.empty()) return WriteRounded(folder);
  DIPTYCH_ASSIGN_OR_RETURN(const diptych::language::LanguageOptions options, ReadOptions());
  DIPTYCH_RETURN_IF_ERROR(GiveWay());
  return diptych::ServeTier<diptych::language::LanguageServer>("language", options);
}

}  // namespace

int main(int argc, char** argv) {
  diptych::OpenStandardStreams();
  diptych::KeepFreedMemory();
  diptych::ParseFlags("Answers questions about images, token by token. Called by gateway.", argc, argv);
  const absl::Status status = Serve();
  diptych::EndProcess(status.ok() ? 0 : diptych::FailStart("language_service", status));
}
