#include "cli/connection/client.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/connection/errors.h"
#include "common/channel.h"
#include "common/files.h"
#include "common/grpc_status.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr int64_t kMaxPemBytes = 1 << 20;
constexpr int kMaxAnswerBytes = 64 << 20;

std::string ParseDeadline(const std::string& text, absl::Duration& deadline) {
  if (absl::ParseDuration(text, &deadline) && deadline > absl::ZeroDuration()) return "";
  return "takes a time such as 30s or 2m";
}

// gRPC refuses anything else as metadata, and its words for that would show the key.
bool IsHeaderText(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace

void CommonOptions::AddTo(CLI::App& command) {
  constexpr char kGroup[] = "Common";
  command.add_option("--server", server, "Gateway, host:port")
      ->envname("DIPTYCH_SERVER")
      ->capture_default_str()
      ->group(kGroup);
  command
      .add_option("--tls_ca", tls_ca, "PEM file of the authority that signed the gateway's certificate; turns TLS on")
      ->envname("DIPTYCH_TLS_CA")
      ->group(kGroup);
  command.add_option("--api_key", api_key, "Key for a gateway that asks for one; better in the environment than here")
      ->envname("DIPTYCH_API_KEY")
      ->group(kGroup);
  command
      .add_option_function<std::string>(
          "--deadline",
          [this](const std::string& text) {
            const std::string error = ParseDeadline(text, deadline);
            if (!error.empty()) throw CLI::ValidationError("--deadline", error);
          },
          "Longest wait for one answer [2m]")
      ->group(kGroup);
  command.add_flag("--json", json, "One JSON object a line")->group(kGroup);
}

absl::StatusOr<Client> Client::Open(const CommonOptions& options) {
  if (!IsHeaderText(options.api_key)) {
    return absl::InvalidArgumentError("--api_key takes printable ASCII characters; was it copied with a line break?");
  }
  auto credentials = grpc::InsecureChannelCredentials();
  if (!options.tls_ca.empty()) {
    const auto ca = ReadFile(options.tls_ca, kMaxPemBytes);
    if (!ca.ok()) return Annotate(ca.status(), "--tls_ca");
    credentials = grpc::SslCredentials({.pem_root_certs = *ca, .pem_private_key = "", .pem_cert_chain = ""});
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxAnswerBytes);
  RefuseCompressedMessages(arguments);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);  // also what one attempt to connect may take
  return Client(grpc::CreateCustomChannel(options.server, credentials, arguments), options);
}

Client::Client(std::shared_ptr<grpc::Channel> channel, const CommonOptions& options)
    : gateway_(v1::GatewayService::NewStub(channel)),
      health_(grpc::health::v1::Health::NewStub(channel)),
      server_(options.server),
      authorization_(options.api_key.empty() ? "" : absl::StrCat("Bearer ", options.api_key)),
      deadline_(options.deadline),
      json_(options.json) {}

absl::Time Client::Deadline() const {
  return absl::Now() + deadline_;
}

void Client::Prepare(grpc::ClientContext& context, absl::Time deadline) const {
  context.set_deadline(absl::ToChronoTime(deadline));
  if (!authorization_.empty()) context.AddMetadata("authorization", authorization_);
}

absl::Status Client::ToStatus(const grpc::Status& status) const {
  const absl::Status converted = FromGrpcStatus(status);
  return IsUnreachable(converted) ? absl::UnavailableError(absl::StrCat("no gateway answers at ", server_)) : converted;
}

absl::StatusOr<v1::Answer> Client::Ask(const v1::Question& question) {
  return AskPatiently([&](absl::Time deadline) { return AskOnce(question, deadline); });
}

bool Client::MayAskAgain(const absl::Status& status, Patience& patience) const {
  const auto wait = patience.WaitAfter(status, absl::Now());
  if (!wait) return false;
  ReportWait(*wait, json_);
  absl::SleepFor(*wait);
  return true;
}

absl::StatusOr<v1::Answer> Client::AskOnce(const v1::Question& question, absl::Time deadline) {
  grpc::ClientContext context;
  Prepare(context, deadline);
  v1::AskRequest request;
  *request.mutable_question() = question;
  v1::AskResponse response;
  const grpc::Status status = gateway_->Ask(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  return std::move(*response.mutable_answer());
}

absl::StatusOr<v1::AnalyzeImageResponse> Client::AnalyzeImage(const v1::AnalyzeImageRequest& request) {
  grpc::ClientContext context;
  Prepare(context, Deadline());
  v1::AnalyzeImageResponse response;
  const grpc::Status status = gateway_->AnalyzeImage(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  return response;
}

absl::StatusOr<v1::PlanContextResponse> Client::PlanContext(const v1::PlanContextRequest& request) {
  grpc::ClientContext context;
  Prepare(context, Deadline());
  v1::PlanContextResponse response;
  const grpc::Status status = gateway_->PlanContext(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  return response;
}

absl::StatusOr<v1::GetModelResponse> Client::GetModel() {
  grpc::ClientContext context;
  Prepare(context, Deadline());
  v1::GetModelResponse response;
  const grpc::Status status = gateway_->GetModel(&context, {}, &response);
  if (!status.ok()) return ToStatus(status);
  return response;
}

absl::Status Client::CheckHealth(const std::string& service) {
  grpc::ClientContext context;
  Prepare(context, Deadline());
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = health_->Check(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  if (response.status() == grpc::health::v1::HealthCheckResponse::SERVING) return absl::OkStatus();
  return MakeError(absl::StatusCode::kUnavailable, "NOT_SERVING", "it does not reach the language tier");
}

}  // namespace diptych::cli
