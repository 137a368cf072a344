#include "cli/terminal/terminal.h"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdlib>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace diptych::cli {
namespace {

constexpr size_t kNarrowest = 20, kUsual = 80;

ColorChoice color_choice = ColorChoice::kAuto;

bool IsSet(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

bool ShowsColor(std::FILE* stream) {
  if (color_choice != ColorChoice::kAuto) return color_choice == ColorChoice::kAlways;
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal != nullptr && std::strcmp(terminal, "dumb") == 0;
  return IsTerminal(stream) && !dumb && !IsSet("NO_COLOR");
}

const char* CodeOf(Style style) {
  switch (style) {
    case Style::kDim:
      return "\033[2m";
    case Style::kGood:
      return "\033[32m";
    case Style::kBad:
      return "\033[1;31m";
  }
  return "";
}

// 0 if it is none or does not know.
size_t ColumnsOf(int descriptor) {
  winsize size = {};
  return ioctl(descriptor, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace

void UseUtf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) std::setlocale(LC_CTYPE, "C.UTF-8");
}

void ChooseColor(ColorChoice choice) {
  color_choice = choice;
}

std::string Styled(Style style, std::string_view text, std::FILE* stream) {
  if (!ShowsColor(stream)) return std::string(text);
  return absl::StrCat(CodeOf(style), absl::string_view(text.data(), text.size()), "\033[0m");
}

bool IsTerminal(std::FILE* stream) {
  return isatty(fileno(stream)) != 0;
}

size_t TerminalColumns() {
  size_t columns = ColumnsOf(STDOUT_FILENO);
  if (columns == 0) columns = ColumnsOf(STDERR_FILENO);
  const char* variable = std::getenv("COLUMNS");
  if (columns == 0 && (variable == nullptr || !absl::SimpleAtoi(variable, &columns))) columns = kUsual;
  return std::max(columns == 0 ? kUsual : columns, kNarrowest);
}

size_t OutputColumns() {
  return IsTerminal(stdout) ? TerminalColumns() : 0;
}

}  // namespace diptych::cli
