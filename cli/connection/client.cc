#include "cli/connection/client.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/command_line/option_table.h"
#include "cli/connection/diagnosis.h"
#include "cli/connection/errors.h"
#include "cli/connection/readiness.h"
#include "cli/terminal/terminal.h"
#include "common/error_details.h"
#include "common/files.h"
#include "common/grpc/channel.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/metadata.h"
#include "common/grpc/steady_deadline.h"
#include "common/network/pem.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr int64_t kMaxPemBytes = 1 << 20;
constexpr absl::Duration kLongestTime = absl::Hours(24 * 365);
constexpr int kMaxAnswerBytes = 64 << 20;

// "30s", "2m", or seconds without a unit.
std::string ParseTime(const std::string& text, absl::Duration& time) {
  double seconds = 0;
  const bool parsed =
      absl::SimpleAtod(text, &seconds) ? (time = absl::Seconds(seconds), true) : absl::ParseDuration(text, &time);
  if (parsed && time > absl::ZeroDuration() && time <= kLongestTime) return "";
  return absl::StrCat("takes a time such as 30s or 2m, or a number of seconds, not \"", text, "\"");
}

// gRPC refuses anything else as metadata, and its words for that would show the key.
bool IsHeaderText(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

absl::Status CheckFile(const char* option, const std::string& file) {
  if (file.empty()) return absl::OkStatus();
  std::error_code error;
  const bool folder = std::filesystem::is_directory(file, error);
  const absl::Status read = ReadFile(file, kMaxPemBytes).status();
  if (read.ok()) return absl::OkStatus();
  return UsageError(absl::StrCat(option, "=", file, ": ", folder ? "this is a directory" : read.message()));
}

absl::Status CheckFiles(const CommonOptions& options) {
  DIPTYCH_RETURN_IF_ERROR(CheckFile("--tls_ca", options.tls_ca));
  DIPTYCH_RETURN_IF_ERROR(CheckFile("--tls_cert", options.tls_cert));
  return CheckFile("--tls_key", options.tls_key);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> Credentials(const CommonOptions& options) {
  if (options.tls_ca.empty()) return grpc::InsecureChannelCredentials();
  DIPTYCH_RETURN_IF_ERROR(CheckFiles(options));
  const auto texts = ReadPemFiles({options.tls_cert, options.tls_key, options.tls_ca, "tls_ca"});
  if (!texts.ok()) return UsageError(std::string(texts.status().message()));
  return grpc::SslCredentials({texts->client_ca, texts->key, texts->cert});
}

}  // namespace

void CommonOptions::AddTo(CLI::App& command) {
  command.add_option("-s,--server", server, "Gateway, host:port")
      ->envname("DIPTYCH_SERVER")
      ->capture_default_str()
      ->group(kCommonGroup);
  const auto add_file = [&command](const std::string& name, const std::string& variable, std::string& file,
                                   const std::string& description) {
    return command.add_option(name, file, description)->envname(variable)->type_name(kFileType)->group(kCommonGroup);
  };
  CLI::Option* ca = add_file("--tls_ca", "DIPTYCH_TLS_CA", tls_ca,
                             "PEM file of the authority that signed the gateway's certificate; turns TLS on");
  CLI::Option* cert = add_file("--tls_cert", "DIPTYCH_TLS_CERT", tls_cert,
                               "PEM file of a certificate for a gateway that asks callers for one");
  CLI::Option* key = add_file("--tls_key", "DIPTYCH_TLS_KEY", tls_key, "PEM file of that certificate's key");
  cert->needs(ca)->needs(key);
  key->needs(cert);
  command.add_option("--api_key", api_key, "Key for a gateway that asks for one; better in the environment than here")
      ->envname("DIPTYCH_API_KEY")
      ->group(kCommonGroup);
  AddDeadline(command, deadline, "10m");
  AddOutputOptions(command, json);
}

CLI::Validator NumberFrom(double least, double most) {
  const auto check = [least, most](const std::string& text) -> std::string {
    double number = 0;
    if (absl::SimpleAtod(text, &number) && number >= least && number <= most) return "";
    return absl::StrFormat("takes a number from %g to %g, not \"%s\"", least, most, text);
  };
  return {check, absl::StrFormat("FLOAT in [%g - %g]", least, most)};
}

CLI::Option* AddTime(CLI::App& command, const std::string& name, absl::Duration& time, const std::string& description,
                     const std::string& default_text) {
  const auto parse = [&time, name](const std::string& text) {
    const std::string error = ParseTime(text, time);
    if (!error.empty()) throw CLI::ValidationError(name, error);
  };
  return command.add_option_function<std::string>(name, parse, description)
      ->default_str(default_text)
      ->type_name("TIME");
}

void AddDeadline(CLI::App& command, absl::Duration& deadline, const std::string& default_text) {
  AddTime(command, "--deadline", deadline, "Longest wait for one answer: 30s, 2m, or seconds", default_text)
      ->group(kCommonGroup);
}

void AddOutputOptions(CLI::App& command, bool& json) {
  command.add_flag("-j,--json", json, "One JSON object a line")->group(kCommonGroup);
  const auto choose = [](const std::string& word) {
    ChooseColor(word == "always" ? ColorChoice::kAlways : word == "never" ? ColorChoice::kNever : ColorChoice::kAuto);
  };
  command.add_option_function<std::string>("--color", choose, "Colors; auto: on a terminal, unless NO_COLOR is set")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->default_str("auto")
      ->type_name("WHEN")
      ->group(kCommonGroup);
}

absl::StatusOr<Client> Client::Open(const CommonOptions& options) {
  if (!IsHeaderText(options.api_key)) {
    return UsageError("--api_key takes printable ASCII characters; was it copied with a line break?");
  }
  DIPTYCH_RETURN_IF_ERROR(CheckServerAddress(options.server));
  CatchInterrupts();
  const auto credentials = Credentials(options);
  if (!credentials.ok()) return credentials.status();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxAnswerBytes);
  RefuseCompressedMessages(arguments);
  LeaveOutRepeats(arguments);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);  // also what one attempt to connect may take
  return Client(grpc::CreateCustomChannel(options.server, *credentials, arguments), options);
}

