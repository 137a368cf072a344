#include "cli/command_line/man_page.h"

#include <CLI/CLI.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "cli/command_line/option_table.h"
#include "common/process/build_info.h"

namespace diptych::cli {
namespace {

// As it is: nothing in it is a request to the typesetter.
std::string Roff(const std::string& text) {
  std::string escaped;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const bool request = absl::StartsWith(line, ".") || absl::StartsWith(line, "'");
    absl::StrAppend(&escaped, escaped.empty() ? "" : "\n", request ? "\\&" : "",
                    absl::StrReplaceAll(line, {{"\\", "\\e"}, {"-", "\\-"}}));
  }
  return escaped;
}

std::string OptionEntry(const CLI::Option& option) {
  const std::string type = TypeOf(option);
  return absl::StrCat(".TP\n\\fB", Roff(NamesOf(option)), "\\fR",
                      type.empty() ? "" : absl::StrCat(" \\fI", type, "\\fR"), IsList(option) ? "..." : "", "\n",
                      Roff(DescriptionOf(option)), "\n");
}

std::string CommandSection(const CLI::App& command) {
  if (!CommandsOf(command).empty()) {
    std::string text;
    for (const CLI::App* part : CommandsOf(command)) text += CommandSection(*part);
    return text;
  }
  std::string text = absl::StrCat(".SS ", Roff(UsageOf(command)), "\n", Roff(command.get_description()), ".\n");
  for (const CLI::Option* option : OptionsOf(command)) {
    if (option->get_group() != kCommonGroup) text += OptionEntry(*option);
  }
  if (!command.get_footer().empty()) absl::StrAppend(&text, ".PP\n", Roff(command.get_footer()), "\n");
  return text;
}

constexpr char kTail[] =
    ".SH EXIT STATUS\n"
    ".TP\n0\nThe command succeeded.\n"
    ".TP\n1\nThe server refused the request, or it failed.\n"
    ".TP\n2\nThe command line is wrong.\n"
    ".TP\n3\nNo gateway answers.\n"
    ".TP\n130\nCtrl\\-C stopped it; the results so far are shown.\n"
    ".SH ENVIRONMENT\n"
    ".TP\n\\fBDIPTYCH_SERVER\\fR, \\fBDIPTYCH_TLS_CA\\fR, \\fBDIPTYCH_TLS_CERT\\fR, \\fBDIPTYCH_TLS_KEY\\fR, "
    "\\fBDIPTYCH_API_KEY\\fR\n"
    "Defaults of the options with these names.\n"
    ".TP\n\\fBNO_COLOR\\fR\nIf it is set, nothing is colored.\n"
    ".TP\n\\fBSSL_CERT_FILE\\fR\nPEM file of the authorities for images from https addresses.\n"
    ".SH EXAMPLES\n"
    ".nf\n"
    "diptych ask cat.jpg \\-q \"What is on the sofa?\"\n"
    "diptych ask *.jpg \\-q \"How many people?\" \\-\\-json > answers.jsonl\n"
    "diptych \\-\\-server gateway.example.org:7000 chat cat.jpg\n"
    ".fi\n";

}  // namespace

std::string ManPage(const CLI::App& root) {
  std::string text =
      absl::StrCat(".TH DIPTYCH 1 \"\" \"diptych ", Roff(std::string(Version())),
                   "\" \"User Commands\"\n.SH NAME\ndiptych \\- ask questions about images\n.SH SYNOPSIS\n.B ",
                   Roff(UsageOf(root)), "\n.SH DESCRIPTION\n",
                   "Asks a Diptych gateway over gRPC. In the names of options \\- and _ are alike; the common "
                   "options may also come before the command.\n.SH COMMANDS\n");
  for (const CLI::App* command : CommandsOf(root)) text += CommandSection(*command);
  absl::StrAppend(&text, ".SH COMMON OPTIONS\n");
  for (const CLI::Option* option : OptionsOf(*CommandsOf(root).front())) {
    if (option->get_group() == kCommonGroup) text += OptionEntry(*option);
  }
  return text + kTail;
}

}  // namespace diptych::cli
