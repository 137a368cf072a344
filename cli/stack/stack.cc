#include "cli/stack/stack.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/stack/free_port.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(100);  // between two looks at the servers
constexpr absl::Duration kFirstBackoff = absl::Seconds(1);
constexpr absl::Duration kLongestBackoff = absl::Seconds(30);
constexpr absl::Duration kLongestEnd = absl::Seconds(10);  // of a server whose calls have ended, or which has none
constexpr absl::Duration kStillBusy = absl::Seconds(10);   // loading, or ending: worth a word
// Ports of further replicas, and of metrics, lie so far apart.
constexpr int kNextReplica = 10;
constexpr int kMetricsOffset = 2000;
constexpr int kGatewayPort = 7000;
constexpr char kThisHost[] = "127.0.0.1";
constexpr char kGivesWay[] = "--nice=10";  // to the vision tier, on the same cores
constexpr int kMostTries = 5;              // to have a port before others do

std::vector<std::string> Joined(std::vector<std::string> flags, const std::vector<std::string>& more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

// How long the server lets calls end; one that has not said that it is ready has none.
absl::Duration DrainOf(const ServerProcess& process) {
  absl::Duration drain;
  return absl::ParseDuration(process.Ready("drain"), &drain) ? drain : absl::ZeroDuration();
}

std::string Local(int port) {
  return absl::StrCat(kThisHost, ":", port);
}

}  // namespace

Stack::Stack(StackOptions options, std::function<void(const std::string&)> say, std::function<bool()> stopped)
    : options_(std::move(options)), say_(std::move(say)), stopped_(std::move(stopped)) {}

absl::StatusOr<Stack::Listens> Stack::GatewayListens(const Say& say) const {
  DIPTYCH_ASSIGN_OR_RETURN(Listens listens, TierListens(kGatewayPort));
  listens.emplace_back("--http_listen", "");
  if (options_.any_ports) return listens;
  DIPTYCH_ASSIGN_OR_RETURN(const int grpc, ChoosePort(options_.host, options_.port, kGatewayPort, "--port", say));
  DIPTYCH_ASSIGN_OR_RETURN(const int http, ChoosePort(options_.host, options_.http_port, 8080, "--http_port", say));
  listens.front().second = absl::StrCat(options_.host, ":", grpc);
  listens.back().second = absl::StrCat(options_.host, ":", http);
  return listens;
}

absl::StatusOr<Stack::Listens> Stack::TierListens(int port) const {
  DIPTYCH_ASSIGN_OR_RETURN(const int grpc, ChoosePort(kThisHost, 0, options_.any_ports ? 0 : port, "", nullptr));
  Listens listens{{"--listen", Local(grpc)}, {"--metrics_listen", ""}};
  if (options_.any_ports) return listens;
  DIPTYCH_ASSIGN_OR_RETURN(const int metrics, ChoosePort(kThisHost, 0, port + kMetricsOffset, "", nullptr));
  listens.back().second = Local(metrics);
  return listens;
}

absl::Status Stack::Start() {
  // Before anything is loaded: ports that were asked for may be taken.
  DIPTYCH_RETURN_IF_ERROR(GatewayListens(nullptr).status());
  std::vector<std::string> model{"--model=" + options_.model};
  if (!options_.device.empty()) model.push_back("--device=" + options_.device);
  if (!options_.dtype.empty()) model.push_back("--dtype=" + options_.dtype);
  std::string vision = "ipv4:", language = "ipv4:";
  DIPTYCH_RETURN_IF_ERROR(
      AddTiers("vision_service", 7001, options_.vision_replicas, Joined(model, options_.vision_flags), vision));
  model.push_back("--vision_target=" + vision);
  model.push_back(kGivesWay);
  DIPTYCH_RETURN_IF_ERROR(
      AddTiers("language_service", 7002, options_.language_replicas, Joined(model, options_.language_flags), language));
  DIPTYCH_ASSIGN_OR_RETURN(
      const Listens gateway,
      Add(
          "gateway", 0, [this] { return GatewayListens(say_); },
          Joined({"--language_target=" + language, "--vision_target=" + vision}, options_.gateway_flags)));
  grpc_address_ = gateway.front().second;
  http_address_ = gateway.back().second;
  return absl::OkStatus();
}

absl::Status Stack::AddTiers(const std::string& binary, int first_port, int replicas,
                             const std::vector<std::string>& flags, std::string& target) {
  for (int i = 0; i < replicas; ++i) {
    const int wanted = first_port + kNextReplica * i;
    DIPTYCH_ASSIGN_OR_RETURN(const Listens tier, Add(
                                                     binary, i, [&] { return TierListens(wanted); }, flags));
    absl::StrAppend(&target, i == 0 ? "" : ",", tier.front().second);
  }
  return absl::OkStatus();
}

