#include "common/grpc/health_service.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"

namespace diptych {
namespace {

using Response = grpc::health::v1::HealthCheckResponse;

// A caller with a connection of its own.
class Watcher {
 public:
  explicit Watcher(int port) {
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = grpc::health::v1::Health::NewStub(
        grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials(), own));
  }

  struct Watch {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<Response>> reader;
    bool serving = false;  // what came first
  };

  std::unique_ptr<Watch> Begin() {
    auto watch = std::make_unique<Watch>();
    watch->reader = stub_->Watch(&watch->context, {});
    Response response;
    watch->serving = watch->reader->Read(&response) && response.status() == Response::SERVING;
    return watch;
  }

 private:
  std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
};

TEST(HealthServiceTest, TheConnectionThatHasMostWatchesGivesOneUpForAnothers) {
  HealthService health(/*most_watches=*/3);
  health.Set("", true);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&health);
  const auto server = builder.BuildAndStart();
  Watcher crowd(port), honest(port);
  const auto oldest = crowd.Begin(), second = crowd.Begin(), third = crowd.Begin();
  EXPECT_TRUE(oldest->serving && second->serving && third->serving);
  const auto watch = honest.Begin();
  EXPECT_TRUE(watch->serving);
  EXPECT_EQ(oldest->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  const auto refused = crowd.Begin();
  EXPECT_FALSE(refused->serving);
  EXPECT_EQ(refused->reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  health.Close();
  for (const auto* kept : {&second, &third, &watch}) {
    EXPECT_EQ((*kept)->reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  }
}

}  // namespace
}  // namespace diptych
