#include "tests/testing/fake_tiers.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

#include "common/stage_clock.h"

namespace diptych::testing {
namespace {

std::atomic<int> meetings = 0;

std::unique_ptr<GrpcServer> Serve(grpc::Service* service, const char* name) {
  auto server = GrpcServer::Start(
      {.service_name = name, .max_receive_bytes = 128 << 20, .drain_timeout = absl::ZeroDuration()}, {service});
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", server.status().ToString().c_str());
    std::abort();
  }
  (*server)->SetReady(absl::OkStatus());
  return *std::move(server);
}

void AddPart(v1::ModelDescription& model, const char* name, int64_t parameters) {
  auto* part = model.add_parts();
  part->set_name(name);
  part->set_parameters(parameters);
  part->set_bytes(4 * parameters);
  part->set_dtype("float32");
}

grpc::Status AnswerByDefault(FakeLanguageTier::Writer* writer, const v1::GenerateRequest& request) {
  writer->Write(StartedMessage(request.question().request_id()));
  writer->Write(DeltaMessage("a red", 5));
  writer->Write(DeltaMessage(" circle", 6));
  v1::GenerateResponse finished = FinishedMessage("a red circle");
  finished.mutable_finished()->set_request_id(request.question().request_id());
  writer->Write(finished);
  return grpc::Status::OK;
}

}  // namespace

v1::ModelDescription FakeLanguageModel() {
  v1::ModelDescription model;
  model.set_name("fake");
  model.set_fingerprint("f00d");
  model.set_dtype("float32");
  model.set_device("cpu");
  AddPart(model, "qformer", 200);
  AddPart(model, "projection", 10);
  AddPart(model, "language", 1000);
  model.set_window_tokens(2048);
  model.set_patch_size(14);
  model.set_image_size(224);
  model.set_query_tokens(32);
  model.set_visual_tokens(257);
  model.set_visual_width(1408);
  model.set_default_max_new_tokens(20);
  return model;
}

v1::ModelDescription FakeVisionModel() {
  v1::ModelDescription model = FakeLanguageModel();
  model.clear_parts();
  AddPart(model, "vision", 500);
  return model;
}

v1::GenerateResponse StartedMessage(const std::string& request_id) {
  v1::GenerateResponse message;
  message.mutable_started()->set_request_id(request_id);
  message.mutable_started()->set_model("fake");
  message.mutable_started()->mutable_context_budget()->set_window(2048);
  return message;
}

v1::GenerateResponse DeltaMessage(const std::string& text, int token_id) {
  v1::GenerateResponse message;
  message.mutable_delta()->set_text(text);
  message.mutable_delta()->add_token_ids(token_id);
  return message;
}

v1::GenerateResponse FinishedMessage(const std::string& text) {
  v1::GenerateResponse message;
  v1::Answer& answer = *message.mutable_finished();
  answer.set_text(text);
  for (const int id : {5, 6}) answer.add_token_ids(id);
  answer.add_prompt_token_ids(2);
  answer.set_finish_reason(v1::FINISH_REASON_STOP);
  answer.mutable_usage()->set_prompt_tokens(40);
  answer.mutable_usage()->set_completion_tokens(2);
  answer.mutable_usage()->set_total_tokens(42);
  answer.set_model("fake");
  v1::ContextBudget& budget = *answer.mutable_context_budget();
  budget.set_window(2048);
  budget.set_image_tokens(32);
  budget.set_text_tokens(8);
  budget.set_reserved_output(20);
  budget.set_generated(2);
  budget.set_remaining(2006);
  budget.set_dense_patch_tokens(256);
  StageClock clock{SteadyTime{}};
  SteadyTime now{};
  for (int stage = 1; stage < static_cast<int>(Stage::kCount); ++stage) {
    clock.Lap(static_cast<Stage>(stage), now += std::chrono::milliseconds(stage));
  }
  *answer.mutable_timings() = clock.ToProto(now);
  answer.mutable_timings()->set_decode_tokens_per_second(100);
  return message;
}

v1::AnalyzeVisionResponse FakeVisionAnalysis() {
  v1::AnalyzeVisionResponse response;
  response.set_model_fingerprint(FakeVisionModel().fingerprint());
  response.mutable_image_size()->set_height(64);
  response.mutable_image_size()->set_width(96);
  response.set_pixel_height(28);
  response.set_pixel_width(42);
  response.set_patch_size(14);
  response.set_tokens(7);
  response.set_width(1408);
  response.set_mean_norm(2.5);
  response.mutable_cls_attention()->mutable_patches()->set_rows(2);
  response.mutable_cls_attention()->mutable_patches()->set_columns(3);
  for (int i = 0; i < 6; ++i) response.mutable_cls_attention()->mutable_patches()->add_values(0.125f);
  response.mutable_cls_attention()->set_class_token(0.25f);
  response.set_prepared_image("a PNG file");
  return response;
}

