#include "cli/questions/stream_printer.h"

#include <cstdio>
#include <optional>
#include <string>

#include "cli/terminal/progress.h"
#include "cli/terminal/terminal.h"
#include "cli/terminal/text.h"

namespace diptych::cli {
namespace {

// A line about the answer; dim on a terminal.
void PrintNote(const std::string& line) {
  std::fprintf(stderr, "%s\n", Styled(Style::kDim, "  " + line, stderr).c_str());
}

}  // namespace

absl::StatusOr<v1::Answer> StreamToTerminal(Client& client, const v1::Question& question) {
  bool begun = false;
  std::optional<Progress> waiting(std::in_place, "waiting for the answer", 0, false);
  const auto show = [&](std::string text) {
    waiting.reset();
    if (!begun) text.erase(0, text.find_first_not_of(" \n"));  // as the final text, which is trimmed
    begun |= !text.empty();
    std::fputs(Printable(text).c_str(), stdout);
    std::fflush(stdout);
  };
  auto answer = client.AskStream(question, show);
  waiting.reset();
  if (begun || answer.ok()) std::fputs("\n", stdout);
  std::fflush(stdout);
  if (!answer.ok()) return answer;
  PrintNote(TimingLine(*answer));
  PrintNote(BudgetLine(answer->context_budget()));
  return answer;
}

}  // namespace diptych::cli