Client::Client(std::shared_ptr<grpc::Channel> channel, const CommonOptions& options)
    : gateway_(v1::GatewayService::NewStub(channel)),
      health_(grpc::health::v1::Health::NewStub(channel)),
      server_(options.server),
      authorization_(options.api_key.empty() ? "" : absl::StrCat("Bearer ", options.api_key)),
      deadline_(options.deadline),
      tls_(!options.tls_ca.empty()),
      json_(options.json) {}

SteadyTime Client::Deadline() const {
  return FromNow(deadline_);
}

Client::Call::Call(const Client& client, SteadyTime deadline) {
  context.set_deadline(deadline);
  if (!client.authorization_.empty()) AddMetadata(context, "authorization", client.authorization_);
}

absl::Status Client::ToStatus(const grpc::Status& status) const {
  const absl::Status converted = FromGrpcStatus(status);
  if (!converted.ok()) DIPTYCH_RETURN_IF_ERROR(CheckInterrupt());
  const std::string why = ReasonOf(converted);
  const bool unknown_method = why.empty() || why == reason::kUnimplemented;
  if (converted.code() == absl::StatusCode::kUnimplemented && unknown_method) return NoGateway(server_);
  if (absl::IsDeadlineExceeded(converted) && why.empty()) {  // gRPC's own word, which says no more than the code
    return absl::DeadlineExceededError(absl::StrCat("no answer within ", absl::FormatDuration(deadline_)));
  }
  if (absl::IsResourceExhausted(converted) && why.empty()) {  // gRPC's own word, before the gateway sees the call
    return MakeError(absl::StatusCode::kInvalidArgument, reason::kImageTooLarge,
                     "the images of one question are larger than the gateway takes");
  }
  return IsUnreachable(converted) ? WhyUnreachable(server_, tls_) : converted;
}

absl::StatusOr<v1::Answer> Client::Ask(const v1::Question& question) {
  return AskPatiently([&](SteadyTime deadline) { return AskOnce(question, deadline); });
}

bool Client::MayAskAgain(const absl::Status& status, Patience& patience) const {
  const auto wait = patience.WaitAfter(status, SteadyClock::now());
  if (!wait) return false;
  ReportWait(*wait, json_);
  return SleepUnlessInterrupted(*wait);
}

absl::StatusOr<v1::Answer> Client::AskOnce(const v1::Question& question, SteadyTime deadline) {
  Call call(*this, deadline);
  v1::AskRequest request;
  *request.mutable_question() = question;
  v1::AskResponse response;
  const grpc::Status status = gateway_->Ask(&call.context, request, &response);
  if (!status.ok()) return ToStatus(status);
  return std::move(*response.mutable_answer());
}

absl::StatusOr<v1::AnalyzeImageResponse> Client::AnalyzeImage(const v1::AnalyzeImageRequest& request) {
  Call call(*this, Deadline());
  v1::AnalyzeImageResponse response;
  const grpc::Status status = gateway_->AnalyzeImage(&call.context, request, &response);
  if (!status.ok()) return ToStatus(status);
  return response;
}

absl::StatusOr<v1::PlanContextResponse> Client::PlanContext(const v1::PlanContextRequest& request) {
  Call call(*this, Deadline());
  v1::PlanContextResponse response;
  const grpc::Status status = gateway_->PlanContext(&call.context, request, &response);
  if (!status.ok()) return ToStatus(status);
  return response;
}

absl::StatusOr<v1::GetModelResponse> Client::GetModel() {
  Call call(*this, Deadline());
  v1::GetModelResponse response;
  const grpc::Status status = gateway_->GetModel(&call.context, {}, &response);
  if (!status.ok()) return ToStatus(status);
  return response;
}

absl::Status Client::CheckHealth(const std::string& service) {
  Call call(*this, Deadline());
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = health_->Check(&call.context, request, &response);
  if (!status.ok()) return InWordsOfReadiness(ToStatus(status));
  if (response.status() == grpc::health::v1::HealthCheckResponse::SERVING) return absl::OkStatus();
  return MakeError(absl::StatusCode::kUnavailable, kNotServing, "it does not reach the language tier");
}

}  // namespace diptych::cli
