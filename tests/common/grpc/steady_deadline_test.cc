#include "common/grpc/steady_deadline.h"

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <future>

#include "common/grpc/call_context.h"
#include "diptych/v1/vision.grpc.pb.h"

namespace {

std::atomic<bool> somebody_sets_it = false;
std::atomic<int64_t> looks = 0;

}  // namespace

// The clock of this whole program. While somebody sets it, each look at the wall clock finds it an hour earlier than
// the one before: whatever lasts by it lasts hours.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const auto result = static_cast<int>(syscall(SYS_clock_gettime, clock, time));
  if (clock == CLOCK_REALTIME && somebody_sets_it) time->tv_sec -= 3600 * ++looks;
  return result;
}

namespace diptych {
namespace {

using std::chrono::seconds;

class Watched final : public v1::VisionService::Service {
 public:
  grpc::Status GetVisionModel(grpc::ServerContext* context, const v1::GetVisionModelRequest*,
                              v1::GetVisionModelResponse*) override {
    seen.set_value({context->raw_deadline().clock_type, MakeCallContext(*context, seconds(5000))->deadline()});
    over.get_future().wait();
    return grpc::Status::OK;
  }

  std::promise<std::pair<gpr_clock_type, SteadyTime>> seen;
  std::promise<void> over;
};

class SteadyDeadlineTest : public ::testing::Test {
 protected:
  SteadyDeadlineTest() { somebody_sets_it = true; }
  ~SteadyDeadlineTest() override { somebody_sets_it = false; }
};

TEST_F(SteadyDeadlineTest, IsTheSameOnBothSides) {
  const SteadyTime now = SteadyClock::now();
  for (const SteadyTime time : {now, now + seconds(7), SteadyTime(), SteadyTime::max()}) {
    EXPECT_EQ(FromGrpcTime(ToGrpcTime(time)), time);
  }
  EXPECT_EQ(FromGrpcTime(gpr_inf_future(GPR_CLOCK_REALTIME)), SteadyTime::max());
  EXPECT_GE(FromGrpcTime(gpr_time_from_seconds(7, GPR_TIMESPAN)), now + seconds(7));
}

TEST_F(SteadyDeadlineTest, OfACallIsNoneOfTheWallClock) {
  Watched watched;
  grpc::ServerBuilder builder;
  builder.RegisterService(&watched);
  const auto server = builder.BuildAndStart();
  const auto stub = v1::VisionService::NewStub(server->InProcessChannel({}));
  grpc::ClientContext context;
  const SteadyTime deadline = SteadyClock::now() + seconds(600);
  context.set_deadline(deadline);
  v1::GetVisionModelResponse response;
  auto call = std::async(std::launch::async, [&] { return stub->GetVisionModel(&context, {}, &response); });
  const auto [clock, seen] = watched.seen.get_future().get();
  EXPECT_EQ(clock, GPR_CLOCK_MONOTONIC);
  EXPECT_LE(seen, deadline);
  EXPECT_GE(seen, deadline - seconds(1)) << "a margin comes off";
  watched.over.set_value();
  EXPECT_TRUE(call.get().ok());
  server->Shutdown(SteadyClock::now() + seconds(60));
}

TEST_F(SteadyDeadlineTest, OfAnAlarmIsNoneOfTheWallClock) {
  std::promise<bool> rang;
  grpc::Alarm alarm;
  alarm.Set(SteadyClock::now() + std::chrono::milliseconds(20), [&](bool in_time) { rang.set_value(in_time); });
  auto ring = rang.get_future();
  if (ring.wait_for(seconds(60)) != std::future_status::ready) alarm.Cancel();
  EXPECT_TRUE(ring.get());
}

}  // namespace
}  // namespace diptych
