#include "gateway/service.h"

#include <memory>
#include <numeric>
#include <utility>

#include "common/build_info.h"
#include "common/call_watch.h"
#include "common/grpc_status.h"
#include "common/status.h"
#include "common/tier_errors.h"
#include "common/unary_reply.h"
#include "common/wire.h"
#include "gateway/context_plan.h"
#include "gateway/passed_deadline.h"

namespace diptych::gateway {
namespace {

constexpr auto kPlanPatience = std::chrono::seconds(5);

// A question to the language tier's tokenizer; deletes itself when it is answered.
struct TokenCount {
  TokenCount(grpc::CallbackServerContext* caller, const v1::PlanContextRequest& plan_request,
             v1::ModelDescription description)
      : context(grpc::ClientContext::FromCallbackServerContext(*caller)),
        watch(WatchCall(*caller, kPlanPatience)),
        plan(plan_request),
        model(std::move(description)) {
    context->set_deadline(ToSystemTime(watch->deadline()));
    *request.mutable_turns() = plan.turns();
    request.set_prompt(plan.prompt());
  }

  absl::Status ForCaller(const grpc::Status& status) const {
    return ExplainDeadline(FromTier(status, "language", Stage::kTokenize), *watch, {kPlanPatience, ""});
  }

  std::unique_ptr<grpc::ClientContext> context;
  const std::shared_ptr<const CallWatch> watch;
  const v1::PlanContextRequest plan;
  const v1::ModelDescription model;
  v1::CountTokensRequest request;
  v1::CountTokensResponse response;
};

int64_t TokensOf(const v1::CountTokensResponse& counts) {
  const auto& pairs = counts.history_pair_tokens();
  return std::accumulate(pairs.begin(), pairs.end(), int64_t{counts.text_tokens()});
}

absl::Status NoReplica() {
  return TierUnavailable("no language replica answers");
}

}  // namespace

GatewayService::GatewayService(Tiers& tiers, Admission& admission, const TierWatch& watch, GatewayMetrics& metrics,
                               SteadyDuration request_timeout)
    : tiers_(tiers),
      admission_(admission),
      watch_(watch),
      environment_{.admission = &admission,
                   .language = tiers.language.get(),
                   .request_timeout = request_timeout,
                   .metrics = &metrics},
      analyze_environment_{.admission = &admission,
                           .vision = tiers.vision.get(),
                           .language = tiers.language.get(),
                           .fingerprint =
                               [&watch] {
                                 const auto model = watch.model();
                                 return model ? model->fingerprint() : std::string();
                               },
                           .request_timeout = request_timeout,
                           .metrics = &metrics} {}

grpc::ServerUnaryReactor* GatewayService::Ask(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response) {
  return StartAsk(environment_, context, *request, response);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GatewayService::AskStream(grpc::CallbackServerContext* context,
                                                                      const grpc::ByteBuffer* request) {
  return StartAskStream(environment_, context, *request);
}

grpc::ServerUnaryReactor* GatewayService::PlanContext(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  const auto caller = admission_.callers().Identify(*context);
  if (!caller.ok()) return ReplyNow(*context, caller.status());
  v1::PlanContextRequest plan;
  absl::Status status = admission_.gate().CheckRate(*caller);
  if (status.ok()) status = ParseTextRequest(*request, plan);
  if (status.ok()) status = CheckPlanRequest(plan);
  if (!status.ok()) return ReplyNow(*context, status);
  auto model = watch_.model();
  if (!model) return ReplyNow(*context, NoReplica());
  if (!NeedsTokenCount(plan)) {
    *response = SerializeMessage(gateway::PlanContext(plan, *model, {}));
    return ReplyNow(*context, absl::OkStatus());
  }
  auto* reactor = new UnaryReply(*context);
  auto* count = new TokenCount(context, plan, *std::move(model));
  tiers_.language->async()->CountTokens(
      count->context.get(), &count->request, &count->response,
      [this, caller = *caller, count, reactor, response](const grpc::Status& status) {
        const std::unique_ptr<TokenCount> owned(count);
        if (!status.ok()) return reactor->Finish(ToGrpcStatus(count->ForCaller(status)));
        admission_.gate().Charge(caller, TokensOf(count->response));
        *response = SerializeMessage(gateway::PlanContext(count->plan, count->model, count->response));
        reactor->Finish(grpc::Status::OK);
      });
  return reactor;
}

grpc::ServerUnaryReactor* GatewayService::AnalyzeImage(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return StartAnalyzeImage(analyze_environment_, context, *request, response);
}

grpc::ServerUnaryReactor* GatewayService::GetModel(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  if (const auto caller = admission_.callers().Identify(*context); !caller.ok())
    return ReplyNow(*context, caller.status());
  v1::GetModelRequest read;
  if (const absl::Status status = ParseTextRequest(*request, read); !status.ok()) return ReplyNow(*context, status);
  auto* reactor = new UnaryReply(*context);
  DescribeTiers(tiers_, [this, reactor, response](TierReports reports) {
    auto merged = MergeReports(reports);
    if (!merged.ok()) return reactor->Finish(ToGrpcStatus(merged.status()));
    *merged->mutable_limits() = admission_.ToProto();
    merged->set_version(std::string(Version()));
    *response = SerializeMessage(*merged);
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

}  // namespace diptych::gateway
