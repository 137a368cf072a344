// LanguageService as gRPC sees it: translates, and holds no state of its own.
#pragma once

#include <functional>

#include "common/grpc/raw_service.h"
#include "language_service/generate_call.h"

namespace diptych::language {

// Thread-safe.
class LanguageService final : public RawService {
 public:
  // `stats` gives the numbers of the moment.
  LanguageService(const GenerateContext& shared, std::function<LanguageStats()> stats);

 private:
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request);
  grpc::ServerUnaryReactor* AnalyzeQueries(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* CountTokens(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* EncodePrompt(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* DecodeTokens(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response);
  grpc::ServerUnaryReactor* GetLanguageModel(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                             grpc::ByteBuffer* response);

  const GenerateContext shared_;
  const std::function<LanguageStats()> stats_;
};

}  // namespace diptych::language
