// LanguageService as gRPC sees it: translates, and holds no state of its own.
#pragma once

#include <functional>
#include <utility>

#include "diptych/v1/language.grpc.pb.h"
#include "language_service/generate_call.h"

namespace diptych::language {

// All parse their own requests, so that they are bounded before and text which is not UTF-8 gets a reason.
using RawTextService = v1::LanguageService::WithRawCallbackMethod_CountTokens<
    v1::LanguageService::WithRawCallbackMethod_EncodePrompt<v1::LanguageService::WithRawCallbackMethod_DecodeTokens<
        v1::LanguageService::WithRawCallbackMethod_GetLanguageModel<v1::LanguageService::Service>>>>;
using RawLanguageService = v1::LanguageService::WithRawCallbackMethod_Generate<
    v1::LanguageService::WithRawCallbackMethod_AnalyzeQueries<RawTextService>>;

// Thread-safe.
class LanguageService final : public RawLanguageService {
 public:
  // `stats` gives the numbers of the moment.
  LanguageService(const GenerateContext& shared, std::function<LanguageStats()> stats)
      : shared_(shared), stats_(std::move(stats)) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* AnalyzeQueries(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* CountTokens(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* EncodePrompt(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DecodeTokens(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetLanguageModel(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                             grpc::ByteBuffer* response) override;

 private:
  const GenerateContext shared_;
  const std::function<LanguageStats()> stats_;
};

}  // namespace diptych::language
