// diptych chat: several turns about the same images; questions are lines of standard input.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/questions/json.h"
#include "cli/questions/question_options.h"
#include "cli/questions/stream_printer.h"
#include "cli/terminal/text.h"
#include "common/question_limits.h"

namespace diptych::cli {
namespace {

struct ChatOptions {
  CommonOptions common;
  QuestionOptions question;
  std::vector<std::string> images;
};

void AddTurn(v1::Question& question, v1::Role role, const std::string& text) {
  v1::Turn* turn = question.add_turns();
  turn->set_role(role);
  turn->set_text(text);
}

// Leaves out the oldest pairs that the server would refuse for their sheer size; of the rest it keeps what
// fits into the model's window.
void KeepWithinLimits(v1::Question& question) {
  const auto bytes = [&question] {
    size_t sum = 0;
    for (const v1::Turn& turn : question.turns()) sum += turn.text().size();
    return sum;
  };
  while (question.turns_size() > 2 && (question.turns_size() >= kMaxTurns || bytes() > kMaxTextBytes)) {
    question.mutable_turns()->DeleteSubrange(0, 2);
  }
}

absl::StatusOr<v1::Answer> AskOnce(Client& client, const ChatOptions& options, const v1::Question& question,
                                   const std::string& line) {
  if (!options.common.json) return StreamToTerminal(client, question);
  auto answer = client.Ask(question);
  if (answer.ok()) PrintJson(AnswerJson(absl::StrJoin(options.images, " "), line, *answer));
  return answer;
}

int Chat(const ChatOptions& options) {
  v1::Question question;
  options.question.Apply(question);
  for (const std::string& file : options.images) {
    auto bytes = ReadImage(file);
    if (!bytes.ok()) {
      ReportError(bytes.status(), options.common.json, "--image");
      return kUsage;
    }
    question.add_images()->set_data(*std::move(bytes));
  }
  auto client = Client::Open(options.common);
  if (!client.ok()) return ReportError(client.status(), options.common.json);
  const bool interactive = isatty(STDIN_FILENO) != 0 && !options.common.json;
  if (interactive) std::printf("Ask; /reset forgets the conversation, /exit or Ctrl-D leaves.\n");
  int exit_code = kFine;
  for (std::string line;;) {
    if (interactive) std::fputs("> ", stdout), std::fflush(stdout);
    if (!std::getline(std::cin, line)) break;
    line = std::string(absl::StripAsciiWhitespace(line));
    if (line.empty()) continue;
    if (line == "/exit") break;
    if (line == "/reset") {
      question.clear_turns();
      continue;
    }
    AddTurn(question, v1::ROLE_USER, line);
    KeepWithinLimits(question);
    const auto answer = AskOnce(*client, options, question, line);
    if (answer.ok()) {
      AddTurn(question, v1::ROLE_ASSISTANT, answer->text());
    } else {
      question.mutable_turns()->RemoveLast();
      exit_code = ReportError(answer.status(), options.common.json);
      if (exit_code == kUnreachable && !interactive) break;
    }
  }
  return interactive ? kFine : exit_code;
}

}  // namespace

void AddChat(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("chat", "Several questions in a row; earlier answers are part of each");
  const auto options = std::make_shared<ChatOptions>();
  command.add_option("--image", options->images, "Image files to talk about")->expected(1, -1);
  options->question.AddTo(command);
  options->common.AddTo(command);
  command.callback([options, &run] { run = [options] { return Chat(*options); }; });
}

}  // namespace diptych::cli
