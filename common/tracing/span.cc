#include "common/tracing/span.h"

#include <algorithm>
#include <utility>

#include "common/error_details.h"
#include "common/tracing/span_exporter.h"
#include "opentelemetry/proto/trace/v1/trace.pb.h"

namespace diptych {
namespace {

using Message = opentelemetry::proto::trace::v1::Span;

constexpr uint32_t kKnowsIfRemote = 0x100;
constexpr uint32_t kParentIsRemote = 0x200;

Message::SpanKind ToProto(SpanKind kind) {
  switch (kind) {
    case SpanKind::kServer:
      return Message::SPAN_KIND_SERVER;
    case SpanKind::kClient:
      return Message::SPAN_KIND_CLIENT;
    case SpanKind::kInternal:
      break;
  }
  return Message::SPAN_KIND_INTERNAL;
}

// On the clock that other processes have, too.
uint64_t UnixNanoseconds(SteadyTime time) {
  const auto at = std::chrono::system_clock::now() + (time - SteadyClock::now());
  return static_cast<uint64_t>(std::chrono::nanoseconds(at.time_since_epoch()).count());
}

template <size_t size>
std::string BytesOf(const std::array<uint8_t, size>& id) {
  return {id.begin(), id.end()};
}

// For a server only some codes are its fault; for a client every error is a failure.
bool IsFault(absl::StatusCode code, SpanKind kind) {
  switch (code) {
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDataLoss:
      return true;
    default:
      return code != absl::StatusCode::kOk && kind != SpanKind::kServer;
  }
}

}  // namespace

Span::Span(TraceContext context) : context_(std::move(context)) {}

Span::Span(SpanExporter* exporter, TraceContext context, std::array<uint8_t, 8> parent, std::string_view name,
           SpanKind kind, SteadyTime start)
    : exporter_(exporter), context_(std::move(context)), kind_(kind), data_(std::make_unique<Message>()) {
  data_->set_trace_id(BytesOf(context_.trace_id));
  data_->set_span_id(BytesOf(context_.span_id));
  if (parent != decltype(parent)()) data_->set_parent_span_id(BytesOf(parent));
  data_->set_trace_state(context_.state);
  data_->set_flags(context_.flags | kKnowsIfRemote | (kind == SpanKind::kServer ? kParentIsRemote : 0));
  data_->set_name(std::string(name));
  data_->set_kind(ToProto(kind));
  data_->set_start_time_unix_nano(UnixNanoseconds(start));
  if (kind == SpanKind::kInternal) return;
  Set("rpc.system.name", "grpc");
  Set("rpc.method", name);
}

Span::Span(Span&& other) noexcept = default;
Span& Span::operator=(Span&& other) noexcept = default;
Span::~Span() = default;

void Span::Set(std::string_view name, std::string_view value) {
  if (!recorded() || value.empty()) return;
  auto& attribute = *data_->add_attributes();
  attribute.set_key(std::string(name));
  attribute.mutable_value()->set_string_value(std::string(value));
}

void Span::SetCount(std::string_view name, int64_t value) {
  if (!recorded()) return;
  auto& attribute = *data_->add_attributes();
  attribute.set_key(std::string(name));
  attribute.mutable_value()->set_int_value(value);
}

void Span::AddEvent(std::string_view name, SteadyTime at) {
  if (!recorded()) return;
  auto& event = *data_->add_events();
  event.set_name(std::string(name));
  event.set_time_unix_nano(UnixNanoseconds(at));
}

Span Span::Child(std::string_view name, SpanKind kind, SteadyTime start) const {
  if (!recorded()) return Span(context_);
  TraceContext context = context_;
  context.span_id = NewSpanId();
  return Span(exporter_, std::move(context), context_.span_id, name, kind, start);
}

void Span::AddPart(std::string_view name, SteadyTime start, SteadyDuration took) const {
  if (recorded() && took > SteadyDuration::zero()) {
    Child(name, SpanKind::kInternal, start).End(absl::OkStatus(), start + took);
  }
}

void Span::End(const absl::Status& status, SteadyTime end) {
  if (!recorded()) return;
  if (kind_ != SpanKind::kInternal) Set("rpc.response.status_code", absl::StatusCodeToString(status.code()));
  if (!status.ok()) Set("error.type", PublicReasonOf(status));
  if (!status.ok()) Set("diptych.stage", DetailOf(status, detail::kStage));
  if (IsFault(status.code(), kind_)) {
    data_->mutable_status()->set_code(opentelemetry::proto::trace::v1::Status::STATUS_CODE_ERROR);
  }
  data_->set_end_time_unix_nano(std::max(UnixNanoseconds(end), data_->start_time_unix_nano()));
  exporter_->Add(std::move(*data_));
  data_.reset();
}

std::string RecordedTraceOf(const Span& span) {
  return span.recorded() ? TraceIdOf(span.context()) : "";
}

}  // namespace diptych
