#include "cli/terminal/text.h"

#include <wchar.h>

#include <algorithm>
#include <cstdint>
#include <cwchar>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/terminal/terminal.h"
#include "common/stage_clock.h"

namespace diptych::cli {
namespace {

struct Character {
  size_t bytes = 1, columns = 1;
};

// The character that `text`, which is not empty, begins with. A byte that is not UTF-8 is a character of its own.
Character FirstCharacter(std::string_view text) {
  static const bool kIsUtf8 = (UseUtf8(), true);
  (void)kIsUtf8;
  wchar_t character = 0;
  std::mbstate_t state = {};
  const size_t bytes = std::mbrtowc(&character, text.data(), text.size(), &state);
  if (bytes == 0 || bytes > text.size()) return {};
  const int columns = wcwidth(character);
  return {.bytes = bytes, .columns = columns < 0 ? 1 : static_cast<size_t>(columns)};
}

// Bytes of the longest beginning that takes no more than `columns`.
size_t BytesWithin(std::string_view text, size_t columns) {
  size_t end = 0;
  for (size_t used = 0; end < text.size();) {
    const Character next = FirstCharacter(text.substr(end));
    used += next.columns;
    if (used > columns) break;
    end += next.bytes;
  }
  return end;
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

std::string OneLine(std::string_view text) {
  std::string line = Printable(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return line;
}

size_t Columns(std::string_view text) {
  size_t columns = 0;
  while (!text.empty()) {
    const Character next = FirstCharacter(text);
    columns += next.columns;
    text.remove_prefix(next.bytes);
  }
  return columns;
}

std::string Shorten(const std::string& text, size_t columns) {
  if (Columns(text) <= columns) return text;
  return columns == 0 ? "" : absl::StrCat(text.substr(0, BytesWithin(text, columns - 1)), "…");
}

std::vector<std::string> WrapText(std::string_view text, size_t columns) {
  std::vector<std::string> lines;
  for (const absl::string_view paragraph : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    std::string line;
    for (absl::string_view rest : absl::StrSplit(paragraph, ' ')) {
      std::string word(rest);
      if (!line.empty() && Columns(line) + 1 + Columns(word) > columns) lines.push_back(std::exchange(line, ""));
      for (size_t cut; Columns(word) > columns && (cut = BytesWithin(word, columns)) > 0; word.erase(0, cut)) {
        lines.push_back(word.substr(0, cut));
      }
      absl::StrAppend(&line, line.empty() ? "" : " ", word);
    }
    lines.push_back(line);
  }
  return lines;
}

std::string PadRight(const std::string& text, size_t columns) {
  return text + std::string(columns - std::min(columns, Columns(text)), ' ');
}

std::string PadLeft(const std::string& text, size_t columns) {
  return std::string(columns - std::min(columns, Columns(text)), ' ') + text;
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
      const bool to_right = std::find(right.begin(), right.end(), i) != right.end();
      absl::StrAppend(&line, i == 0 ? "" : "  ", to_right ? PadLeft(row[i], widths[i]) : PadRight(row[i], widths[i]));
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
      {"detokenize", t.detokenize()},     {"delivery", t.delivery()},
      {"decode queue", t.decode_queue()}, {"relevance", t.relevance()},
      {"gateway", t.gateway()},           {"other", t.unattributed()},
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

}  // namespace diptych::cli
