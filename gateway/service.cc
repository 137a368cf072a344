#include "gateway/service.h"

#include <functional>
#include <numeric>
#include <utility>

#include "common/build_info.h"
#include "common/grpc_status.h"
#include "common/status.h"
#include "common/tier_errors.h"
#include "common/unary_reply.h"
#include "common/wire.h"
#include "gateway/context_plan.h"
#include "gateway/text_call.h"

namespace diptych::gateway {
namespace {

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
    : RawService(v1::GatewayService::service_full_name()),
      tiers_(tiers),
      admission_(admission),
      watch_(watch),
      environment_{.admission = &admission,
                   .language = tiers.language.get(),
                   .retries = tiers.retries.get(),
                   .request_timeout = request_timeout,
                   .metrics = &metrics},
      analyze_environment_{.admission = &admission,
                           .vision = tiers.vision.get(),
                           .language = tiers.language.get(),
                           .retries = tiers.retries.get(),
                           .fingerprint =
                               [&watch] {
                                 const auto model = watch.model();
                                 return model ? model->fingerprint() : std::string();
                               },
                           .request_timeout = request_timeout,
                           .metrics = &metrics} {
  const ReadRules rules{.wanted = [&callers = admission.callers()](const grpc::CallbackServerContext& context) {
    return callers.Identify(context).ok();
  }};
  AddUnary("Ask", rules, std::bind_front(&GatewayService::Ask, this));
  AddServerStream("AskStream", rules, std::bind_front(&GatewayService::AskStream, this));
  AddUnary("AnalyzeImage", rules, std::bind_front(&GatewayService::AnalyzeImage, this));
  AddUnary("PlanContext", rules, std::bind_front(&GatewayService::PlanContext, this));
  AddUnary("Tokenize", rules, std::bind_front(&GatewayService::Tokenize, this));
  AddUnary("Detokenize", rules, std::bind_front(&GatewayService::Detokenize, this));
  AddUnary("GetModel", rules, std::bind_front(&GatewayService::GetModel, this));
}

grpc::ServerUnaryReactor* GatewayService::Ask(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response) {
  return StartAsk(environment_, context, *request, response);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GatewayService::AskStream(grpc::CallbackServerContext* context,
                                                                      const grpc::ByteBuffer* request) {
  return StartAskStream(environment_, context, *request);
}

absl::StatusOr<Caller> GatewayService::Admit(const grpc::CallbackServerContext& context,
                                             const grpc::ByteBuffer& request,
                                             google::protobuf::Message& message) const {
  DIPTYCH_ASSIGN_OR_RETURN(Caller caller, admission_.callers().Identify(context));
  DIPTYCH_RETURN_IF_ERROR(admission_.gate().CheckRate(caller));
  DIPTYCH_RETURN_IF_ERROR(ParseTextRequest(request, message));
  return caller;
}

grpc::ServerUnaryReactor* GatewayService::PlanContext(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  v1::PlanContextRequest plan;
  auto caller = Admit(*context, *request, plan);
  if (!caller.ok()) return ReplyNow(*context, caller.status());
  if (const absl::Status status = CheckPlanRequest(plan); !status.ok()) return ReplyNow(*context, status);
  auto model = watch_.model();
  if (!model) return ReplyNow(*context, NoReplica());
  if (!NeedsTokenCount(plan)) {
    *response = SerializeMessage(gateway::PlanContext(plan, *model, {}));
    return ReplyNow(*context, absl::OkStatus());
  }
  v1::CountTokensRequest count;
  *count.mutable_turns() = plan.turns();
  count.set_prompt(plan.prompt());
  const auto send = [this](auto... call) { tiers_.language->Pick()->async()->CountTokens(std::move(call)...); };
  return AskTokenizer<v1::CountTokensRequest, v1::CountTokensResponse>(
      *context, std::move(count), response, send,
      [this, caller = *std::move(caller), plan = std::move(plan),
       model = *std::move(model)](const v1::CountTokensResponse& counts) {
        admission_.gate().Charge(caller, TokensOf(counts));
        return gateway::PlanContext(plan, model, counts);
      });
}

grpc::ServerUnaryReactor* GatewayService::Tokenize(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  v1::TokenizeRequest asked;
  auto caller = Admit(*context, *request, asked);
  if (!caller.ok()) return ReplyNow(*context, caller.status());
  const auto model = watch_.model();
  if (!model) return ReplyNow(*context, NoReplica());
  v1::EncodePromptRequest prompt;
  prompt.set_prompt(std::move(*asked.mutable_prompt()));
  *prompt.mutable_turns() = std::move(*asked.mutable_turns());
  prompt.set_images(asked.images());
  prompt.set_without_bos(asked.without_bos());
  const auto send = [this](auto... call) { tiers_.language->Pick()->async()->EncodePrompt(std::move(call)...); };
  return AskTokenizer<v1::EncodePromptRequest, v1::EncodePromptResponse>(
      *context, std::move(prompt), response, send,
      [this, caller = *std::move(caller), window = model->window_tokens()](v1::EncodePromptResponse& encoded) {
        admission_.gate().Charge(caller, encoded.token_ids_size());
        v1::TokenizeResponse answer;
        *answer.mutable_token_ids() = std::move(*encoded.mutable_token_ids());
        answer.set_window_tokens(window);
        return answer;
      });
}

grpc::ServerUnaryReactor* GatewayService::Detokenize(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  v1::DetokenizeRequest asked;
  auto caller = Admit(*context, *request, asked);
  if (!caller.ok()) return ReplyNow(*context, caller.status());
  v1::DecodeTokensRequest tokens;
  *tokens.mutable_token_ids() = std::move(*asked.mutable_token_ids());
  const int count = tokens.token_ids_size();
  const auto send = [this](auto... call) { tiers_.language->Pick()->async()->DecodeTokens(std::move(call)...); };
  return AskTokenizer<v1::DecodeTokensRequest, v1::DecodeTokensResponse>(
      *context, std::move(tokens), response, send,
      [this, caller = *std::move(caller), count](v1::DecodeTokensResponse& decoded) {
        admission_.gate().Charge(caller, count);
        v1::DetokenizeResponse answer;
        answer.set_text(std::move(*decoded.mutable_text()));
        return answer;
      });
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
