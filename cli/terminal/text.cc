#include "cli/terminal/text.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/stage_clock.h"

namespace diptych::cli {
namespace {

bool StartsCodePoint(char c) {
  return (static_cast<uint8_t>(c) & 0xC0) != 0x80;
}

double Seconds(const google::protobuf::Duration& duration) {
  return std::chrono::duration<double>(FromProtoDuration(duration)).count();
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const bool c0 = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F;
    const bool c1 = byte == 0xC2 && i + 1 < text.size() && static_cast<uint8_t>(text[i + 1]) < 0xA0;  // U+0080..9F
    if (c1) ++i;
    out.push_back(c0 || c1 ? '?' : text[i]);
  }
  return out;
}

size_t Columns(std::string_view text) {
  return std::count_if(text.begin(), text.end(), StartsCodePoint);
}

std::string Shorten(const std::string& text, size_t columns) {
  if (Columns(text) <= columns) return text;
  size_t end = 0;
  for (size_t seen = 0; end < text.size(); ++end) {
    if (StartsCodePoint(text[end]) && ++seen == columns) break;
  }
  return absl::StrCat(text.substr(0, end), "…");
}

std::string FormatTable(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                        const std::vector<size_t>& right) {
  std::vector<size_t> widths(header.size());
  const auto widen = [&](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Columns(row[i]));
  };
  widen(header);
  for (const auto& row : rows) widen(row);
  std::string table;
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - Columns(row[i]), ' ');
      const bool to_right = std::find(right.begin(), right.end(), i) != right.end();
      absl::StrAppend(&line, i == 0 ? "" : "  ", to_right ? padding : "", row[i], to_right ? "" : padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&table, line, "\n");
  };
  add(header);
  for (const auto& row : rows) add(row);
  return table;
}

std::string FormatSeconds(double seconds) {
  if (seconds >= 1) return absl::StrFormat("%.2f s", seconds);
  if (seconds >= 0.01) return absl::StrFormat("%.0f ms", seconds * 1000);
  return absl::StrFormat("%.1f ms", seconds * 1000);
}

std::string FormatCount(int64_t count) {
  std::string digits = absl::StrCat(count);
  for (int at = static_cast<int>(digits.size()) - 3; at > (count < 0 ? 1 : 0); at -= 3) digits.insert(at, 1, ',');
  return digits;
}

std::string FormatBytes(int64_t bytes) {
  if (bytes >= 1'000'000'000) return absl::StrFormat("%.1f GB", static_cast<double>(bytes) / 1e9);
  if (bytes >= 1'000'000) return absl::StrFormat("%.1f MB", static_cast<double>(bytes) / 1e6);
  return absl::StrFormat("%.1f kB", static_cast<double>(bytes) / 1e3);
}

std::string TimingLine(const v1::Answer& answer) {
  const v1::StageTimings& t = answer.timings();
  const struct {
    const char* name;
    const google::protobuf::Duration& duration;
  } kStages[] = {
      {"image decode", t.image_decode()}, {"resize", t.image_resize()},
      {"vision queue", t.vision_queue()}, {"vit", t.vit()},
      {"transfer", t.token_transfer()},   {"language queue", t.language_queue()},
      {"tokenize", t.tokenize()},         {"q-former", t.qformer()},
      {"prefill", t.prefill()},           {"decode", t.decode()},
      {"detokenize", t.detokenize()},     {"gateway", t.gateway()},
      {"other", t.unattributed()},
  };
  std::string stages;
  for (const auto& stage : kStages) {
    const double milliseconds = Seconds(stage.duration) * 1000;
    if (milliseconds < 0.05) continue;
    absl::StrAppend(&stages, stages.empty() ? "" : ", ", stage.name, " ", absl::StrFormat("%.1f", milliseconds));
  }
  std::string line = absl::StrCat("time ", FormatSeconds(Seconds(t.total())), ": ", stages, " ms; first token after ",
                                  FormatSeconds(Seconds(t.time_to_first_token())));
  if (t.decode_tokens_per_second() > 0)
    absl::StrAppendFormat(&line, ", then %.0f tokens/s", t.decode_tokens_per_second());
  return line;
}

std::string BudgetLine(const v1::ContextBudget& budget) {
  std::string line = absl::StrCat("context ", FormatCount(budget.window()), " tokens: ");
  if (budget.image_tokens() > 0) absl::StrAppend(&line, "image ", budget.image_tokens(), " + ");
  if (budget.history_tokens() > 0) absl::StrAppend(&line, "history ", budget.history_tokens(), " + ");
  absl::StrAppend(&line, "text ", budget.text_tokens(), " + answer ", budget.generated(), ", ",
                  FormatCount(budget.remaining()), " left");
  if (budget.image_tokens() > 0) {
    absl::StrAppend(&line, "; without the Q-Former the image would take ", FormatCount(budget.dense_patch_tokens()));
  }
  if (budget.turns_dropped() > 0) absl::StrAppend(&line, "; ", budget.turns_dropped(), " oldest turns left out");
  return line;
}

bool OnTerminal() {
  return isatty(STDOUT_FILENO) != 0;
}

}  // namespace diptych::cli
