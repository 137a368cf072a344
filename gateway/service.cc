#include "gateway/service.h"

#include <numeric>
#include <utility>

#include "common/grpc/grpc_status.h"
#include "common/grpc/unary_reply.h"
#include "common/grpc/wire.h"
#include "common/process/build_info.h"
#include "common/replicas/tier_errors.h"
#include "common/status.h"
#include "gateway/context_plan.h"
#include "gateway/text_call.h"
#include "gateway/tiers/tier_claims.h"

namespace diptych::gateway {
namespace {

int64_t TokensOf(const v1::CountTokensResponse& counts) {
  const auto& pairs = counts.history_pair_tokens();
  return std::accumulate(pairs.begin(), pairs.end(), int64_t{counts.text_tokens()});
}

// Leaves of the tiers' load what callers feel anyway. Of the others' questions the rest would tell how long they are,
// to the token and byte, and whether they were asked before.
void LeaveOutWhatTells(v1::GetModelResponse& response) {
  for (v1::TierStatus& tier : *response.mutable_tiers()) {
    if (!tier.has_load()) continue;
    v1::TierLoad coarse;
    coarse.set_running(tier.load().running());
    coarse.set_waiting(tier.load().waiting());
    *tier.mutable_load() = std::move(coarse);
  }
}

absl::Status NoReplica() {
  return TierUnavailable("no language replica answers");
}

}  // namespace

GatewayService::GatewayService(Tiers& tiers, Admission& admission, const TierMonitor& monitor, GatewayMetrics& metrics,
                               const Tracer& tracer, SteadyDuration request_timeout)
    : RawService(v1::GatewayService::service_full_name()),
      tiers_(tiers),
      admission_(admission),
      monitor_(monitor),
      environment_{.admission = &admission,
                   .language = tiers.language.get(),
                   .retries = tiers.retries.get(),
                   .request_timeout = request_timeout,
                   .metrics = &metrics,
                   .tracer = &tracer},
      analyze_environment_{.admission = &admission,
                           .vision = tiers.vision.get(),
                           .language = tiers.language.get(),
                           .retries = tiers.retries.get(),
                           .model = [&monitor] { return monitor.model(); },
                           .request_timeout = request_timeout,
                           .metrics = &metrics,
                           .tracer = &tracer} {
  AddUnary("Ask", Identified<Unary>(&GatewayService::Ask));
  AddServerStream("AskStream", Identified<ServerStream>(&GatewayService::AskStream));
  AddUnary("AnalyzeImage", Identified<Unary>(&GatewayService::AnalyzeImage));
  AddUnary("PlanContext", Identified<Unary>(&GatewayService::PlanContext, Line::kAll));
  AddUnary("Tokenize", Identified<Unary>(&GatewayService::Tokenize, Line::kAll));
  AddUnary("Detokenize", Identified<Unary>(&GatewayService::Detokenize, Line::kAll));
  AddUnary("GetModel", Identified<Unary>(&GatewayService::GetModel, Line::kFailed));
}

template <typename Method, typename Keyed>
RawService::Open<Method> GatewayService::Identified(Keyed method, Line line) {
  return [this, method, line](const grpc::CallbackServerContext& context) {
    auto caller = admission_.callers().Identify(context);
    auto message = admission_.pending_messages().Begin(caller.ok() ? *caller : nullptr);
    return Opened<Method>{.method = [this, method, caller](auto... call) { return (this->*method)(caller, call...); },
                          .reads = caller.ok(),
                          .patience = message.patience,
                          .place = std::move(message.place),
                          .line = line,
                          .key_name = caller.ok() && *caller != nullptr ? (*caller)->name : ""};
  };
}

grpc::ServerUnaryReactor* GatewayService::Ask(const absl::StatusOr<Caller>& caller,
                                              grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response) {
  return StartAsk(environment_, caller, context, *request, response);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GatewayService::AskStream(const absl::StatusOr<Caller>& caller,
                                                                      grpc::CallbackServerContext* context,
                                                                      const grpc::ByteBuffer* request) {
  return StartAskStream(environment_, caller, context, *request);
}

GatewayService::TextMemory GatewayService::Read(const absl::StatusOr<Caller>& caller, const grpc::ByteBuffer& request,
                                                google::protobuf::Message& message) const {
  DIPTYCH_RETURN_IF_ERROR(caller.status());
  DIPTYCH_RETURN_IF_ERROR(CheckTextRequest(request));
  auto memory = std::make_shared<Admission::Memory>();
  DIPTYCH_ASSIGN_OR_RETURN(*memory, admission_.ReserveText(*caller, static_cast<int64_t>(request.Length())));
  DIPTYCH_RETURN_IF_ERROR(TakeRequest(request, message, [&](int64_t more) { return memory->Grow(more); }));
  return memory;
}

GatewayService::TextMemory GatewayService::Admit(const absl::StatusOr<Caller>& caller, const grpc::ByteBuffer& request,
                                                 google::protobuf::Message& message) const {
  DIPTYCH_RETURN_IF_ERROR(caller.status());
  DIPTYCH_RETURN_IF_ERROR(admission_.gate().CheckRate(*caller));
  return Read(caller, request, message);
}

grpc::ServerUnaryReactor* GatewayService::PlanContext(const absl::StatusOr<Caller>& caller,
                                                      grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  v1::PlanContextRequest plan;
  TextMemory memory = Admit(caller, *request, plan);
  if (!memory.ok()) return ReplyNow(*context, memory.status());
  if (const absl::Status status = CheckPlanRequest(plan); !status.ok()) return ReplyNow(*context, status);
  auto model = monitor_.model();
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
      *context, *std::move(memory), tiers_, std::move(count), response, send,
      [this, caller = *caller, plan = std::move(plan),
       model = *std::move(model)](const v1::CountTokensResponse& counts) -> absl::StatusOr<v1::PlanContextResponse> {
        DIPTYCH_RETURN_IF_ERROR(CheckClaims(counts));
        admission_.gate().Charge(caller, TokensOf(counts));
        return gateway::PlanContext(plan, model, counts);
      });
}

grpc::ServerUnaryReactor* GatewayService::Tokenize(const absl::StatusOr<Caller>& caller,
                                                   grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  v1::TokenizeRequest asked;
  TextMemory memory = Admit(caller, *request, asked);
  if (!memory.ok()) return ReplyNow(*context, memory.status());
  const auto model = monitor_.model();
  if (!model) return ReplyNow(*context, NoReplica());
  v1::EncodePromptRequest prompt;
  prompt.set_prompt(std::move(*asked.mutable_prompt()));
  *prompt.mutable_turns() = std::move(*asked.mutable_turns());
  prompt.set_images(asked.images());
  prompt.set_without_bos(asked.without_bos());
  const auto send = [this](auto... call) { tiers_.language->Pick()->async()->EncodePrompt(std::move(call)...); };
  return AskTokenizer<v1::EncodePromptRequest, v1::EncodePromptResponse>(
      *context, *std::move(memory), tiers_, std::move(prompt), response, send,
      [this, caller = *caller,
       window = model->window_tokens()](v1::EncodePromptResponse& encoded) -> absl::StatusOr<v1::TokenizeResponse> {
        admission_.gate().Charge(caller, encoded.token_ids_size());
        v1::TokenizeResponse answer;
        *answer.mutable_token_ids() = std::move(*encoded.mutable_token_ids());
        answer.set_window_tokens(window);
        return answer;
      });
}

grpc::ServerUnaryReactor* GatewayService::Detokenize(const absl::StatusOr<Caller>& caller,
                                                     grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  v1::DetokenizeRequest asked;
  TextMemory memory = Admit(caller, *request, asked);
  if (!memory.ok()) return ReplyNow(*context, memory.status());
  v1::DecodeTokensRequest tokens;
  *tokens.mutable_token_ids() = std::move(*asked.mutable_token_ids());
  const int count = tokens.token_ids_size();
  const auto send = [this](auto... call) { tiers_.language->Pick()->async()->DecodeTokens(std::move(call)...); };
  return AskTokenizer<v1::DecodeTokensRequest, v1::DecodeTokensResponse>(
      *context, *std::move(memory), tiers_, std::move(tokens), response, send,
      [this, caller = *caller, count](v1::DecodeTokensResponse& decoded) -> absl::StatusOr<v1::DetokenizeResponse> {
        admission_.gate().Charge(caller, count);
        v1::DetokenizeResponse answer;
        answer.set_text(std::move(*decoded.mutable_text()));
        return answer;
      });
}

grpc::ServerUnaryReactor* GatewayService::AnalyzeImage(const absl::StatusOr<Caller>& caller,
                                                       grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return StartAnalyzeImage(analyze_environment_, caller, context, *request, response);
}

grpc::ServerUnaryReactor* GatewayService::GetModel(const absl::StatusOr<Caller>& caller,
                                                   grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  v1::GetModelRequest read;
  TextMemory memory = Read(caller, *request, read);
  if (!memory.ok()) return ReplyNow(*context, memory.status());
  auto* reactor = new UnaryReply(*context, *std::move(memory));
  DescribeTiers(tiers_, [this, reactor, response](TierReports reports) {
    auto merged = MergeReports(reports);
    if (!merged.ok()) return reactor->Finish(ToGrpcStatus(merged.status()));
    *merged->mutable_limits() = admission_.ToProto();
    merged->set_version(std::string(Version()));
    if (admission_.separates_callers()) LeaveOutWhatTells(*merged);
    *response = SerializeMessage(*merged);
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

}  // namespace diptych::gateway
