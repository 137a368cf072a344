#include "common/tracing/span_exporter.h"

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <utility>

#include "common/grpc/callback_threads.h"
#include "common/grpc/channel.h"
#include "common/grpc/steady_deadline.h"
#include "common/logging/log.h"
#include "common/mutex.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h"

namespace diptych {
namespace {

namespace otlp = opentelemetry::proto::collector::trace::v1;
using SpanMessage = opentelemetry::proto::trace::v1::Span;

constexpr size_t kMaxWaiting = 8192;  // spans, of about half a kilobyte
constexpr int kMaxBatch = 512;        // spans
constexpr int kMaxAttempts = 5;
constexpr std::chrono::milliseconds kPause(500);  // in which a batch fills
constexpr std::chrono::seconds kFirstBackoff(1);  // doubles with each attempt
constexpr std::chrono::seconds kPatience(10);     // of one attempt
constexpr std::chrono::seconds kLastPatience(2);  // of the end of the process

// As OTLP has it: these may pass when the same is sent again.
bool IsPassing(grpc::StatusCode code) {
  constexpr std::array kPassing = {grpc::StatusCode::CANCELLED,          grpc::StatusCode::DEADLINE_EXCEEDED,
                                   grpc::StatusCode::RESOURCE_EXHAUSTED, grpc::StatusCode::ABORTED,
                                   grpc::StatusCode::OUT_OF_RANGE,       grpc::StatusCode::UNAVAILABLE,
                                   grpc::StatusCode::DATA_LOSS};
  return std::find(kPassing.begin(), kPassing.end(), code) != kPassing.end();
}

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& endpoint) {
  KeepCallbackThreads();
  grpc::ChannelArguments arguments;
  RefuseCompressedMessages(arguments);
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
}

void AddAttribute(opentelemetry::proto::resource::v1::Resource& resource, const char* name, const std::string& value) {
  auto& attribute = *resource.add_attributes();
  attribute.set_key(name);
  attribute.mutable_value()->set_string_value(value);
}

Counter CountDropped(MetricRegistry& registry, const char* reason) {
  return registry.AddCounter("diptych_spans_dropped_total", "Spans that the collector did not get.",
                             {{"reason", reason}});
}

otlp::ExportTraceServiceRequest EmptyRequest(const SpanSource& source) {
  otlp::ExportTraceServiceRequest request;
  auto& spans = *request.add_resource_spans();
  AddAttribute(*spans.mutable_resource(), "service.name", source.service);
  AddAttribute(*spans.mutable_resource(), "service.version", source.version);
  AddAttribute(*spans.mutable_resource(), "service.instance.id", source.instance);
  spans.add_scope_spans()->mutable_scope()->set_name("diptych");
  return request;
}

}  // namespace

class SpanExporter::Sender final : public std::enable_shared_from_this<Sender> {
 public:
  Sender(const std::string& endpoint, const SpanSource& source, const SpanMetrics& metrics)
      : endpoint_(endpoint),
        stub_(otlp::TraceService::NewStub(OpenChannel(endpoint))),
        batch_(EmptyRequest(source)),
        metrics_(metrics) {}

  void Add(SpanMessage span) {
    MutexLock lock(mutex_);
    if (waiting_.size() >= kMaxWaiting) return metrics_.no_room.Add();
    waiting_.push_back(std::move(span));
    if (state_ == State::kIdle) return Wait(kPause);
    // A batch that is to be sent again keeps its pause.
    if (state_ == State::kPausing && waiting_.size() >= kMaxBatch && spans().empty()) alarm_->Cancel();
  }

  void Close() {
    MutexLock lock(mutex_);
    closing_ = true;
    if (state_ == State::kPausing) alarm_->Cancel();
    const auto end = SteadyClock::now() + kLastPatience;
    while (state_ != State::kIdle && idle_.WaitUntil(lock, end)) {
    }
    if (state_ == State::kIdle) return;
    gives_up_ = true;
    if (context_ != nullptr) context_->TryCancel();
    while (state_ != State::kIdle) idle_.Wait(lock);
  }

 private:
  enum class State { kIdle, kPausing, kSending };  // idle: nothing waits

