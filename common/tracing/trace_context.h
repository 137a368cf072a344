// A request's place in its caller's trace, as in W3C Trace Context.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace diptych {

// A trace, a span in it, and what its caller decided. All zero: none.
struct TraceContext {
  std::array<uint8_t, 16> trace_id{};
  std::array<uint8_t, 8> span_id{};
  uint8_t flags = 0;       // kSampledFlag and kRandomFlag, no other
  std::string state = {};  // tracestate, as it came; empty: none

  bool exists() const { return trace_id != decltype(trace_id)(); }  // NOLINT(readability-container-size-empty)
  bool sampled() const;
};

inline constexpr uint8_t kSampledFlag = 0x01;  // the caller records this trace
inline constexpr uint8_t kRandomFlag = 0x02;   // the trace id's last 7 bytes are random

// What `traceparent` says; none for a value that is not exactly of its form, for zero ids and for version ff. Versions
// that are not known yet are read as far as version 00 goes.
TraceContext ParseTraceContext(std::string_view traceparent, std::string_view tracestate);

// The value of `traceparent`. Requires: context.exists().
std::string ToTraceparent(const TraceContext& context);

// 32 lower-case hexadecimal digits; empty where there is none.
std::string TraceIdOf(const TraceContext& context);

// A trace of its own, with random ids and neither flag nor state. Thread-safe.
TraceContext NewTrace();
// A random one. Thread-safe.
std::array<uint8_t, 8> NewSpanId();

// The context that a call brought. Several traceparents count as none, several tracestates as one list.
TraceContext TraceContextOf(const grpc::ServerContextBase& context);
// Sends it on; nothing where there is none.
void SendTraceContext(grpc::ClientContext& context, const TraceContext& trace);

}  // namespace diptych
