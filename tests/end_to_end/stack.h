// The three real processes on free ports with the demo model.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "tests/testing/child_process.h"
#include "tests/testing/paths.h"

namespace diptych::testing {

inline const std::string kDemoModel = RepositoryPath("models/demo");

// A server process that has said READY.
class ServerProcess {
 public:
  // Ends the test binary if the process does not get ready.
  ServerProcess(const std::string& binary, std::vector<std::string> flags);

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int metrics_port() const { return metrics_port_; }
  ChildProcess& process() { return process_; }

 private:
  ChildProcess process_;
  int port_ = 0;
  int metrics_port_ = 0;
};

struct StackOptions {
  std::string vision_model = kDemoModel;
  std::string language_model = kDemoModel;
  int vision_replicas = 1;
  int language_replicas = 1;
  std::vector<std::string> gateway_flags = {};
  std::vector<std::string> tier_flags = {};
  std::vector<std::string> vision_flags = {};
  std::vector<std::string> language_flags = {};
};

// Thread-safe apart from killing.
class Stack {
 public:
  explicit Stack(const StackOptions& options = {});

  v1::GatewayService::Stub& stub() { return *stub_; }
  std::shared_ptr<grpc::Channel> channel() { return channel_; }
  std::string address() const { return gateway_->address(); }

  absl::StatusOr<v1::Answer> Ask(const v1::Question& question);
  absl::StatusOr<v1::Answer> Ask(const v1::Question& question, grpc::ClientContext& context);

  ServerProcess& vision(int replica = 0) { return *visions_[replica]; }
  ServerProcess& language(int replica = 0) { return *languages_[replica]; }
  ServerProcess& gateway() { return *gateway_; }

 private:
  std::vector<std::unique_ptr<ServerProcess>> visions_;
  std::vector<std::unique_ptr<ServerProcess>> languages_;
  std::unique_ptr<ServerProcess> gateway_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::GatewayService::Stub> stub_;
};

// The bytes of a file; ends the test binary if there is none.
std::string ReadWhole(const std::string& file);
std::string Sample(const std::string& name);  // of models/demo/samples

// A question about one image ("" for none); an empty text asks for the caption.
v1::Question QuestionAbout(const std::string& image, const std::string& text);

// Tests that share one stack of the three processes.
class SharedStackTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { stack_ = new Stack; }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }
  static inline Stack* stack_ = nullptr;
};

}  // namespace diptych::testing
