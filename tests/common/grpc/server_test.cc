#include "common/grpc/server.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "diptych/v1/vision.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"

namespace diptych {
namespace {

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = GrpcServer::Start({.service_name = v1::VisionService::service_full_name()}, {&service_});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials());
  }

  // `Reflection` is the service under one of its names. Fills the request's oneof with `ask`.
  template <typename Reflection, typename Request, typename Response>
  Response Reflect(const std::function<void(Request&)>& ask) {
    grpc::ClientContext context;
    const auto stream = Reflection::NewStub(channel_)->ServerReflectionInfo(&context);
    Request request;
    ask(request);
    Response response;
    EXPECT_TRUE(stream->Write(request) && stream->Read(&response));
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
    return response;
  }

  template <typename Reflection, typename Request, typename Response>
  void ExpectDescribed() {
    const auto list = Reflect<Reflection, Request, Response>([](Request& request) { request.set_list_services(""); });
    std::vector<std::string> services;
    for (const auto& service : list.list_services_response().service()) services.push_back(service.name());
    EXPECT_THAT(services, ::testing::UnorderedElementsAre("diptych.v1.VisionService", "grpc.health.v1.Health",
                                                          "grpc.reflection.v1.ServerReflection",
                                                          "grpc.reflection.v1alpha.ServerReflection"));
    for (const std::string& service : services) {
      const auto found = Reflect<Reflection, Request, Response>(
          [&](Request& request) { request.set_file_containing_symbol(service); });
      EXPECT_GT(found.file_descriptor_response().file_descriptor_proto_size(), 0) << service;
    }
    const auto missing = Reflect<Reflection, Request, Response>(
        [](Request& request) { request.set_file_containing_symbol("nobody.Service"); });
    EXPECT_EQ(missing.error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  }

  v1::VisionService::Service service_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(ServerTest, ReflectionDescribesEveryServiceUnderBothOfItsNames) {
  namespace now = grpc::reflection::v1;
  namespace before = grpc::reflection::v1alpha;
  ExpectDescribed<now::ServerReflection, now::ServerReflectionRequest, now::ServerReflectionResponse>();
  ExpectDescribed<before::ServerReflection, before::ServerReflectionRequest, before::ServerReflectionResponse>();
}

TEST_F(ServerTest, AFileComesWithWhatItImports) {
  namespace now = grpc::reflection::v1;
  const auto response = Reflect<now::ServerReflection, now::ServerReflectionRequest, now::ServerReflectionResponse>(
      [](now::ServerReflectionRequest& request) { request.set_file_by_filename("diptych/v1/vision.proto"); });
  std::set<std::string> files, imports;
  for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(bytes));
    EXPECT_TRUE(files.insert(file.name()).second) << file.name() << " comes twice";
    imports.insert(file.dependency().begin(), file.dependency().end());
  }
  imports.insert("diptych/v1/vision.proto");
  EXPECT_EQ(files, imports);
}

// gRPC itself would follow a null pointer.
TEST_F(ServerTest, ACallOfTheProcessesOwnAfterItsEndFails) {
  const auto stub = grpc::health::v1::Health::NewStub(server_->InProcessChannel());
  const auto check = [&] {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckResponse response;
    return stub->Check(&context, {}, &response).error_code();
  };
  EXPECT_EQ(check(), grpc::StatusCode::OK);
  server_->Drain();
  EXPECT_EQ(check(), grpc::StatusCode::UNAVAILABLE);
}

TEST(ServerAddressTest, ListensOnlyWhereItIsTold) {
  v1::VisionService::Service service;
  for (const char* address : {"127.0.0.1:80000", "127.0.0.1:65536", ":0", "127.0.0.1", "::1:0", "[::1]"}) {
    const absl::Status status =
        GrpcServer::Start({.service_name = v1::VisionService::service_full_name(), .listen = address}, {&service})
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_NE(status.message().find("--listen"), absl::string_view::npos) << status;
  }
}

TEST(ProtoOptionsTest, EveryLanguageGetsItsPackage) {
  for (const char* name : {"gateway", "inference", "language", "vision"}) {
    const auto* file = google::protobuf::DescriptorPool::generated_pool()->FindFileByName(std::string("diptych/v1/") +
                                                                                          name + ".proto");
    if (file == nullptr) continue;  // not linked into this test
    EXPECT_EQ(file->options().go_package(), "diptych/v1;diptychv1") << name;
    EXPECT_EQ(file->options().java_package(), "com.diptych.v1") << name;
    EXPECT_TRUE(file->options().java_multiple_files()) << name;
    EXPECT_EQ(file->options().csharp_namespace(), "Diptych.V1") << name;
  }
}

}  // namespace
}  // namespace diptych
