#include "cli/connection/errors.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "cli/connection/client.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/terminal.h"
#include "cli/terminal/text.h"
#include "common/error_details.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr char kRemedyPayload[] = "diptych.cli/remedy", kUsagePayload[] = "diptych.cli/usage";

// The reason, or the code in words if there is none.
std::string Word(const absl::Status& status) {
  if (IsUnreachable(status)) return "UNREACHABLE";
  const std::string reason = ReasonOf(status);
  return reason.empty() ? absl::StatusCodeToString(status.code()) : reason;
}

nlohmann::ordered_json ErrorJson(const absl::Status& status, const std::string& context) {
  nlohmann::ordered_json error{{"reason", Word(status)},
                               {"code", absl::StatusCodeToString(status.code())},
                               {"message", std::string(status.message())},
                               {"remedy", RemedyFor(status)}};
  if (const std::string field = FieldOf(status); !field.empty()) error["field"] = field;
  if (const auto after = RetryAfterOf(status)) error["retry_after"] = absl::ToDoubleSeconds(*after);
  if (!context.empty()) error["context"] = context;
  return {{"error", error}};
}

std::string ErrorText(const absl::Status& status, const std::string& context) {
  std::string text = context.empty() ? "" : absl::StrCat(context, ": ");
  absl::StrAppend(&text, Word(status), ": ", std::string(status.message()));
  if (const std::string field = FieldOf(status); !field.empty()) absl::StrAppend(&text, " (", field, ")");
  std::replace(text.begin(), text.end(), '\n', ' ');  // of a name that somebody typed
  if (text.find_last_of(".?!") != text.size() - 1) text += '.';
  if (const std::string remedy = RemedyFor(status); !remedy.empty()) absl::StrAppend(&text, " ", remedy);
  return absl::StrCat(Styled(Style::kBad, "diptych:", stderr), " ", Printable(text));
}

}  // namespace

absl::Status WithRemedy(absl::Status status, std::string_view remedy) {
  status.SetPayload(kRemedyPayload, absl::Cord(absl::string_view(remedy.data(), remedy.size())));
  return status;
}

absl::Status UsageError(std::string_view message) {
  absl::Status status = absl::InvalidArgumentError(absl::string_view(message.data(), message.size()));
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

std::string RemedyFor(const absl::Status& status) {
  static const auto& kRemedies = *new std::map<std::string, const char*, std::less<>>{
      {"IMAGE_FORMAT", "Give a JPEG, PNG, WebP or GIF file; the file's content counts, not its name."},
      {"IMAGE_CORRUPT", "Save the image again with a program that can still show it."},
      {"IMAGE_TOO_LARGE", "Shrink the image; `diptych models` shows the limits."},
      {"TOO_MANY_IMAGES", "Ask about fewer images at a time."},
      {"OPTION_RANGE", "--help after the command lists its options."},
      {"TEXT_ENCODING", "Give the text as UTF-8."},
      {"CONTEXT_LENGTH_EXCEEDED", "Shorten the text, or lower --max_new_tokens."},
      {"MODEL_UNKNOWN", "`diptych models` names the one that is served."},
      {"MODEL_MISMATCH", "Start both tiers with the same --model."},
      {"INVALID_API_KEY", "Give a key with DIPTYCH_API_KEY or --api_key."},
      {"RATE_LIMITED", "Send fewer requests at a time, or try again later."},
      {"IMAGE_URL_FAILED", "Download the image and give the file."},
      {"FETCH_FAILED", "Download the image and give the file."},
      {"QUEUE_FULL", "Try again in a moment."},
      {"KV_FULL", "Try again in a moment."},
      {"OUT_OF_MEMORY", "Ask for less: a shorter text, fewer images or beams."},
      {"DRAINING", "The server is being stopped or replaced; try again in a moment."},
      {"TIER_UNAVAILABLE", "`diptych status` shows which tier is down."},
      {kGnuplotMissing,
       "As root: apt-get install -y gnuplot-nox (scripts/setup.sh --tests does it); without --plot the chart is drawn "
       "here."},
      {"NOT_SERVING", "Start language_service, or give the gateway its address with --language_target."},
  };
  if (const auto remedy = status.GetPayload(kRemedyPayload)) return std::string(*remedy);
  if (IsUnreachable(status)) return "Is the gateway running there (diptych serve)? Choose another with --server.";
  if (status.code() == absl::StatusCode::kDeadlineExceeded) {
    const std::string limit = DetailOf(status, detail::kLimit);
    if (limit.empty() || limit == "caller") return "Allow more time with --deadline.";
    return "The server's own limit has passed; its operator can raise it.";
  }
  const auto found = kRemedies.find(ReasonOf(status));
  return found == kRemedies.end() ? "" : found->second;
}

bool IsUnreachable(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable && ReasonOf(status).empty();
}

int ExitCodeFor(const absl::Status& status) {
  if (status.ok()) return kFine;
  if (Interrupted()) return kInterrupted;
  if (status.GetPayload(kUsagePayload)) return kUsage;
  return IsUnreachable(status) ? kUnreachable : kFailed;
}

int ReportError(const absl::Status& status, bool json, const std::string& context) {
  if (Interrupted()) return ReportInterrupt(json);
  if (status.GetPayload(kUsagePayload)) return ReportUsage(status, json);
  const std::string line =
      json ? ErrorJson(status, context).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
           : ErrorText(status, context);
  std::fprintf(stderr, "%s\n", line.c_str());
  return ExitCodeFor(status);
}

int ReportInterrupt(bool json, const std::string& done) {
  static std::atomic<bool> said = false;
  if (said.exchange(true)) return kInterrupted;
  const std::string message = absl::StrCat("interrupted", done.empty() ? "" : "; ", done);
  const nlohmann::ordered_json object{{"error", {{"reason", "INTERRUPTED"}, {"message", message}}}};
  std::fprintf(stderr, "%s\n", json ? object.dump().c_str() : absl::StrCat("diptych: ", message).c_str());
  return kInterrupted;
}

int ReportUsage(const absl::Status& status, bool json) {
  const std::string message(status.message());
  const nlohmann::ordered_json object{{"error", {{"reason", "USAGE"}, {"message", message}}}};
  const std::string line = json ? object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
                                : absl::StrCat(Styled(Style::kBad, "diptych:", stderr), " ", Printable(message));
  std::fprintf(stderr, "%s\n", line.c_str());
  return kUsage;
}

void ReportNote(const std::string& note, bool json) {
  const std::string line = json ? nlohmann::ordered_json{{"note", note}}.dump() : absl::StrCat("diptych: ", note);
  std::fprintf(stderr, "%s\n", line.c_str());
}

void ReportWait(absl::Duration wait, bool json) {
  const double seconds = absl::ToDoubleSeconds(wait);
  const nlohmann::ordered_json object{{"waiting", {{"reason", std::string(reason::kQueueFull)}, {"seconds", seconds}}}};
  const std::string line =
      json ? object.dump() : absl::StrCat("diptych: the server is full; asking again in ", FormatSeconds(seconds));
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace diptych::cli