  google::protobuf::RepeatedPtrField<SpanMessage>& spans() {
    return *batch_.mutable_resource_spans(0)->mutable_scope_spans(0)->mutable_spans();
  }

  void Wait(std::chrono::milliseconds pause) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    state_ = State::kPausing;
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(SteadyClock::now() + pause, [self = shared_from_this()](bool) mutable {
      // The alarm keeps this function as long as it lives, so the reference is taken out of it.
      const std::shared_ptr<Sender> sender = std::move(self);
      sender->Send();
    });
  }

  void Send() {
    MutexLock lock(mutex_);
    state_ = State::kSending;
    if (spans().empty()) FillBatch();
    context_ = std::make_unique<grpc::ClientContext>();
    context_->set_deadline(SteadyClock::now() + kPatience);
    if (gives_up_) context_->TryCancel();
    ++attempts_;
    grpc::ClientContext* const context = context_.get();
    lock.Unlock();
    stub_->async()->Export(context, &batch_, &response_,
                           [self = shared_from_this()](const grpc::Status& status) { self->OnSent(status); });
  }

  void FillBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    attempts_ = 0;
    while (!waiting_.empty() && spans().size() < kMaxBatch) {
      *spans().Add() = std::move(waiting_.front());
      waiting_.pop_front();
    }
  }

  void OnSent(const grpc::Status& status) {
    MutexLock lock(mutex_);
    Report(status);
    if (!status.ok() && IsPassing(status.error_code()) && attempts_ < kMaxAttempts && !closing_) {
      return Wait(kFirstBackoff * (1 << (attempts_ - 1)));
    }
    CountBatch(status.ok());
    if (closing_ && !status.ok()) {
      metrics_.refused.Add(static_cast<double>(waiting_.size()));
      waiting_.clear();
    }
    if (!waiting_.empty()) return Wait(waiting_.size() < kMaxBatch && !closing_ ? kPause : kPause * 0);
    state_ = State::kIdle;
    idle_.NotifyAll();
  }

  void CountBatch(bool taken) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int64_t all = spans().size();
    const int64_t refused = taken ? std::clamp<int64_t>(response_.partial_success().rejected_spans(), 0, all) : all;
    metrics_.exported.Add(static_cast<double>(all - refused));
    metrics_.refused.Add(static_cast<double>(refused));
    spans().Clear();
  }

  // Once for each time that it begins and ends.
  void Report(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (std::exchange(failing_, !status.ok()) == failing_) return;
    if (status.ok()) return spdlog::info("spans reach --otlp_endpoint={} again", endpoint_);
    spdlog::warn("no spans reach --otlp_endpoint={}: code {}; is a collector listening there?", endpoint_,
                 static_cast<int>(status.error_code()));
  }

  const std::string endpoint_;
  const std::unique_ptr<otlp::TraceService::Stub> stub_;
  Mutex mutex_;
  CondVar idle_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kIdle;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool gives_up_ ABSL_GUARDED_BY(mutex_) = false;
  bool failing_ ABSL_GUARDED_BY(mutex_) = false;
  int attempts_ ABSL_GUARDED_BY(mutex_) = 0;  // with this batch
  std::deque<SpanMessage> waiting_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::ClientContext> context_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
  // The call's while one is on its way, else guarded by the mutex.
  otlp::ExportTraceServiceRequest batch_;  // empty but while it is being sent, again and again
  otlp::ExportTraceServiceResponse response_;
  SpanMetrics metrics_;
};

SpanMetrics::SpanMetrics(MetricRegistry& registry)
    : exported(registry.AddCounter("diptych_spans_exported_total", "Spans that the collector has taken.")),
      no_room(CountDropped(registry, "queue_full")),
      refused(CountDropped(registry, "collector")) {}

SpanExporter::SpanExporter(const std::string& endpoint, const SpanSource& source, const SpanMetrics& metrics)
    : sender_(std::make_shared<Sender>(endpoint, source, metrics)) {}

SpanExporter::~SpanExporter() {
  sender_->Close();
}

void SpanExporter::Add(opentelemetry::proto::trace::v1::Span span) {
  sender_->Add(std::move(span));
}

}  // namespace diptych
