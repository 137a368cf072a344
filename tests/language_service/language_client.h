// How the tests of the language service talk to it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/grpc/grpc_status.h"
#include "diptych/v1/language.grpc.pb.h"

namespace diptych::testing {}

namespace diptych::language::testing {

using namespace diptych::testing;  // NOLINT: one name for the doubles of this folder and of tests/testing

inline std::unique_ptr<v1::LanguageService::Stub> LanguageStub(int port) {
  return v1::LanguageService::NewStub(
      grpc::CreateChannel(absl::StrCat("ipv4:127.0.0.1:", port), grpc::InsecureChannelCredentials()));
}

inline v1::GenerateRequest TextRequest(const std::string& prompt) {
  v1::GenerateRequest request;
  request.mutable_question()->set_prompt(prompt);
  return request;
}

inline v1::GenerateRequest RequestWithImage(const std::string& image, const std::string& prompt) {
  v1::GenerateRequest request = TextRequest(prompt);
  request.mutable_question()->add_images()->set_data(image);
  return request;
}

struct GenerateOutcome {
  std::vector<v1::GenerateResponse> messages;
  absl::Status status;

  const v1::Started& started() const { return messages.front().started(); }
  const v1::Answer& answer() const { return messages.back().finished(); }
  std::string joined_deltas() const {
    std::string text;
    for (const auto& message : messages) text += message.delta().text();
    return text;
  }
  std::vector<int> delta_tokens() const {
    std::vector<int> ids;
    for (const auto& message : messages) {
      ids.insert(ids.end(), message.delta().token_ids().begin(), message.delta().token_ids().end());
    }
    return ids;
  }
};

// Reads the stream to its end.
inline GenerateOutcome Generate(v1::LanguageService::Stub& stub, const v1::GenerateRequest& request,
                                grpc::ClientContext& context) {
  GenerateOutcome outcome;
  const auto reader = stub.Generate(&context, request);
  v1::GenerateResponse message;
  while (reader->Read(&message)) outcome.messages.push_back(message);
  outcome.status = FromGrpcStatus(reader->Finish());
  return outcome;
}

inline GenerateOutcome Generate(v1::LanguageService::Stub& stub, const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  return Generate(stub, request, context);
}

}  // namespace diptych::language::testing
