#include "common/tracing/span_exporter.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/tracing/span.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h"

namespace diptych {
namespace {

namespace otlp = opentelemetry::proto::collector::trace::v1;

// Keeps what it takes.
class Collector final : public otlp::TraceService::Service {
 public:
  explicit Collector(int port = 0) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  // Lets calls that it holds back go.
  ~Collector() override {
    Hold(false);
    server_->Shutdown();
  }

  std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
  int port() const { return port_; }

  void Hold(bool held) {
    std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  // The next `times` calls fail.
  void Fail(grpc::StatusCode code, int times) {
    std::lock_guard lock(mutex_);
    code_ = code;
    failures_ = times;
  }
  void Refuse(int spans) { refuses_ = spans; }
  void AwaitSpans(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return names_.size() >= count; });
  }
  void AwaitCalls(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return calls_ >= count; });
  }
  std::vector<std::string> names() {
    std::lock_guard lock(mutex_);
    return names_;
  }

 private:
  grpc::Status Export(grpc::ServerContext* context, const otlp::ExportTraceServiceRequest* request,
                      otlp::ExportTraceServiceResponse* response) override {
    std::unique_lock lock(mutex_);
    ++calls_;
    changed_.notify_all();
    while (held_ && !context->IsCancelled()) changed_.wait_for(lock, std::chrono::milliseconds(20));
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
    if (failures_ > 0) {
      --failures_;
      return {code_, "as the test wants it"};
    }
    for (const auto& span : request->resource_spans(0).scope_spans(0).spans()) names_.push_back(span.name());
    changed_.notify_all();
    if (refuses_ > 0) response->mutable_partial_success()->set_rejected_spans(refuses_);
    return grpc::Status::OK;
  }

  int port_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  grpc::StatusCode code_ = grpc::StatusCode::OK;
  int failures_ = 0, refuses_ = 0, calls_ = 0;
  std::vector<std::string> names_;
  std::unique_ptr<grpc::Server> server_;
};

class SpanExporterTest : public ::testing::Test {
 protected:
  void Start(const std::string& endpoint) {
    exporter_ = std::make_unique<SpanExporter>(
        endpoint, SpanSource{.service = "diptych-test", .version = "1", .instance = "here"}, SpanMetrics(registry_));
  }
  // Ends `count` spans.
  void End(int count) {
    for (int i = 0; i < count; ++i) {
      TraceContext trace = NewTrace();
      Span(exporter_.get(), trace, {}, "span " + std::to_string(i), SpanKind::kServer, SteadyClock::now())
          .End(absl::OkStatus());
    }
  }
  bool Shows(const std::string& line) const { return registry_.Exposition().find(line + "\n") != std::string::npos; }

  MetricRegistry registry_;
  std::unique_ptr<SpanExporter> exporter_;
};

TEST_F(SpanExporterTest, TheEndSendsWhatWaits) {
  Collector collector;
  Start(collector.endpoint());
  End(3);
  exporter_ = nullptr;
  EXPECT_EQ(collector.names(), (std::vector<std::string>{"span 0", "span 1", "span 2"}));
  EXPECT_TRUE(Shows("diptych_spans_exported_total 3"));
}

TEST_F(SpanExporterTest, WhatAStoppedCollectorLeavesNoRoomForIsCounted) {
  Collector collector;
  collector.Hold(true);
  Start(collector.endpoint());
  End(1);
  collector.AwaitCalls(1);  // it is on its way
  End(8192 + 10);
  EXPECT_TRUE(Shows("diptych_spans_dropped_total{reason=\"queue_full\"} 10")) << registry_.Exposition();
  collector.Hold(false);
  collector.AwaitSpans(8192 + 1);
  exporter_ = nullptr;
  EXPECT_TRUE(Shows("diptych_spans_exported_total 8193")) << registry_.Exposition();
}

TEST_F(SpanExporterTest, ABatchIsSentAgainUntilItIsTaken) {
  Collector collector;
  collector.Fail(grpc::StatusCode::UNAVAILABLE, 1);
  Start(collector.endpoint());
  End(2);
  collector.AwaitSpans(2);
  exporter_ = nullptr;
  EXPECT_EQ(collector.names().size(), 2U) << "each once";
  EXPECT_TRUE(Shows("diptych_spans_exported_total 2"));
}

TEST_F(SpanExporterTest, WhatTheCollectorRefusesForGoodIsCountedAndNotSentAgain) {
  Collector collector;
  collector.Fail(grpc::StatusCode::INVALID_ARGUMENT, 1);
  Start(collector.endpoint());
  End(1);
  collector.AwaitCalls(1);
  End(3);
  collector.AwaitSpans(3);
  exporter_ = nullptr;
  EXPECT_EQ(collector.names().size(), 3U);
  EXPECT_TRUE(Shows("diptych_spans_dropped_total{reason=\"collector\"} 1")) << registry_.Exposition();
}

TEST_F(SpanExporterTest, SpansRefusedInPartAreCounted) {
  Collector collector;
  collector.Refuse(2);
  Start(collector.endpoint());
  End(5);
  exporter_ = nullptr;
  EXPECT_TRUE(Shows("diptych_spans_exported_total 3"));
  EXPECT_TRUE(Shows("diptych_spans_dropped_total{reason=\"collector\"} 2"));
}

TEST_F(SpanExporterTest, NoCollectorHoldsUpTheEnd) {
  Start("127.0.0.1:1");  // nobody listens there
  End(5);
  exporter_ = nullptr;
  EXPECT_TRUE(Shows("diptych_spans_dropped_total{reason=\"collector\"} 5"));
  Collector collector;
  collector.Hold(true);
  Start(collector.endpoint());
  End(5);
  exporter_ = nullptr;  // gives up after two seconds
  EXPECT_TRUE(Shows("diptych_spans_dropped_total{reason=\"collector\"} 10"));
}

TEST_F(SpanExporterTest, ASpanThatIsNotRecordedHandsItsContextOn) {
  Span none(ParseTraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "a=1"));
  const Span child = none.Child("child", SpanKind::kClient, SteadyClock::now());
  EXPECT_EQ(ToTraceparent(child.context()), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
  EXPECT_EQ(child.context().state, "a=1");
  none.Set("name", "value");
  none.End(absl::InternalError(""));
}

}  // namespace
}  // namespace diptych
