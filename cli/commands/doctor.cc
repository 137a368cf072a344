// diptych doctor: checks the whole way of a question, step by step, and says what to do where it ends.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "cli/charts/filter_program.h"
#include "cli/commands/commands.h"
#include "cli/connection/client.h"
#include "cli/connection/errors.h"
#include "cli/connection/readiness.h"
#include "cli/images/test_image.h"
#include "cli/questions/json.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/terminal.h"
#include "cli/terminal/text.h"
#include "common/process/build_info.h"
#include "common/status.h"

namespace diptych::cli {
namespace {

class Doctor {
 public:
  Doctor(Client& client, const CommonOptions& options) : client_(client), options_(options) {}

  int Examine() {
    ExamineCards();
    const absl::Status health = client_.CheckHealth("readiness");
    const bool reachable = !IsUnreachable(health);
    Report("gateway answers", reachable ? absl::OkStatus() : health, options_.server);
    if (!reachable) return kUnreachable;
    const auto model = client_.GetModel();
    Report("gateway is ready", WhyNotReady(health, model), "the language tier is reachable");
    ExamineModel(model);
    if (!health.ok()) return kFailed;  // the rest would fail for the same cause
    ExamineText();
    ExamineImage();
    return healthy_ ? kFine : kFailed;
  }

 private:
  // One line: the check, how it went, and what was found or what to do.
  void Report(const std::string& check, const absl::Status& status, const std::string& found) {
    if (Interrupted()) return;
    healthy_ &= status.ok();
    const std::string detail = status.ok() ? found : std::string(status.message());
    const std::string remedy = status.ok() ? "" : RemedyFor(status);
    if (options_.json) {
      PrintJson({{"check", check}, {"ok", status.ok()}, {"detail", detail}, {"remedy", remedy}});
    } else {
      const std::string verdict =
          Styled(status.ok() ? Style::kGood : Style::kBad, status.ok() ? "ok  " : "FAIL", stdout);
      std::printf("%s  %-29s  %s%s%s\n", verdict.c_str(), check.c_str(), Printable(detail).c_str(),
                  remedy.empty() ? "" : ". ", remedy.c_str());
    }
  }

  // Those of this host, where the servers' programs lie next to this one.
  void ExamineCards() {
    std::error_code error;
    const auto server = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "vision_service";
    if (!std::filesystem::exists(server, error)) return;
    const auto cards = RunFilter({server.string(), "--show_devices"}, "");
    Report("cards of this host", cards.status(),
           cards.ok() ? absl::StrReplaceAll(absl::StripSuffix(*cards, "\n"), {{"\n", "; "}}) : "");
  }

  void ExamineModel(const absl::StatusOr<v1::GetModelResponse>& response) {
    if (!response.ok()) return Report("model is described", response.status(), "");
    const v1::ModelDescription& model = response->model();
    Report("model is described", absl::OkStatus(),
           absl::StrCat(model.name(), ", ", model.dtype(), " on ", model.device()));
    const bool same = response->version() == Version();
    Report("versions agree",
           same ? absl::OkStatus()
                : absl::FailedPreconditionError(
                      absl::StrCat("gateway ", response->version(), ", this program ", std::string(Version()))),
           response->version());
    if (response->tiers_size() != 2) return;
    const v1::TierStatus &language = response->tiers(0), &vision = response->tiers(1);
    if (!vision.serving()) {
      return Report("tiers agree",
                    MakeError(absl::StatusCode::kUnavailable, reason::kTierUnavailable,
                              absl::StrCat("vision tier: ", vision.error())),
                    "");
    }
    const bool agree = language.model().fingerprint() == vision.model().fingerprint();
    Report("tiers agree",
           agree ? absl::OkStatus()
                 : MakeError(absl::StatusCode::kFailedPrecondition, reason::kModelMismatch,
                             "the tiers hold different models"),
           absl::StrCat("both hold ", model.fingerprint().substr(0, 12)));
  }

  void ExamineText() {
    v1::Question question;
    question.set_prompt("Question: What color is the circle? Answer:");
    question.mutable_generation()->set_max_new_tokens(4);
    const auto answer = client_.Ask(question);
    Report("text is answered", answer.status(), answer.ok() ? absl::StrCat("\"", answer->text(), "\"") : "");
  }

  void ExamineImage() {
    v1::Question question;
    question.add_images()->set_data(kTestImage, sizeof(kTestImage));
    v1::Turn* turn = question.add_turns();
    turn->set_role(v1::ROLE_USER);
    turn->set_text("What color is the circle?");
    question.mutable_generation()->set_max_new_tokens(4);
    const auto answer = client_.Ask(question);
    Report("an image is answered", answer.status(), answer.ok() ? absl::StrCat("\"", answer->text(), "\"") : "");
    if (!answer.ok()) return;
    Report("every stage is accounted for", CheckTimings(*answer), TimingLine(*answer));
  }

  static absl::Status CheckTimings(const v1::Answer& answer) {
    const nlohmann::ordered_json timings = ToJson(answer.timings());
    double sum = 0;
    for (const char* stage : {"gateway", "image_decode", "image_resize", "vision_queue", "vit", "token_transfer",
                              "language_queue", "tokenize", "qformer", "prefill", "decode", "detokenize", "delivery",
                              "decode_queue", "relevance", "unattributed"}) {
      sum += timings[stage].is_number() ? timings[stage].get<double>() : 0;
    }
    const double total = timings["total"].is_number() ? timings["total"].get<double>() : 0;
    if (std::abs(sum - total) <= 1e-6) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("the stages sum up to ", FormatSeconds(sum), " of ", FormatSeconds(total)));
  }

  Client& client_;
  const CommonOptions& options_;
  bool healthy_ = true;
};

int Examine(const CommonOptions& options) {
  auto client = Client::Open(options);
  if (!client.ok()) return ReportError(client.status(), options.json);
  const int exit_code = Doctor(*client, options).Examine();
  return Interrupted() ? ReportInterrupt(options.json) : exit_code;
}

}  // namespace

void AddDoctor(CLI::App& app, Run& run) {
  CLI::App& command = *app.add_subcommand("doctor", "Check every step of a question and say what to fix");
  const auto options = std::make_shared<CommonOptions>();
  options->AddTo(command);
  command.callback([options, &run] { run = [options] { return Examine(*options); }; });
}

}  // namespace diptych::cli
