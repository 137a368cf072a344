// Asks a Diptych server about an image: ask HOST:PORT IMAGE QUESTION
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
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

int main(int, char** words) {
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
  const auto& budget = reply.answer().context_budget();
  std::cout << "answer: " << reply.answer().text() << "\ntimings: vit " << reply.answer().timings().vit().nanos() / 1e6
            << " ms of " << reply.answer().timings().total().nanos() / 1e6 << " ms\nbudget: " << budget.image_tokens()
            << " image tokens, " << budget.remaining() << " of " << budget.window() << " left\nstreamed: ";
  AskStreamRequest streamed;
  *streamed.mutable_question() = ask.question();
  AskStreamResponse event;
  const auto stream = gateway->AskStream(&second, streamed);
  while (stream->Read(&event)) std::cout << event.delta().text() << std::flush;
  streamed.mutable_question()->mutable_generation()->set_min_new_tokens(60);
  streamed.mutable_question()->mutable_generation()->set_max_new_tokens(60);
  const auto cancelled = gateway->AskStream(&third, streamed);
  while (cancelled->Read(&event)) third.TryCancel();
  std::cout << "\ncancelled: " << (cancelled->Finish().error_code() == grpc::CANCELLED ? "CANCELLED" : "?");
  std::cout << "\ndeadline: " << (gateway->Ask(&fourth, ask, &reply).error_code() == 4 ? "DEADLINE_EXCEEDED" : "?");
  ask.mutable_question()->mutable_images(0)->set_data("no image");
  std::cout << "\nrefused: INVALID_ARGUMENT " << ReasonOf(gateway->Ask(&fifth, ask, &reply)) << std::endl;
}
