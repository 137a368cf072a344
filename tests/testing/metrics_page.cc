#include "tests/testing/metrics_page.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace diptych::testing {
namespace {

bool IsName(std::string_view text) {
  if (text.empty() || absl::ascii_isdigit(static_cast<unsigned char>(text[0]))) return false;
  for (const unsigned char c : text) {
    if (!absl::ascii_isalnum(c) && c != '_' && c != ':') return false;
  }
  return true;
}

// Takes what stands before `end` off the front of `rest`, with `end`.
bool TakeUntil(std::string_view& rest, std::string_view end, std::string& taken) {
  const size_t at = rest.find(end);
  if (at == std::string_view::npos) return false;
  taken = std::string(rest.substr(0, at));
  rest.remove_prefix(at + end.size());
  return true;
}

// A quoted label value after its opening quote, with the closing one.
bool TakeValue(std::string_view& rest, std::string& value) {
  for (size_t i = 0; i < rest.size(); ++i) {
    char c = rest[i];
    if (c == '"') {
      rest.remove_prefix(i + 1);
      return true;
    }
    if (c == '\\') {
      if (++i == rest.size() || (rest[i] != 'n' && rest[i] != '"' && rest[i] != '\\')) return false;
      c = rest[i] == 'n' ? '\n' : rest[i];
    }
    value += c;
  }
  return false;
}

bool TakeLabels(std::string_view& rest, Labels& labels) {
  while (!rest.empty() && rest[0] != '}') {
    std::string name, value;
    if (!TakeUntil(rest, "=\"", name) || !IsName(name) || !TakeValue(rest, value)) return false;
    if (!labels.emplace(name, value).second) return false;
    if (!rest.empty() && rest[0] == ',') rest.remove_prefix(1);
  }
  if (rest.empty()) return false;
  rest.remove_prefix(1);
  return true;
}

// The metric that the sample `name` belongs to, null if it was not announced.
const MetricsPage::Metric* MetricOf(const MetricsPage& page, const std::string& name) {
  if (const auto found = page.metrics.find(name); found != page.metrics.end()) return &found->second;
  for (const char* suffix : {"_bucket", "_sum", "_count"}) {
    if (!absl::EndsWith(name, suffix)) continue;
    const auto found = page.metrics.find(std::string(absl::StripSuffix(name, suffix)));
    if (found != page.metrics.end() && (found->second.type == "histogram" || found->second.type == "summary")) {
      return &found->second;
    }
  }
  return nullptr;
}

bool ParseSample(std::string_view line, MetricsPage& page) {
  const size_t name_end = line.find_first_of("{ ");
  if (name_end == std::string_view::npos) return false;
  const std::string name(line.substr(0, name_end));
  line.remove_prefix(name_end);
  Labels labels;
  if (line[0] == '{') {
    line.remove_prefix(1);
    if (!TakeLabels(line, labels)) return false;
  }
  if (line.empty() || line[0] != ' ') return false;
  double value = 0;
  if (!absl::SimpleAtod(absl::string_view(line.data() + 1, line.size() - 1), &value)) return false;
  const auto* metric = MetricOf(page, name);
  if (!IsName(name) || metric == nullptr || metric->help.empty() || metric->type.empty()) return false;
  return page.samples.emplace(std::pair(name, labels), value).second;
}

bool ParseComment(std::string_view line, MetricsPage& page) {
  const std::vector<std::string> words =
      absl::StrSplit(absl::string_view(line.data(), line.size()), absl::MaxSplits(' ', 3));
  if (words.size() != 4 || !IsName(words[2])) return false;
  auto& metric = page.metrics[words[2]];
  std::string& field = words[1] == "TYPE" ? metric.type : metric.help;
  if ((words[1] != "TYPE" && words[1] != "HELP") || !field.empty()) return false;
  field = words[3];
  return true;
}

absl::Status CheckBuckets(const MetricsPage& page) {
  // Samples of one histogram with the same other labels, by rising bound.
  std::map<std::pair<std::string, Labels>, std::map<double, double>> histograms;
  for (const auto& [key, value] : page.samples) {
    auto [name, labels] = key;
    if (!absl::EndsWith(name, "_bucket")) continue;
    double bound = 0;
    if (!absl::SimpleAtod(labels["le"], &bound)) return absl::InvalidArgumentError("a bucket without a bound");
    labels.erase("le");
    histograms[{std::string(absl::StripSuffix(name, "_bucket")), labels}][bound] = value;
  }
  for (const auto& [key, buckets] : histograms) {
    double before = 0;
    for (const auto& [bound, count] : buckets) {
      if (count < before) return absl::InvalidArgumentError(absl::StrCat("buckets of ", key.first, " fall"));
      before = count;
    }
    const bool complete = std::isinf(buckets.rbegin()->first);
    if (!complete || page.Value(key.first + "_count", key.second) != before) {
      return absl::InvalidArgumentError(absl::StrCat("buckets of ", key.first, " disagree with its count"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

double MetricsPage::Value(const std::string& name, const Labels& labels) const {
  const auto found = samples.find({name, labels});
  return found != samples.end() ? found->second : std::numeric_limits<double>::quiet_NaN();
}

double MetricsPage::Total(const std::string& name) const {
  double total = 0;
  for (const auto& [key, value] : samples) total += key.first == name ? value : 0;
  return total;
}

absl::StatusOr<MetricsPage> ParseMetricsPage(std::string_view text) {
  MetricsPage page;
  for (const auto line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n', absl::SkipEmpty())) {
    const std::string_view view(line.data(), line.size());
    if (!(view[0] == '#' ? ParseComment(view, page) : ParseSample(view, page))) {
      return absl::InvalidArgumentError(absl::StrCat("not understood: ", line));
    }
  }
  const absl::Status buckets = CheckBuckets(page);
  if (!buckets.ok()) return buckets;
  return page;
}

int Send(int port, std::string_view bytes) {
  const int connection = socket(AF_INET, SOCK_STREAM, 0);
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return connection;
  while (!bytes.empty()) {
    const ssize_t sent = send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return connection;
}

std::string ReadToEnd(int connection) {
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = recv(connection, buffer, sizeof(buffer), 0)) > 0;) answer.append(buffer, static_cast<size_t>(n));
  close(connection);
  return answer;
}

std::string Exchange(int port, std::string_view bytes) {
  return ReadToEnd(Send(port, bytes));
}

MetricsPage Scrape(int port) {
  const std::string answer = Exchange(port, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 200 OK\r\n")) << answer.substr(0, 200);
  const size_t body = answer.find("\r\n\r\n");
  const auto page = ParseMetricsPage(body == std::string::npos ? "" : std::string_view(answer).substr(body + 4));
  EXPECT_TRUE(page.ok()) << page.status();
  return page.ok() ? *page : MetricsPage();
}

}  // namespace diptych::testing