v1::AnalyzeQueriesResponse FakeQueryAnalysis() {
  v1::AnalyzeQueriesResponse response;
  for (const bool looks_at_patch : {false, true}) {
    v1::AttentionMap& map = *response.add_query_attention();
    map.mutable_patches()->set_rows(2);
    map.mutable_patches()->set_columns(3);
    for (int i = 0; i < 6; ++i) map.mutable_patches()->add_values(looks_at_patch && i == 5 ? 1 : 0);
    map.set_class_token(looks_at_patch ? 0 : 1);
  }
  return response;
}

void MeetScripts() {
  ++meetings;
}

FakeLanguageTier::FakeLanguageTier(Script script)
    : script_(std::move(script)), server_(Serve(this, v1::LanguageService::service_full_name())) {
  token_count.set_text_tokens(9);
}

grpc::Status FakeLanguageTier::Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                                        Writer* writer) {
  const int call = ++calls_;
  if (script_ == nullptr) return AnswerByDefault(writer, *request);
  MeetScripts();
  const grpc::Status status = script_(call, context, *request, writer);
  MeetScripts();
  return status;
}

grpc::Status FakeLanguageTier::AnalyzeQueries(grpc::ServerContext* context, const v1::AnalyzeQueriesRequest* request,
                                              v1::AnalyzeQueriesResponse* response) {
  if (analysis) return analysis(context, *request, response);
  *response = FakeQueryAnalysis();
  return grpc::Status::OK;
}

grpc::Status FakeLanguageTier::CountTokens(grpc::ServerContext*, const v1::CountTokensRequest*,
                                           v1::CountTokensResponse* response) {
  if (lost_texts-- > 0) return {grpc::StatusCode::UNAVAILABLE, "lost"};
  *response = token_count;
  return grpc::Status::OK;
}

grpc::Status FakeLanguageTier::EncodePrompt(grpc::ServerContext*, const v1::EncodePromptRequest*,
                                            v1::EncodePromptResponse* response) {
  if (lost_texts-- > 0) return {grpc::StatusCode::UNAVAILABLE, "lost"};
  *response = encoded;
  return grpc::Status::OK;
}

grpc::Status FakeLanguageTier::DecodeTokens(grpc::ServerContext*, const v1::DecodeTokensRequest*,
                                            v1::DecodeTokensResponse* response) {
  if (before_decoding) before_decoding();
  if (lost_texts-- > 0) return {grpc::StatusCode::UNAVAILABLE, "lost"};
  *response = decoded;
  return grpc::Status::OK;
}

grpc::Status FakeLanguageTier::GetLanguageModel(grpc::ServerContext*, const v1::GetLanguageModelRequest*,
                                                v1::GetLanguageModelResponse* response) {
  if (lost_descriptions-- > 0) return {grpc::StatusCode::UNAVAILABLE, "lost"};
  *response->mutable_model() = model;
  *response->mutable_load() = load;
  return grpc::Status::OK;
}

FakeVisionTier::FakeVisionTier() : server_(Serve(this, v1::VisionService::service_full_name())) {}

grpc::Status FakeVisionTier::StreamedAnalyzeVision(grpc::ServerContext* context, Analyses* call) {
  v1::AnalyzeVisionRequest request;
  if (!call->Read(&request)) return grpc::Status::CANCELLED;
  v1::AnalyzeVisionResponse response = FakeVisionAnalysis();
  const grpc::Status status = analysis ? analysis(context, request, &response) : grpc::Status::OK;
  if (!status.ok()) return status;
  call->Write(response);
  if (never_ends) AwaitCancel(*context);
  return grpc::Status::OK;
}

void FakeVisionTier::AwaitCancel(grpc::ServerContext& context) {
  while (!context.IsCancelled()) std::this_thread::yield();
  ++left;
}

grpc::Status FakeVisionTier::GetVisionModel(grpc::ServerContext*, const v1::GetVisionModelRequest*,
                                            v1::GetVisionModelResponse* response) {
  if (lost_descriptions-- > 0) return {grpc::StatusCode::UNAVAILABLE, "lost"};
  *response->mutable_model() = model;
  return grpc::Status::OK;
}

std::string DeadTarget() {
  // A port that was free a moment ago; GrpcServer binds and gives it back.
  v1::VisionService::Service nobody;
  const auto server = Serve(&nobody, v1::VisionService::service_full_name());
  return "127.0.0.1:" + std::to_string(server->port());
}

}  // namespace diptych::testing
