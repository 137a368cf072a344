// diptych chat: several turns about the same images; questions are lines of standard input.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/images/image_source.h"
#include "cli/questions/json.h"
#include "cli/questions/question_options.h"
#include "cli/questions/stream_printer.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/line_editor.h"
#include "cli/terminal/text.h"
#include "common/requests/question_limits.h"
#include "common/status.h"
#include "common/text/nearest_word.h"

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

constexpr char kHelp[] =
    "Ask about the images; earlier answers are part of each question.\n"
    "  /image FILE…  talk about other images: files or https addresses; the conversation starts over\n"
    "  /clear        forget the conversation\n"
    "  /help         this list\n"
    "  /quit         exit, as Ctrl-D does\n"
    "Ctrl-C ends an answer or drops the line. Arrow keys bring earlier lines back, Ctrl-R searches them.\n";

// The words of a text as a shell reads them: quotes and backslashes keep spaces, as in the name of a file that is
// dragged into a terminal.
std::vector<std::string> ShellWords(const std::string& text) {
  std::vector<std::string> words;
  char quote = 0;
  bool inside = false;  // a word has begun
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool escapes = c == '\\' && quote != '\'' && i + 1 < text.size();
    if (quote == 0 && c == ' ') {
      inside = false;
      continue;
    }
    if (!std::exchange(inside, true)) words.emplace_back();
    if (escapes) {
      words.back() += text[++i];
    } else if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == quote && quote != 0) {
      quote = 0;
    } else {
      words.back() += c;
    }
  }
  return words;
}

// The whole text if there is such a file, else its words.
std::vector<std::string> ImagesIn(const std::string& text) {
  if (CheckImageSource(text).ok()) return {text};
  return ShellWords(text);
}

class Conversation {
 public:
  Conversation(Client& client, const ChatOptions& options) : client_(client), options_(options) {
    options.question.Apply(question_);
  }

  // All of them or, with an error, none.
  absl::Status TakeImages(const std::vector<std::string>& sources) {
    std::vector<std::string> images;
    for (const std::string& source : sources) {
      DIPTYCH_ASSIGN_OR_RETURN(images.emplace_back(), ReadImage(source));
    }
    question_.clear_turns();
    question_.clear_images();
    for (std::string& image : images) question_.add_images()->set_data(std::move(image));
    images_ = sources;
    return absl::OkStatus();
  }

  int Run() {
    LineEditor editor("> ");
    interactive_ = editor.interactive() && !options_.common.json;
    if (interactive_) std::printf("Ask a question; /help lists the commands.\n");
    for (std::string line; !left_;) {
      const LineEditor::Result result = editor.Read(line);
      if (result == LineEditor::Result::kEnd) break;
      if (result == LineEditor::Result::kLine) Take(std::string(absl::StripAsciiWhitespace(line)));
    }
    if (Interrupted()) return ReportInterrupt(options_.common.json);
    return interactive_ ? kFine : exit_code_;
  }

 private:
  void Take(const std::string& line) {
    if (line.empty()) return;
    line[0] == '/' ? Command(line) : Ask(line);
  }

  void Command(const std::string& line) {
    const size_t end = std::min(line.find(' '), line.size());
    const std::string name = line.substr(0, end), rest(absl::StripAsciiWhitespace(line.substr(end)));
    if (name == "/quit" || name == "/exit") {
      left_ = true;
    } else if (name == "/clear" || name == "/reset") {
      question_.clear_turns();
    } else if (name == "/help") {
      std::fputs(kHelp, stdout);
    } else if (name == "/image") {
      ChangeImages(rest);
    } else {
      const std::string near = NearestWord(name, {"/quit", "/clear", "/help", "/image"});
      Refuse(absl::StrCat("there is no ", name, near.empty() ? ";" : absl::StrCat("; did you mean ", near, "?"),
                          " /help lists what there is"));
    }
  }

  void ChangeImages(const std::string& text) {
    if (text.empty()) return Refuse("/image takes the name of a file");
    ForgetUnreadableImages();
    const absl::Status status = TakeImages(ImagesIn(text));
    if (!status.ok()) return Refuse(std::string(status.message()));
    if (interactive_) std::printf("Talking about %s.\n", Printable(text).c_str());
  }

  void Ask(const std::string& line) {
    AddTurn(question_, v1::ROLE_USER, line);
    KeepWithinLimits(question_);
    const auto answer = Answer(line);
    if (answer.ok()) return AddTurn(question_, v1::ROLE_ASSISTANT, answer->text());
    question_.mutable_turns()->RemoveLast();
    if (interactive_ && Interrupted()) {
      std::fputs("\n", stdout);
      return ForgetInterrupt();
    }
    exit_code_ = ReportError(answer.status(), options_.common.json);
    left_ = !interactive_ && exit_code_ >= kUnreachable;
  }

  absl::StatusOr<v1::Answer> Answer(const std::string& line) {
    if (!options_.common.json) return StreamToTerminal(client_, question_);
    auto answer = client_.Ask(question_);
    if (answer.ok()) PrintJson(AnswerJson(absl::StrJoin(images_, " "), line, *answer));
    return answer;
  }

  void Refuse(const std::string& message) {
    const int exit_code = ReportUsage(absl::InvalidArgumentError(message), options_.common.json);
    if (!Interrupted()) exit_code_ = exit_code;
    if (interactive_) ForgetInterrupt();
  }

  Client& client_;
  const ChatOptions& options_;
  v1::Question question_;
  std::vector<std::string> images_;
  bool interactive_ = false, left_ = false;
  int exit_code_ = kFine;
};

int Chat(const ChatOptions& options) {
  if (std::count(options.images.begin(), options.images.end(), "-") > 0) {
    return ReportUsage(absl::InvalidArgumentError("chat reads the questions from standard input, so not the image"),
                       options.common.json);
  }
  auto client = Client::Open(options.common);
  if (!client.ok()) return ReportError(client.status(), options.common.json);
  Conversation conversation(*client, options);
  if (const absl::Status status = conversation.TakeImages(options.images); !status.ok()) {
    return Interrupted() ? ReportInterrupt(options.common.json) : ReportUsage(status, options.common.json);
  }
  return conversation.Run();
}

}  // namespace

void AddChat(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("chat", "Several questions in a row; earlier answers are part of each");
  const auto options = std::make_shared<ChatOptions>();
  AddImages(command, options->images, "Images to talk about: files (JPEG, PNG, WebP, GIF) or https addresses");
  options->question.AddTo(command);
  options->common.AddTo(command);
  command.callback([options, &run] { run = [options] { return Chat(*options); }; });
}

}  // namespace diptych::cli
