// Any text as the values of headers and as an address: Host, traceparent with tracestate, a gRPC target.
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "common/grpc/metadata.h"
#include "common/network/http_host.h"
#include "common/network/listen_address.h"
#include "common/tracing/trace_context.h"
#include "tests/fuzz/checks.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::headers {
namespace {

// Where no name is allowed, only this machine's and numbers may pass.
void CheckHost(std::string_view host) {
  if (!diptych::IsAllowedHost(host, {})) return;
  const bool number = std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return std::isxdigit(c) || c == '.' || c == ':' || c == '[' || c == ']';
  });
  Require(number || absl::StartsWithIgnoreCase(absl::string_view(host.data(), host.size()), "localhost"));
}

void CheckTrace(std::string_view parent, std::string_view state) {
  const diptych::TraceContext trace = diptych::ParseTraceContext(parent, state);
  if (!trace.exists()) return;
  const std::string written = diptych::ToTraceparent(trace);
  Require(diptych::IsMetadataValue(written) && (trace.state.empty() || diptych::IsMetadataValue(trace.state)));
  const diptych::TraceContext again = diptych::ParseTraceContext(written, trace.state);
  Require(again.trace_id == trace.trace_id && again.span_id == trace.span_id && again.flags == trace.flags);
  Require(again.state == trace.state);
}

void CheckAddress(std::string_view address) {
  if (const auto read = diptych::ParseHostPort(address); read.ok()) {
    Require(!read->host.empty());
    (void)diptych::IsLoopback(read->host);
  }
  if (!diptych::CheckTargetPorts(address).ok()) return;
  for (const diptych::TargetAddress& target : diptych::TargetAddresses(address)) {
    Require(!target.port || diptych::IsTargetPort(*target.port));
  }
}

}  // namespace

DIPTYCH_FUZZ_TARGET(headers) {
  std::string_view input = diptych::fuzz::TextOf(data, size);
  CheckHost(input);
  CheckAddress(input);
  const std::string_view parent = diptych::fuzz::TakePart(input);
  CheckTrace(parent, input);
  return 0;
}

}  // namespace diptych::fuzz::headers
