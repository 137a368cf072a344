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

namespace {

constexpr size_t kBetweenColumns = 2;
constexpr size_t kNarrowestColumn = 8;  // unless all in it is shorter

struct TableColumn {
  bool to_right = false;
  size_t width = 0;
  size_t word = 0;  // the longest, which is broken only where nothing else helps

  void Hold(const std::string& cell) {
    width = std::max(width, Columns(cell));
    for (const absl::string_view part : absl::StrSplit(cell, ' ')) {
      word = std::max(word, Columns(std::string_view(part.data(), part.size())));
    }
  }
  std::string Pad(const std::string& text) const { return to_right ? PadLeft(text, width) : PadRight(text, width); }
};

// Takes from the widest column that can be narrower, until the table fits or none can.
void Narrow(std::vector<TableColumn>& layout, size_t columns) {
  size_t total = kBetweenColumns * (layout.size() - 1);
  for (const TableColumn& column : layout) total += column.width;
  const auto widest = [&](auto&& least) {
    TableColumn* found = nullptr;
    for (TableColumn& column : layout) {
      if (column.width > least(column) && (found == nullptr || column.width > found->width)) found = &column;
    }
    return found;
  };
  for (; total > columns; --total) {
    TableColumn* column = widest([](const TableColumn& c) { return std::max<size_t>(c.word, 1); });
    if (column == nullptr) column = widest([](const TableColumn&) { return kNarrowestColumn; });
    if (column == nullptr) return;
    --column->width;
  }
}

// As many lines as the cell that takes most.
std::string FormatRow(const std::vector<TableColumn>& layout, const std::vector<std::string>& row) {
  std::vector<std::vector<std::string>> cells;
  size_t height = 1;
  for (size_t i = 0; i < row.size(); ++i) {
    const bool fits = Columns(row[i]) <= layout[i].width;
    cells.push_back(fits ? std::vector<std::string>{row[i]} : WrapText(row[i], layout[i].width));
    height = std::max(height, cells.back().size());
  }
  std::string text;
  for (size_t at = 0; at < height; ++at) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) line.append(kBetweenColumns, ' ');
      line += layout[i].Pad(at < cells[i].size() ? cells[i][at] : "");
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

}  // namespace

std::string FormatTable(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                        const std::vector<size_t>& right, size_t columns) {
  std::vector<TableColumn> layout(header.size());
  for (const size_t i : right) layout[i].to_right = true;
  const auto widen = [&](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size(); ++i) layout[i].Hold(row[i]);
  };
  widen(header);
  for (const auto& row : rows) widen(row);
  if (columns > 0) Narrow(layout, columns);
  std::string table = FormatRow(layout, header);
  for (const auto& row : rows) absl::StrAppend(&table, FormatRow(layout, row));
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
