#include "tests/end_to_end/stack.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "common/files.h"
#include "common/grpc/grpc_status.h"
#include "tests/testing/paths.h"

namespace diptych::testing {
namespace {

std::vector<std::string> CommandLine(const std::string& binary, std::vector<std::string> flags) {
  flags.insert(flags.begin(), {binary, "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0"});
  return flags;
}

using Flags = std::vector<std::string>;
using Replicas = std::vector<std::unique_ptr<ServerProcess>>;

Replicas StartReplicas(int count, const std::string& binary, const std::string& model,
                       const std::vector<Flags>& more_flags) {
  Flags flags{"--model=" + model, "--threads=1"};
  for (const Flags& more : more_flags) flags.insert(flags.end(), more.begin(), more.end());
  Replicas replicas;
  for (int i = 0; i < count; ++i) replicas.push_back(std::make_unique<ServerProcess>(binary, flags));
  return replicas;
}

// "ipv4:host:port,host:port", which gRPC takes in turn.
std::string TargetOf(const Replicas& replicas) {
  return "ipv4:" +
         absl::StrJoin(replicas, ",", [](std::string* out, const auto& replica) { out->append(replica->address()); });
}

// The number after `name` in the line that says READY.
bool ReadNumber(ChildProcess& process, const std::string& name, int& number) {
  if (!process.WaitForOutput(name)) return false;
  const std::string rest = process.out().substr(process.out().find(name) + name.size());
  return absl::SimpleAtoi(rest.substr(0, rest.find_first_not_of("0123456789")), &number);
}

}  // namespace

ServerProcess::ServerProcess(const std::string& binary, std::vector<std::string> flags)
    : process_(CommandLine(binary, std::move(flags))) {
  const bool ready = process_.WaitForOutput("READY") && ReadNumber(process_, " port=", port_) &&
                     ReadNumber(process_, " metrics_port=", metrics_port_);
  if (!ready) {
    std::fprintf(stderr, "%s did not get ready:\n%s%s\n", binary.c_str(), process_.out().c_str(),
                 process_.err().c_str());
    std::abort();
  }
}

Stack::Stack(const StackOptions& options) {
  visions_ = StartReplicas(options.vision_replicas, BinaryPath("vision_service"), options.vision_model,
                           {options.tier_flags, options.vision_flags});
  languages_ = StartReplicas(options.language_replicas, BinaryPath("language_service"), options.language_model,
                             {{"--vision_target=" + TargetOf(visions_)}, options.tier_flags, options.language_flags});
  std::vector<std::string> flags = options.gateway_flags;
  flags.push_back("--http_listen=127.0.0.1:0");
  flags.push_back("--language_target=" + TargetOf(languages_));
  flags.push_back("--vision_target=" + TargetOf(visions_));
  gateway_ = std::make_unique<ServerProcess>(BinaryPath("gateway"), flags);
  channel_ = grpc::CreateChannel(gateway_->address(), grpc::InsecureChannelCredentials());
  stub_ = v1::GatewayService::NewStub(channel_);
}

absl::StatusOr<v1::Answer> Stack::Ask(const v1::Question& question) {
  grpc::ClientContext context;
  return Ask(question, context);
}

absl::StatusOr<v1::Answer> Stack::Ask(const v1::Question& question, grpc::ClientContext& context) {
  v1::AskRequest request;
  *request.mutable_question() = question;
  v1::AskResponse response;
  const grpc::Status status = stub_->Ask(&context, request, &response);
  if (!status.ok()) return FromGrpcStatus(status);
  return response.answer();
}

std::string ReadWhole(const std::string& file) {
  auto bytes = ReadFile(file, 64 << 20);
  if (!bytes.ok()) {
    std::fprintf(stderr, "%s: %s\n", file.c_str(), bytes.status().ToString().c_str());
    std::abort();
  }
  return *std::move(bytes);
}

std::string Sample(const std::string& name) {
  return ReadWhole(kDemoModel + "/samples/" + name);
}

v1::Question QuestionAbout(const std::string& image, const std::string& text) {
  v1::Question question;
  if (!image.empty()) question.add_images()->set_data(image);
  if (!text.empty()) {
    v1::Turn* turn = question.add_turns();
    turn->set_role(v1::ROLE_USER);
    turn->set_text(text);
  }
  return question;
}

}  // namespace diptych::testing
