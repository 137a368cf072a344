#include "common/tracing/trace_context.h"

#include <algorithm>
#include <iterator>
#include <random>
#include <set>
#include <span>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/grpc/metadata.h"
#include "common/hash.h"

namespace diptych {
namespace {

constexpr char kTraceparent[] = "traceparent";
constexpr char kTracestate[] = "tracestate";
constexpr size_t kVersion00Length = 55;  // of the whole value
constexpr size_t kMaxStateBytes = 512;
constexpr size_t kMaxStateMembers = 32;

// Lower case alone, as the specification has it; -1 for anything else.
int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// False unless `text` is two digits for each byte.
bool ReadHex(std::string_view text, std::span<uint8_t> bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int high = DigitOf(text[2 * i]), low = DigitOf(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return true;
}

bool IsZero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// version "-" trace id "-" span id "-" flags; a later version may add more after another dash.
bool HasForm(std::string_view text) {
  if (text.size() < kVersion00Length || text[2] != '-' || text[35] != '-' || text[52] != '-') return false;
  uint8_t version = 0;
  if (!ReadHex(text, {&version, 1}) || version == 0xff) return false;
  return text.size() == kVersion00Length || (version > 0 && text[kVersion00Length] == '-');
}

std::optional<TraceContext> ParseTraceparent(std::string_view text) {
  if (!HasForm(text)) return std::nullopt;
  TraceContext context;
  const bool read = ReadHex(text.substr(3), context.trace_id) && ReadHex(text.substr(36), context.span_id) &&
                    ReadHex(text.substr(53), {&context.flags, 1});
  if (!read || IsZero(context.trace_id) || IsZero(context.span_id)) return std::nullopt;
  context.flags &= kSampledFlag | kRandomFlag;
  return context;
}

bool IsStateKey(std::string_view key) {
  const auto is_other = [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_' || c == '-' || c == '*' || c == '/' || c == '@';
  };
  const bool begins = !key.empty() && (absl::ascii_islower(key[0]) || absl::ascii_isdigit(key[0]));
  return begins && key.size() <= 256 && std::all_of(key.begin(), key.end(), is_other) &&
         std::count(key.begin(), key.end(), '@') <= 1;
}

bool IsStateValue(std::string_view value) {
  const auto is_allowed = [](char c) { return c >= ' ' && c <= '~' && c != ',' && c != '='; };
  return !value.empty() && value.size() <= 256 && value.back() != ' ' &&
         std::all_of(value.begin(), value.end(), is_allowed);
}

// A list of key=value, which is passed on unread.
bool IsTracestate(std::string_view text) {
  if (text.size() > kMaxStateBytes) return false;
  std::set<std::string_view> keys;
  for (absl::string_view member : absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
    member = absl::StripAsciiWhitespace(member);
    if (member.empty()) continue;
    const std::string_view whole(member.data(), member.size());
    const size_t sign = whole.find('=');
    if (sign == whole.npos || !IsStateKey(whole.substr(0, sign)) || !IsStateValue(whole.substr(sign + 1))) return false;
    if (!keys.insert(whole.substr(0, sign)).second || keys.size() > kMaxStateMembers) return false;
  }
  return !keys.empty();
}

std::mt19937_64& Random() {
  thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(), device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return random;
}

// Never all zero, which would mean none.
void Draw(std::span<uint8_t> bytes) {
  do {
    std::generate(bytes.begin(), bytes.end(), [] { return static_cast<uint8_t>(Random()()); });
  } while (IsZero(bytes));
}

}  // namespace

bool TraceContext::sampled() const {
  return (flags & kSampledFlag) != 0;
}

TraceContext ParseTraceContext(std::string_view traceparent, std::string_view tracestate) {
  TraceContext context = ParseTraceparent(traceparent).value_or(TraceContext());
  if (!context.exists() || !IsTracestate(tracestate)) return context;
  std::string state(tracestate);
  std::replace(state.begin(), state.end(), '\t', ' ');  // metadata holds no tabs
  if (IsMetadataValue(state)) context.state = std::move(state);
  return context;
}

std::string ToTraceparent(const TraceContext& context) {
  return "00-" + ToHex(context.trace_id) + "-" + ToHex(context.span_id) + "-" + ToHex({&context.flags, 1});
}

std::string TraceIdOf(const TraceContext& context) {
  return context.exists() ? ToHex(context.trace_id) : "";
}

TraceContext NewTrace() {
  TraceContext context;
  Draw(context.trace_id);
  context.span_id = NewSpanId();
  return context;
}

std::array<uint8_t, 8> NewSpanId() {
  std::array<uint8_t, 8> id;
  Draw(id);
  return id;
}

TraceContext TraceContextOf(const grpc::ServerContextBase& context) {
  const auto& metadata = context.client_metadata();
  const auto parent = metadata.find(kTraceparent);
  if (parent == metadata.end() || metadata.count(kTraceparent) != 1) return {};
  const auto [begin, end] = metadata.equal_range(kTracestate);
  const std::string state = absl::StrJoin(begin, end, ",", [](std::string* text, const auto& each) {
    text->append(each.second.data(), each.second.size());
  });
  return ParseTraceContext({parent->second.data(), parent->second.size()}, state);
}

void SendTraceContext(grpc::ClientContext& context, const TraceContext& trace) {
  if (!trace.exists()) return;
  AddMetadata(context, kTraceparent, ToTraceparent(trace));
  if (!trace.state.empty()) AddMetadata(context, kTracestate, trace.state);
}

}  // namespace diptych
