#include "cli/stack/stack.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/stack/free_port.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(100);  // between two looks at the servers
constexpr absl::Duration kFirstBackoff = absl::Seconds(1);
constexpr absl::Duration kLongestBackoff = absl::Seconds(30);
constexpr absl::Duration kLongestDrain = absl::Minutes(2);
constexpr absl::Duration kStillLoading = absl::Seconds(10);
// Ports of further replicas, and of metrics, lie so far apart.
constexpr int kNextReplica = 10;
constexpr int kMetricsOffset = 2000;

std::vector<std::string> Joined(std::vector<std::string> flags, const std::vector<std::string>& more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

std::string Local(int port) {
  return absl::StrCat("127.0.0.1:", port);
}

}  // namespace

Stack::Stack(StackOptions options, std::function<void(const std::string&)> say, std::function<bool()> stopped)
    : options_(std::move(options)), say_(std::move(say)), stopped_(std::move(stopped)) {}

absl::StatusOr<int> Stack::Port(int preferred) const {
  return ChoosePort("127.0.0.1", 0, options_.any_ports ? 0 : preferred, "", nullptr);
}

absl::Status Stack::Start() {
  DIPTYCH_ASSIGN_OR_RETURN(
      const int port, options_.any_ports ? Port(0) : ChoosePort(options_.host, options_.port, 7000, "--port", say_));
  grpc_address_ = absl::StrCat(options_.host, ":", port);
  if (!options_.any_ports) {
    DIPTYCH_ASSIGN_OR_RETURN(const int http, ChoosePort(options_.host, options_.http_port, 8080, "--http_port", say_));
    http_address_ = absl::StrCat(options_.host, ":", http);
  }
  std::vector<std::string> model{"--model=" + options_.model};
  if (!options_.device.empty()) model.push_back("--device=" + options_.device);
  if (!options_.dtype.empty()) model.push_back("--dtype=" + options_.dtype);
  std::string vision = "ipv4:", language = "ipv4:";
  DIPTYCH_RETURN_IF_ERROR(
      AddTiers("vision_service", 7001, options_.vision_replicas, Joined(model, options_.vision_flags), vision));
  model.push_back("--vision_target=" + vision);
  DIPTYCH_RETURN_IF_ERROR(
      AddTiers("language_service", 7002, options_.language_replicas, Joined(model, options_.language_flags), language));
  return Add("gateway", 0, grpc_address_, 7000 + kMetricsOffset,
             Joined({"--http_listen=" + http_address_, "--language_target=" + language, "--vision_target=" + vision},
                    options_.gateway_flags));
}

absl::Status Stack::AddTiers(const std::string& binary, int first_port, int replicas,
                             const std::vector<std::string>& flags, std::string& target) {
  for (int i = 0; i < replicas; ++i) {
    const int wanted = first_port + kNextReplica * i;
    DIPTYCH_ASSIGN_OR_RETURN(const int port, Port(wanted));
    absl::StrAppend(&target, i == 0 ? "" : ",", Local(port));
    DIPTYCH_RETURN_IF_ERROR(Add(binary, i, Local(port), wanted + kMetricsOffset, flags));
  }
  return absl::OkStatus();
}

absl::Status Stack::Add(const std::string& binary, int number, const std::string& address, int metrics_port,
                        std::vector<std::string> flags) {
  std::string metrics;
  if (!options_.any_ports) {
    DIPTYCH_ASSIGN_OR_RETURN(const int port, Port(metrics_port));
    metrics = Local(port);
  }
  flags.insert(flags.begin(), {"--listen=" + address, "--metrics_listen=" + metrics});
  const std::string log =
      options_.log_folder.empty() ? "" : absl::StrCat(options_.log_folder, "/", binary, ".", number, ".log");
  Part& part = parts_.emplace_back(Part{.name = absl::StrCat(binary, " ", number),
                                        .command = {.binary = binary,
                                                    .flags = std::move(flags),
                                                    .log_file = log,
                                                    .inherit_flags = options_.inherit_flags},
                                        .address = address});
  DIPTYCH_ASSIGN_OR_RETURN(part.process, ServerProcess::Start(part.command));
  part.started = absl::Now();
  return WaitUntilReady(part);
}

absl::Status Stack::WaitUntilReady(Part& part) {
  absl::Time next_word = part.started + kStillLoading;
  while (true) {
    if (stopped_()) return absl::CancelledError("stopped while starting");
    switch (part.process->Wait(kLook)) {
      case ServerProcess::State::kReady:
        return absl::OkStatus();
      case ServerProcess::State::kEnded:
        return absl::FailedPreconditionError(part.process->LastWords());
      case ServerProcess::State::kLoading:
        break;
    }
    if (absl::Now() < next_word) continue;
    say_(absl::StrCat(part.name, " is still loading (", absl::ToInt64Seconds(absl::Now() - part.started), " s)"));
    next_word += kStillLoading;
  }
}

void Stack::Watch() {
  while (!stopped_()) {
    for (Part& part : parts_) Look(part);
    absl::SleepFor(kLook);
  }
}

void Stack::Look(Part& part) {
  const absl::Time now = absl::Now();
  if (part.process == nullptr) {
    if (now < part.next_start) return;
    auto process = ServerProcess::Start(part.command);
    if (!process.ok()) {
      part.next_start = now + kLongestBackoff;
      return say_(std::string(process.status().message()));
    }
    part.process = *std::move(process);
    part.started = now;
    part.announced = false;
    return;
  }
  const auto state = part.process->Wait(absl::ZeroDuration());
  if (state == ServerProcess::State::kReady && !std::exchange(part.announced, true)) {
    say_(absl::StrCat(part.name, " is back"));
  }
  if (state != ServerProcess::State::kEnded) return;
  // One that had run for long starts again soon.
  const bool had_run = now - part.started > 2 * kLongestBackoff;
  part.backoff =
      part.backoff == absl::ZeroDuration() || had_run ? kFirstBackoff : std::min(2 * part.backoff, kLongestBackoff);
  part.next_start = now + part.backoff;
  say_(absl::StrCat(part.name, " ended (", part.process->HowItEnded(), "): ", part.process->LastWords(),
                    "; it starts again in ", absl::ToInt64Seconds(part.backoff), " s"));
  part.process = nullptr;
}

void Stack::Drain() {
  for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) {
    if (part->process == nullptr) continue;
    part->process->Stop();
    const absl::Time until = absl::Now() + kLongestDrain;
    while (!part->process->WaitForEnd(kLook)) {
      if (stopped_() || absl::Now() > until) part->process->Kill();
    }
    part->process = nullptr;
  }
}

double Stack::ProcessorSeconds() const {
  double seconds = 0;
  for (const Part& part : parts_) seconds += part.process->ProcessorSeconds();
  return seconds;
}

std::vector<Stack::Row> Stack::Rows() const {
  std::vector<Row> rows;
  for (const Part& part : parts_) {
    const auto said = [&part](const char* name) { return part.process->Ready(name); };
    rows.push_back({.tier = part.command.binary,
                    .address = part.address,
                    .metrics = absl::StrCat(":", said("metrics_port"), "/metrics"),
                    .model = said("model"),
                    .dtype = said("dtype"),
                    .device = said("device")});
  }
  return rows;
}

}  // namespace diptych::cli
