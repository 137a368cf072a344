// The connection to a gateway, and what is the same for every command.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/connection/patience.h"
#include "cli/terminal/interrupt.h"
#include "common/steady_clock.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace CLI {
class App;
class Validator;
class Option;
}  // namespace CLI

namespace diptych::cli {

// Process exit codes; kInterrupted is in interrupt.h.
inline constexpr int kFine = 0;
inline constexpr int kFailed = 1;  // refused by the server, or failed
inline constexpr int kUsage = 2;
inline constexpr int kUnreachable = 3;

// Options that every command takes.
struct CommonOptions {
  std::string server = "127.0.0.1:7000";
  std::string tls_ca;    // PEM file; empty: no TLS
  std::string tls_cert;  // PEM file, shown to a gateway that asks for one; with tls_key, or both empty
  std::string tls_key;
  std::string api_key;  // empty: none is sent
  absl::Duration deadline = absl::Minutes(10);
  bool json = false;

  void AddTo(CLI::App& command);
};

// --json and --color, of every command.
void AddOutputOptions(CLI::App& command, bool& json);
// Takes a number from `least` to `most`, ends included; CLI::Range lets NaN pass.
CLI::Validator NumberFrom(double least, double most);
// A time such as 30s; `time`, which outlives parsing, holds the default, `default_text` names it.
CLI::Option* AddTime(CLI::App& command, const std::string& name, absl::Duration& time, const std::string& description,
                     const std::string& default_text);
// --deadline; `deadline`, which outlives parsing, holds the default.
void AddDeadline(CLI::App& command, absl::Duration& deadline, const std::string& default_text);

// Thread-safe.
class Client {
 public:
  // Does not connect yet. An error if a file of TLS cannot be read.
  // From here on Ctrl-C cancels the calls that run and is for the command to notice (interrupt.h). UNAVAILABLE for an
  // address with a scheme.
  static absl::StatusOr<Client> Open(const CommonOptions& options);

  // Both ask again, within the deadline and a few times, while the server is full, and say so on standard error.
  absl::StatusOr<v1::Answer> Ask(const v1::Question& question);
  // Calls `on_delta` with each piece of text.
  template <typename OnDelta>
  absl::StatusOr<v1::Answer> AskStream(const v1::Question& question, OnDelta&& on_delta);
  // Asks once, also if the server is full.
  template <typename OnDelta>
  absl::StatusOr<v1::Answer> AskStreamImpatiently(const v1::Question& question, OnDelta&& on_delta) {
    return AskStreamOnce(question, Deadline(), on_delta);
  }
  absl::StatusOr<v1::AnalyzeImageResponse> AnalyzeImage(const v1::AnalyzeImageRequest& request);
  absl::StatusOr<v1::PlanContextResponse> PlanContext(const v1::PlanContextRequest& request);
  absl::StatusOr<v1::GetModelResponse> GetModel();
  // OK if the gateway reports `service` as serving; UNAVAILABLE with reason NOT_SERVING if it says it is not. Of
  // "readiness" the gateway's own words where it has any.
  absl::Status CheckHealth(const std::string& service);

 private:
  Client(std::shared_ptr<grpc::Channel> channel, const CommonOptions& options);
  SteadyTime Deadline() const;
  // One call: cancelled by Ctrl-C.
  struct Call {
    Call(const Client& client, SteadyTime deadline);
    grpc::ClientContext context;
    OnInterrupt cancel{[this] { context.TryCancel(); }};
  };
  // `once`, a function of the deadline, as often as it is worth it.
  template <typename Once>
  absl::StatusOr<v1::Answer> AskPatiently(Once&& once);
  absl::StatusOr<v1::Answer> AskOnce(const v1::Question& question, SteadyTime deadline);
  template <typename OnDelta>
  absl::StatusOr<v1::Answer> AskStreamOnce(const v1::Question& question, SteadyTime deadline, OnDelta&& on_delta);
  // True, after a wait, if the question is worth asking again.
  bool MayAskAgain(const absl::Status& status, Patience& patience) const;
  // Says why no gateway answers, in place of the transport's message; "interrupted" after Ctrl-C.
  absl::Status ToStatus(const grpc::Status& status) const;

  std::unique_ptr<v1::GatewayService::Stub> gateway_;
  std::unique_ptr<grpc::health::v1::Health::Stub> health_;
  std::string server_;
  std::string authorization_;
  absl::Duration deadline_;
  bool tls_, json_;
};

template <typename OnDelta>
absl::StatusOr<v1::Answer> Client::AskStream(const v1::Question& question, OnDelta&& on_delta) {
  return AskPatiently([&](SteadyTime deadline) { return AskStreamOnce(question, deadline, on_delta); });
}

template <typename Once>
absl::StatusOr<v1::Answer> Client::AskPatiently(Once&& once) {
  const SteadyTime deadline = Deadline();
  Patience patience(deadline);
  for (;;) {
    absl::StatusOr<v1::Answer> answer = once(deadline);
    if (answer.ok() || !MayAskAgain(answer.status(), patience)) return answer;
  }
}

template <typename OnDelta>
absl::StatusOr<v1::Answer> Client::AskStreamOnce(const v1::Question& question, SteadyTime deadline,
                                                 OnDelta&& on_delta) {
  Call call(*this, deadline);
  v1::AskStreamRequest request;
  *request.mutable_question() = question;
  const auto reader = gateway_->AskStream(&call.context, request);
  absl::StatusOr<v1::Answer> answer = absl::InternalError("the stream ended without an answer");
  for (v1::AskStreamResponse event; reader->Read(&event);) {
    if (event.has_delta()) on_delta(event.delta().text());
    if (event.has_finished()) answer = std::move(*event.mutable_finished());
  }
  const absl::Status status = ToStatus(reader->Finish());
  if (!status.ok()) return status;
  return answer;
}

}  // namespace diptych::cli
