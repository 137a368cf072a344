// Asks a Diptych server about an image: ask HOST:PORT IMAGE QUESTION
#include <google/protobuf/util/time_util.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>

#include "diptych/v1/gateway.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

using namespace diptych::v1;
using namespace std::chrono_literals;

struct Call : grpc::ClientContext {
  explicit Call(std::chrono::microseconds timeout) { set_deadline(std::chrono::system_clock::now() + timeout); }
};

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  details.ParseFromString(status.error_details());
  return details.details_size() > 0 && details.details(0).UnpackTo(&info) ? info.reason() : "";
}

int main(int count, char** words) {
  if (count != 4) return 2;
  std::ifstream file(words[2], std::ios::binary);
  AskRequest ask;
  ask.mutable_question()->add_images()->set_data(std::string(std::istreambuf_iterator<char>(file), {}));
  Turn* turn = ask.mutable_question()->add_turns();
  turn->set_role(ROLE_USER);
  turn->set_text(words[3]);
  const auto gateway = GatewayService::NewStub(grpc::CreateChannel(words[1], grpc::InsecureChannelCredentials()));
  AskResponse reply;
  Call first(30s), second(30s), third(30s), fourth(100us), fifth(30s);
  if (!gateway->Ask(&first, ask, &reply).ok()) return 1;
  const Answer& answer = reply.answer();
  std::cout << "answer: " << answer.text() << "\ntimings: vit " << answer.timings().vit() << " of "
            << answer.timings().total() << "\nbudget: " << answer.context_budget().image_tokens() << " image tokens, "
            << answer.context_budget().remaining() << " of " << answer.context_budget().window() << " left\nstreamed: ";
  AskStreamRequest streamed;
  *streamed.mutable_question() = ask.question();
  AskStreamResponse event;
  const auto stream = gateway->AskStream(&second, streamed);
  while (stream->Read(&event)) std::cout << event.delta().text() << std::flush;
  if (!stream->Finish().ok()) return 1;  // the end of the stream alone does not say that the answer is whole
  streamed.mutable_question()->mutable_generation()->set_min_new_tokens(60);
  streamed.mutable_question()->mutable_generation()->set_max_new_tokens(60);
  const auto cancelled = gateway->AskStream(&third, streamed);
  while (cancelled->Read(&event)) third.TryCancel();
  std::cout << "\ncancelled: " << (cancelled->Finish().error_code() == grpc::CANCELLED ? "CANCELLED" : "?");
  std::cout << "\ndeadline: " << (gateway->Ask(&fourth, ask, &reply).error_code() == 4 ? "DEADLINE_EXCEEDED" : "?");
  ask.mutable_question()->mutable_images(0)->set_data("no image");
  const grpc::Status refusal = gateway->Ask(&fifth, ask, &reply);
  std::cout << "\nrefused: " << (refusal.error_code() == grpc::INVALID_ARGUMENT ? "INVALID_ARGUMENT " : "? ")
            << ReasonOf(refusal) << std::endl;
}
