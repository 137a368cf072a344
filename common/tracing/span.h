// One timed part of a request in a trace.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/stage_clock.h"
#include "common/tracing/trace_context.h"

namespace opentelemetry::proto::trace::v1 {
class Span;
}

namespace diptych {

class SpanExporter;

enum class SpanKind { kServer, kClient, kInternal };

// Does nothing where its trace is not recorded, but for its context, which goes on to the calls made for it. One that
// is destroyed before End is not sent. Never given what a caller asked, showed or was answered, nor keys. Const members
// are thread-safe, the others thread-compatible.
class Span {
 public:
  // Recorded nowhere.
  explicit Span(TraceContext context = {});
  // `context` is its own; `parent` the id of the span above, all zero: none. `exporter` must outlive it.
  Span(SpanExporter* exporter, TraceContext context, std::array<uint8_t, 8> parent, std::string_view name,
       SpanKind kind, SteadyTime start);
  Span(Span&& other) noexcept;
  Span& operator=(Span&& other) noexcept;
  ~Span();

  // The context that calls made for it carry.
  const TraceContext& context() const { return context_; }
  bool recorded() const { return data_ != nullptr; }

  // Names as OpenTelemetry's conventions have them, our own with "diptych." before. Empty texts are left out.
  void Set(std::string_view name, std::string_view value);
  void SetCount(std::string_view name, int64_t value);
  void AddEvent(std::string_view name, SteadyTime at);

  Span Child(std::string_view name, SpanKind kind, SteadyTime start) const;
  // A child that is over already. Nothing if it took no time.
  void AddPart(std::string_view name, SteadyTime start, SteadyDuration took) const;

  // Call once; sends the span. Of an error it has the reason, never the message.
  void End(const absl::Status& status, SteadyTime end = SteadyClock::now());

 private:
  SpanExporter* exporter_ = nullptr;
  TraceContext context_;
  SpanKind kind_ = SpanKind::kInternal;
  std::unique_ptr<opentelemetry::proto::trace::v1::Span> data_;  // null: not recorded
};

// 32 lower-case hexadecimal digits; empty where the trace is not recorded.
std::string RecordedTraceOf(const Span& span);

}  // namespace diptych
