// diptych ask: one answer as it comes, or a table of answers.
#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/measurements/in_order.h"
#include "cli/questions/json.h"
#include "cli/questions/question_options.h"
#include "cli/questions/relevance_text.h"
#include "cli/questions/stream_printer.h"
#include "cli/terminal/text.h"
#include "common/stage_clock.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

constexpr size_t kAtOnce = 4;
constexpr size_t kQuestionColumns = 48;
constexpr size_t kAnswerColumns = 60;

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
    return images.empty() ? "-" : absl::StrJoin(images, " ", [](std::string* out, const std::string& file) {
      absl::StrAppend(out, std::filesystem::path(file).filename().string());
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
      exit_code = std::max(exit_code, ReportError(answer.status(), false, rows.size() > 1 ? NameOf(row) : ""));
      continue;
    }
    std::printf("%s", RelevanceText(*answer).c_str());
  }
  return exit_code;
}

std::vector<std::string> TableRow(const Row& row, const absl::StatusOr<v1::Answer>& answer) {
  const std::string image = Printable(row.ImageText()),
                    question = Printable(Shorten(row.QuestionText(), kQuestionColumns));
  if (!answer.ok()) return {image, question, "(failed)", "-", "-"};
  const double seconds = std::chrono::duration<double>(FromProtoDuration(answer->timings().total())).count();
  return {image, question, Printable(Shorten(answer->text(), kAnswerColumns)), absl::StrCat(answer->token_ids_size()),
          FormatSeconds(seconds)};
}

int AskAll(Client& client, const AskOptions& options, const std::vector<Row>& rows) {
  int exit_code = kFine;
  std::vector<std::vector<std::string>> table;
  std::atomic<bool> unreachable = false;
  using Result = absl::StatusOr<v1::Answer>;
  const auto work = [&](size_t i) -> Result {
    if (unreachable) return absl::UnavailableError("not asked");
    DIPTYCH_ASSIGN_OR_RETURN(const v1::Question question, MakeQuestion(options, rows[i]));
    Result answer = client.Ask(question);
    if (IsUnreachable(answer.status())) unreachable = true;
    return answer;
  };
  const auto emit = [&](size_t i, const Result& answer) {
    if (!answer.ok() && exit_code != kUnreachable) {
      exit_code = std::max(exit_code,
                           ReportError(answer.status(), options.common.json, rows.size() > 1 ? NameOf(rows[i]) : ""));
    }
    if (options.common.json) {
      if (answer.ok()) PrintAnswerJson(rows[i], *answer);
    } else {
      table.push_back(TableRow(rows[i], answer));
    }
  };
  ForEachInOrder<Result>(rows.size(), kAtOnce, work, emit);
  if (!table.empty() && exit_code != kUnreachable) {
    std::printf("%s", FormatTable({"image", "question", "answer", "tokens", "time"}, table, {3, 4}).c_str());
  }
  return exit_code;
}

int Ask(const AskOptions& options) {
  if (options.images.empty() && options.questions.empty() && options.prompts.empty()) {
    std::fprintf(stderr, "diptych: ask needs an image (--image) or a text (--question, --prompt)\n");
    return kUsage;
  }
  for (const std::string& file : options.images) {
    std::error_code error;
    if (std::filesystem::is_regular_file(file, error)) continue;
    std::fprintf(stderr, "diptych: --image %s: there is no such file\n", file.c_str());
    return kUsage;
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
  command.add_option("--image", options->images, "Image files (JPEG, PNG, WebP, GIF). Several make a table")
      ->expected(1, -1);
  command
      .add_option("--question", options->questions,
                  "Question, put into BLIP-2's question form. May be given several times")
      ->expected(1, -1);
  command
      .add_option("--prompt", options->prompts, "Text that the model continues as it is. May be given several times")
      ->expected(1, -1);
  command.add_flag("--together", options->together, "All images in one question");
  command.add_flag("--stream", options->stream, "Show each answer as it comes, also where a table would be shown");
  command.add_flag("--return_relevance", options->return_relevance,
                   "Also show which patches each token of the answer looked at; indicative only");
  command.footer("Without --question and --prompt the model writes a caption.");
  options->question.AddTo(command);
  options->common.AddTo(command);
  command.callback([options, &run] { run = [options] { return Ask(*options); }; });
}

}  // namespace diptych::cli
