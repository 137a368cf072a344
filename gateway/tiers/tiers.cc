#include "gateway/tiers/tiers.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/grpc/grpc_status.h"
#include "common/grpc/steady_deadline.h"
#include "common/replicas/tier_errors.h"
#include "common/status.h"
#include "common/tiers/tier_defaults.h"
#include "gateway/tiers/tier_claims.h"

namespace diptych::gateway {
namespace {

constexpr int kLeastRetries = 16;
constexpr auto kPatience = std::chrono::milliseconds(900);
// An answer is small but for its log-probabilities: 20 a token.
constexpr int kMaxMessageBytes = 16 << 20;

template <typename Service>
absl::StatusOr<std::unique_ptr<ReplicaStubs<Service>>> OpenTier(const std::string& target, const char* name,
                                                                std::string_view flag, const Options& options,
                                                                int calls_at_ease) {
  auto channels = ReplicaChannels::Open({.target = target,
                                         .service_name = Service::service_full_name(),
                                         .tls = options.tier_tls,
                                         .max_receive_bytes = kMaxMessageBytes},
                                        name, options.affinity, calls_at_ease);
  if (!channels.ok()) return Annotate(channels.status(), flag);
  return std::make_unique<ReplicaStubs<Service>>(*std::move(channels));
}

template <typename Request, typename Response>
struct DescriptionCall {
  std::unique_ptr<grpc::ClientContext> context;  // of the last attempt
  int attempts = 0;
  Request request;
  Response response;
};

// Both calls with their answers; deletes itself after the second.
struct Description {
  const SteadyTime deadline = SteadyClock::now() + kPatience;
  DescriptionCall<v1::GetLanguageModelRequest, v1::GetLanguageModelResponse> language;
  DescriptionCall<v1::GetVisionModelRequest, v1::GetVisionModelResponse> vision;
  TierReports reports;
  std::function<void(TierReports)> done;
  std::atomic<int> pending = 2;

  // Asks by `send`, and again while no replica that was asked has answered: its connection may have come to its end.
  // Not from the budget of repeats, which is for questions: nothing is computed for these.
  template <typename Call, typename Send>
  void Ask(Call& call, Send send, absl::StatusOr<TierReport>& report) {
    ++call.attempts;
    call.context = std::make_unique<grpc::ClientContext>();
    call.context->set_deadline(deadline);
    call.response.Clear();
    send(call.context.get(), &call.request, &call.response, [this, &call, send, &report](const grpc::Status& status) {
      if (RetryOf(status) == Retry::kAnotherReplica && call.attempts < kMaxTierAttempts) return Ask(call, send, report);
      Arrived(status, call.response, report);
    });
  }

  template <typename Response>
  void Arrived(const grpc::Status& status, Response& response, absl::StatusOr<TierReport>& report) {
    const absl::Status said = status.ok() ? CheckClaims(response.model()) : FromGrpcStatus(status);
    if (said.ok()) {
      report = TierReport{std::move(*response.mutable_model()), std::move(*response.mutable_load())};
    } else {
      report = said;
    }
    if (--pending > 0) return;
    done(std::move(reports));
    delete this;
  }
};

v1::TierStatus ToProto(const char* name, const absl::StatusOr<TierReport>& report) {
  v1::TierStatus tier;
  tier.set_name(name);
  tier.set_serving(report.ok());
  if (report.ok()) {
    *tier.mutable_model() = report->model;
    *tier.mutable_load() = report->load;
  } else {
    tier.set_error(report.status().code() == absl::StatusCode::kUnavailable ? "does not answer"
                                                                            : std::string(report.status().message()));
  }
  return tier;
}

}  // namespace

absl::StatusOr<Tiers> OpenTiers(const Options& options) {
  Tiers tiers;
  DIPTYCH_ASSIGN_OR_RETURN(
      tiers.language, OpenTier<v1::LanguageService>(options.language_target, "language", "--language_target", options,
                                                    tier_defaults::kLanguageCallsAtEase));
  DIPTYCH_ASSIGN_OR_RETURN(tiers.vision, OpenTier<v1::VisionService>(options.vision_target, "vision", "--vision_target",
                                                                     options, tier_defaults::kVisionCallsAtEase));
  tiers.retries = std::make_unique<RetryBudget>(std::max(options.max_inflight, kLeastRetries));
  return tiers;
}

void DescribeTiers(Tiers& tiers, std::function<void(TierReports)> done) {
  auto* call = new Description;
  call->done = std::move(done);
  const auto language = [&tiers](auto... arguments) {
    tiers.language->Pick()->async()->GetLanguageModel(std::move(arguments)...);
  };
  const auto vision = [&tiers](auto... arguments) {
    tiers.vision->Pick()->async()->GetVisionModel(std::move(arguments)...);
  };
  call->Ask(call->language, language, call->reports.language);
  call->Ask(call->vision, vision, call->reports.vision);
}

absl::StatusOr<v1::GetModelResponse> MergeReports(const TierReports& reports) {
  if (!reports.language.ok()) {
    return TierUnavailable(absl::StrCat("the language tier does not answer; the vision tier ",
                                        reports.vision.ok() ? "serves" : "does not answer either"));
  }
  v1::GetModelResponse response;
  v1::ModelDescription& model = *response.mutable_model();
  model = reports.language->model;
  if (reports.vision.ok()) {
    auto parts = reports.vision->model.parts();
    parts.MergeFrom(model.parts());
    *model.mutable_parts() = std::move(parts);
  }
  *response.add_tiers() = ToProto("language", reports.language);
  *response.add_tiers() = ToProto("vision", reports.vision);
  return response;
}

}  // namespace diptych::gateway
