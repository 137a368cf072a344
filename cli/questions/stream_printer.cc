#include "cli/questions/stream_printer.h"

#include <unistd.h>

#include <cstdio>
#include <string>

#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

// A line about the answer; dim on a terminal.
void PrintNote(const std::string& line) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  std::fprintf(stderr, "%s  %s%s\n", terminal ? "\033[2m" : "", line.c_str(), terminal ? "\033[0m" : "");
}

}  // namespace

absl::StatusOr<v1::Answer> StreamToTerminal(Client& client, const v1::Question& question) {
  bool begun = false;
  const auto show = [&begun](std::string text) {
    if (!begun) text.erase(0, text.find_first_not_of(" \n"));  // as the final text, which is trimmed
    begun |= !text.empty();
    std::fputs(Printable(text).c_str(), stdout);
    std::fflush(stdout);
  };
  auto answer = client.AskStream(question, show);
  if (begun || answer.ok()) std::fputs("\n", stdout);
  std::fflush(stdout);
  if (!answer.ok()) return answer;
  PrintNote(TimingLine(*answer));
  PrintNote(BudgetLine(answer->context_budget()));
  return answer;
}

}  // namespace diptych::cli