absl::StatusOr<Stack::Listens> Stack::Add(const std::string& binary, int number,
                                          const std::function<absl::StatusOr<Listens>()>& choose,
                                          const std::vector<std::string>& flags) {
  for (int tries = 1;; ++tries) {
    DIPTYCH_ASSIGN_OR_RETURN(const Listens listens, choose());
    const absl::Status status = Run(binary, number, listens, flags);
    if (status.ok()) return listens;
    const bool ended = absl::IsFailedPrecondition(status);
    const bool taken = std::any_of(listens.begin(), listens.end(), [](const auto& flag_and_address) {
      return !flag_and_address.second.empty() && !IsFree(flag_and_address.second);
    });
    if (!ended || !taken || tries == kMostTries) return status;
    parts_.pop_back();
  }
}

absl::Status Stack::Run(const std::string& binary, int number, const Listens& listens,
                        const std::vector<std::string>& flags) {
  std::vector<std::string> all;
  for (const auto& [flag, address] : listens) all.push_back(absl::StrCat(flag, "=", address));
  const std::string log =
      options_.log_folder.empty() ? "" : absl::StrCat(options_.log_folder, "/", binary, ".", number, ".log");
  Part& part = parts_.emplace_back(Part{.name = absl::StrCat(binary, " ", number),
                                        .command = {.binary = binary,
                                                    .flags = Joined(std::move(all), flags),
                                                    .log_file = log,
                                                    .inherit_flags = options_.inherit_flags},
                                        .address = listens.front().second});
  DIPTYCH_ASSIGN_OR_RETURN(part.process, ServerProcess::Start(part.command));
  part.started = SteadyClock::now();
  return WaitUntilReady(part);
}

absl::Status Stack::WaitUntilReady(Part& part) {
  SteadyTime next_word = Later(part.started, kStillBusy);
  while (true) {
    if (stopped_()) return absl::CancelledError("stopped while starting");
    switch (part.process->Wait(kLook)) {
      case ServerProcess::State::kReady:
        return absl::OkStatus();
      case ServerProcess::State::kEnded:
        return absl::FailedPreconditionError(WhyItCannotStart(part));
      case ServerProcess::State::kLoading:
        break;
    }
    if (SteadyClock::now() < next_word) continue;
    say_(absl::StrCat(part.name, " is still loading (", absl::ToInt64Seconds(TimeSince(part.started)), " s)"));
    next_word = Later(next_word, kStillBusy);
  }
}

// Its own words; what somebody else has ended has none.
std::string Stack::WhyItCannotStart(const Part& part) {
  const std::string how = part.process->HowItEnded(), words = part.process->LastWords();
  if (absl::StartsWith(how, "exit") && !words.empty()) return words;
  const char* hint = how == "signal 9" ? "; the kernel does that when memory runs out" : "";
  return absl::StrCat(part.name, " ended while it started (", how, ")", words.empty() ? "" : ": ", words, hint);
}

void Stack::KeepRunning() {
  while (!stopped_()) {
    for (Part& part : parts_) Look(part);
    absl::SleepFor(kLook);
  }
}

void Stack::Look(Part& part) {
  const SteadyTime now = SteadyClock::now();
  if (part.process == nullptr) {
    if (now < part.next_start) return;
    auto process = ServerProcess::Start(part.command);
    if (!process.ok()) {
      part.next_start = Later(now, kLongestBackoff);
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
  const bool had_run = TimeSince(part.started, now) > 2 * kLongestBackoff;
  part.backoff =
      part.backoff == absl::ZeroDuration() || had_run ? kFirstBackoff : std::min(2 * part.backoff, kLongestBackoff);
  part.next_start = Later(now, part.backoff);
  const std::string words = part.process->LastWords();
  say_(absl::StrCat(part.name, " ended (", part.process->HowItEnded(), ")", words.empty() ? "" : ": ", words,
                    "; it starts again in ", absl::ToInt64Seconds(part.backoff), " s"));
  part.process = nullptr;
}

void Stack::Drain() {
  for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) {
    if (part->process == nullptr) continue;
    Drain(*part);
    part->process = nullptr;
  }
}

void Stack::Drain(Part& part) {
  part.process->Stop();
  const absl::Duration longest = DrainOf(*part.process) + kLongestEnd;
  const SteadyTime begin = SteadyClock::now();
  SteadyTime next_word = Later(begin, kStillBusy);
  while (!part.process->WaitForEnd(kLook)) {
    const SteadyTime now = SteadyClock::now();
    if (stopped_() || TimeSince(begin, now) > longest) part.process->Kill();
    if (now < next_word) continue;
    say_(absl::StrCat(part.name, " has not ended yet (", absl::ToInt64Seconds(TimeSince(begin, now)),
                      " s); it is killed after ", absl::ToInt64Seconds(longest), " s"));
    next_word = Later(next_word, kStillBusy);
  }
}

double Stack::ProcessorSeconds() const {
  double seconds = 0;
  for (const Part& part : parts_) {
    if (part.process != nullptr) seconds += part.process->ProcessorSeconds();
  }
  return seconds;
}

std::vector<Stack::Row> Stack::Rows() const {
  std::vector<Row> rows;
  for (const Part& part : parts_) {
    if (part.process == nullptr) continue;
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
