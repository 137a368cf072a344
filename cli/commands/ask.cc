// diptych ask: one answer as it comes, or a table of answers.
#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/images/image_source.h"
#include "cli/measurements/in_order.h"
#include "cli/questions/answer_table.h"
#include "cli/questions/json.h"
#include "cli/questions/question_options.h"
#include "cli/questions/relevance_text.h"
#include "cli/questions/stream_printer.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/terminal.h"
#include "cli/terminal/text.h"
#include "common/stage_clock.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr size_t kAtOnce = 4;

struct AskOptions {
  CommonOptions common;
  QuestionOptions question;
  std::vector<std::string> images;
  std::vector<std::string> questions;
  std::vector<std::string> prompts;
  bool together = false;
  bool stream = false;
  bool return_relevance = false;
};

// One question to be sent, and how it is shown.
struct Row {
  std::vector<std::string> images;
  std::string text;  // of the question or prompt; empty asks for the caption
  bool is_prompt = false;

  std::string ImageText() const {
    return images.empty() ? "-" : absl::StrJoin(images, " ", [](std::string* out, const std::string& image) {
      absl::StrAppend(out, NameOfImage(image));
    });
  }
  std::string QuestionText() const { return text.empty() ? "(caption)" : text; }
};

std::vector<Row> RowsOf(const AskOptions& options) {
  std::vector<Row> texts;
  for (const std::string& question : options.questions) texts.push_back({{}, question, false});
  for (const std::string& prompt : options.prompts) texts.push_back({{}, prompt, true});
  if (texts.empty()) texts.push_back({{}, "", true});
  std::vector<std::vector<std::string>> image_sets;
  if (options.images.empty() || options.together) {
    image_sets.push_back(options.images);
  } else {
    for (const std::string& image : options.images) image_sets.push_back({image});
  }
  std::vector<Row> rows;
  for (const auto& images : image_sets) {
    for (Row row : texts) {
      row.images = images;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

absl::StatusOr<v1::Question> MakeQuestion(const AskOptions& options, const Row& row) {
  v1::Question question;
  options.question.Apply(question);
  for (const std::string& file : row.images) {
    DIPTYCH_ASSIGN_OR_RETURN(*question.add_images()->mutable_data(), ReadImage(file));
  }
  question.set_return_relevance(options.return_relevance);
  if (options.return_relevance && !options.common.json && !question.generation().has_logprobs()) {
    question.mutable_generation()->set_logprobs(1);  // the tokens' texts come with them
  }
  if (row.is_prompt) {
    question.set_prompt(row.text);
  } else {
    v1::Turn* turn = question.add_turns();
    turn->set_role(v1::ROLE_USER);
    turn->set_text(row.text);
  }
  return question;
}

std::string NameOf(const Row& row) {
  return absl::StrCat(row.ImageText(), ", ", row.QuestionText());
}

// The failed part, for the message: the question where there are several, else the image where the fault is its own.
std::string FailedName(const absl::Status& status, const Row& row, size_t rows) {
  if (rows > 1) return NameOf(row);
  return absl::StartsWith(ReasonOf(status), "IMAGE_") && !row.images.empty() ? row.ImageText() : "";
}

void PrintAnswerJson(const Row& row, const v1::Answer& answer) {
  PrintJson(AnswerJson(absl::StrJoin(row.images, " "), row.text, answer));
}

int StreamRows(Client& client, const AskOptions& options, const std::vector<Row>& rows) {
  int exit_code = kFine;
  for (const Row& row : rows) {
    if (rows.size() > 1) std::printf("%s\n", Printable(NameOf(row)).c_str());
    const auto question = MakeQuestion(options, row);
    const auto answer = question.ok() ? StreamToTerminal(client, *question) : question.status();
    if (!answer.ok()) {
      exit_code =
          std::max(exit_code, ReportError(answer.status(), false, FailedName(answer.status(), row, rows.size())));
      if (exit_code >= kUnreachable) return exit_code;
      continue;
    }
    std::printf("%s", RelevanceText(*answer).c_str());
  }
  return exit_code;
}

AnswerRow TableRow(const Row& row, const absl::StatusOr<v1::Answer>& answer) {
  if (!answer.ok()) return {row.ImageText(), row.QuestionText(), "(failed)", "-", "-"};
  const double seconds = std::chrono::duration<double>(FromProtoDuration(answer->timings().total())).count();
  return {row.ImageText(), row.QuestionText(), answer->text(), absl::StrCat(answer->token_ids_size()),
          FormatSeconds(seconds)};
}

AnswerTable TableFor(const std::vector<Row>& rows) {
  size_t image = 0, question = 0;
  for (const Row& row : rows) {
    image = std::max(image, Columns(OneLine(row.ImageText())));
    question = std::max(question, Columns(OneLine(row.QuestionText())));
  }
  return AnswerTable(image, question, OutputColumns());
}

// Shows answers in the order of their questions, each as soon as it can be.
class Answers {
 public:
  Answers(const AskOptions& options, const std::vector<Row>& rows)
      : json_(options.common.json),
        rows_(rows),
        table_(TableFor(rows)),
        progress_("answered", rows.size(), options.common.json) {}

  void CountOne() { progress_.Step(); }

  void Show(size_t i, const absl::StatusOr<v1::Answer>& answer) {
    if (!answer.ok() && (Interrupted() || exit_code_ == kUnreachable)) return;
    progress_.Around([&] {
      if (!answer.ok()) {
        const std::string name = FailedName(answer.status(), rows_[i], rows_.size());
        exit_code_ = std::max(exit_code_, ReportError(answer.status(), json_, name));
      }
      if (exit_code_ == kUnreachable) return;
      json_ ? ShowJson(i, answer) : ShowRow(i, answer);
    });
  }

  // Once nothing comes any more.
  int Finish() { return Interrupted() ? ReportInterrupt(json_, progress_.Text()) : exit_code_; }

 private:
  void ShowJson(size_t i, const absl::StatusOr<v1::Answer>& answer) {
    if (answer.ok()) PrintAnswerJson(rows_[i], *answer);
  }

  void ShowRow(size_t i, const absl::StatusOr<v1::Answer>& answer) {
    if (!begun_) std::fputs(table_.Header().c_str(), stdout);
    begun_ = true;
    std::fputs(table_.Row(TableRow(rows_[i], answer)).c_str(), stdout);
    std::fflush(stdout);
  }

  const bool json_;
  const std::vector<Row>& rows_;
  const AnswerTable table_;
  Progress progress_;
  bool begun_ = false;
  int exit_code_ = kFine;
};

int AskAll(Client& client, const AskOptions& options, const std::vector<Row>& rows) {
  using Result = absl::StatusOr<v1::Answer>;
  Answers answers(options, rows);
  std::atomic<bool> unreachable = false;
  const auto work = [&](size_t i) -> Result {
    if (unreachable) return absl::UnavailableError("not asked");
    DIPTYCH_ASSIGN_OR_RETURN(const v1::Question question, MakeQuestion(options, rows[i]));
    Result answer = client.Ask(question);
    if (IsUnreachable(answer.status())) unreachable = true;
    if (!Interrupted()) answers.CountOne();
    return answer;
  };
  ForEachInOrder<Result>(rows.size(), kAtOnce, work, [&](size_t i, const Result& answer) { answers.Show(i, answer); });
  return answers.Finish();
}

int Ask(const AskOptions& options) {
  if (options.images.empty() && options.questions.empty() && options.prompts.empty()) {
    return ReportUsage(absl::InvalidArgumentError("ask needs an image or a text (--question, --prompt)"),
                       options.common.json);
  }
  for (const std::string& image : options.images) {
    if (const absl::Status status = CheckImageSource(image); !status.ok())
      return ReportUsage(status, options.common.json);
  }
  auto client = Client::Open(options.common);
  if (!client.ok()) return ReportError(client.status(), options.common.json);
  const std::vector<Row> rows = RowsOf(options);
  const bool stream = !options.common.json && (options.stream || options.return_relevance || rows.size() == 1);
  return stream ? StreamRows(*client, options, rows) : AskAll(*client, options, rows);
}

}  // namespace

void AddAsk(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("ask", "Ask about images, or about text alone");
  const auto options = std::make_shared<AskOptions>();
  AddImages(command, options->images,
            "Images: files (JPEG, PNG, WebP, GIF), - for standard input, or https addresses. Several "
            "make a table");
  AddList(command, "-q,--question", options->questions, "Question, put into BLIP-2's question form");
  AddList(command, "-p,--prompt", options->prompts, "Text that the model continues as it is");
  command.add_flag("--together", options->together, "All images in one question");
  command.add_flag("--stream", options->stream,
                   "Show each answer as it is generated, even where a table would be shown");
  command.add_flag("--return_relevance", options->return_relevance,
                   "Also show which patches each token of the answer looked at; a hint only");
  command.footer("Without --question and --prompt the model writes a caption.");
  options->question.AddTo(command);
  options->common.AddTo(command);
  command.callback([options, &run] { run = [options] { return Ask(*options); }; });
}

}  // namespace diptych::cli
