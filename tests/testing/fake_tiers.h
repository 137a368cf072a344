// Tiers whose answers a test writes, served by a real gRPC server in the test's process.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "common/grpc/server.h"
#include "diptych/v1/language.grpc.pb.h"
#include "diptych/v1/vision.grpc.pb.h"

namespace diptych::testing {

// The descriptions that both fakes give unless told otherwise.
v1::ModelDescription FakeLanguageModel();
v1::ModelDescription FakeVisionModel();

// One message of each kind. The final answer's stages are 1 to 14 ms and its total is their sum.
v1::GenerateResponse StartedMessage(const std::string& request_id = "");
v1::GenerateResponse DeltaMessage(const std::string& text, int token_id);
v1::GenerateResponse FinishedMessage(const std::string& text);

// What both fakes say of any image: 2 × 3 patches of 14 pixels; two queries, the first of which looks at the class
// token alone and the second at the last patch alone.
v1::AnalyzeVisionResponse FakeVisionAnalysis();
v1::AnalyzeQueriesResponse FakeQueryAnalysis();

// What scripts wrote in calls that have ended is seen from now on, and what was written here by the scripts of calls to
// come. For those who know of both by another process, which ThreadSanitizer does not see.
void MeetScripts();

class FakeLanguageTier final : public v1::LanguageService::Service {
 public:
  using Writer = grpc::ServerWriter<v1::GenerateResponse>;
  // `call` counts from 1. The default answers "a red circle" in two deltas.
  using Script = std::function<grpc::Status(int call, grpc::ServerContext*, const v1::GenerateRequest&, Writer*)>;
  using Analysis =
      std::function<grpc::Status(grpc::ServerContext*, const v1::AnalyzeQueriesRequest&, v1::AnalyzeQueriesResponse*)>;

  // Starts a server on a free port; ready unless told otherwise.
  explicit FakeLanguageTier(Script script = nullptr);

  std::string target() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  int calls() const { return calls_; }
  // Callers choose only among replicas that serve.
  void SetServing(bool ready) { server_->SetReady(ready ? absl::OkStatus() : absl::UnavailableError("not yet")); }
  // Stops listening and ends all calls.
  void Kill() { server_.reset(); }

  v1::ModelDescription model = FakeLanguageModel();
  v1::TierLoad load;
  v1::CountTokensResponse token_count;
  v1::EncodePromptResponse encoded;
  v1::DecodeTokensResponse decoded;
  std::atomic<int> lost_texts = 0;         // calls about texts that are still to end as UNAVAILABLE
  std::atomic<int> lost_descriptions = 0;  // likewise, of GetLanguageModel
  std::function<void()> before_decoding;   // called by DecodeTokens; may be null
  Analysis analysis;                       // of AnalyzeQueries; null: FakeQueryAnalysis

 private:
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request, Writer* writer) override;
  grpc::Status AnalyzeQueries(grpc::ServerContext* context, const v1::AnalyzeQueriesRequest* request,
                              v1::AnalyzeQueriesResponse* response) override;
  grpc::Status CountTokens(grpc::ServerContext* context, const v1::CountTokensRequest* request,
                           v1::CountTokensResponse* response) override;
  grpc::Status EncodePrompt(grpc::ServerContext* context, const v1::EncodePromptRequest* request,
                            v1::EncodePromptResponse* response) override;
  grpc::Status DecodeTokens(grpc::ServerContext* context, const v1::DecodeTokensRequest* request,
                            v1::DecodeTokensResponse* response) override;
  grpc::Status GetLanguageModel(grpc::ServerContext* context, const v1::GetLanguageModelRequest* request,
                                v1::GetLanguageModelResponse* response) override;

  const Script script_;
  std::atomic<int> calls_ = 0;
  std::unique_ptr<GrpcServer> server_;
};

// Describes itself and analyses; encodes nothing.
class FakeVisionTier final
    : public v1::VisionService::WithStreamedUnaryMethod_AnalyzeVision<v1::VisionService::Service> {
 public:
  using Analysis =
      std::function<grpc::Status(grpc::ServerContext*, const v1::AnalyzeVisionRequest&, v1::AnalyzeVisionResponse*)>;

  FakeVisionTier();
  std::string target() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  void Kill() { server_.reset(); }

  v1::ModelDescription model = FakeVisionModel();
  Analysis analysis;                       // of AnalyzeVision; null: FakeVisionAnalysis
  std::atomic<int> lost_descriptions = 0;  // calls of GetVisionModel that are still to end as UNAVAILABLE
  bool never_ends = false;                 // after its analysis: nothing, until the caller cancels
  std::atomic<int> left = 0;               // calls that their callers cancelled then

 private:
  using Analyses = grpc::ServerUnaryStreamer<v1::AnalyzeVisionRequest, v1::AnalyzeVisionResponse>;

  grpc::Status StreamedAnalyzeVision(grpc::ServerContext* context, Analyses* call) override;
  void AwaitCancel(grpc::ServerContext& context);
  grpc::Status GetVisionModel(grpc::ServerContext* context, const v1::GetVisionModelRequest* request,
                              v1::GetVisionModelResponse* response) override;

  std::unique_ptr<GrpcServer> server_;
};

// An address where nobody listens.
std::string DeadTarget();

}  // namespace diptych::testing
