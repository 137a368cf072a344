#include "cli/command_line/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cli/command_line/option_table.h"
#include "common/images/image_file_name.h"
#include "common/status.h"
#include "common/text/nearest_word.h"

namespace diptych::cli {
namespace {

constexpr char kNothingMore[] = "--";

bool LooksLikeFlag(const std::string& argument) {
  const bool number = argument.size() > 1 && (absl::ascii_isdigit(argument[1]) || argument[1] == '.');
  return argument.size() > 1 && argument[0] == '-' && !number;
}

bool NamesAnImage(const std::string& argument) {
  std::error_code error;
  const auto type = std::filesystem::status(argument, error).type();
  return argument == "-" || absl::StartsWith(argument, "https://") || type == std::filesystem::file_type::regular ||
         type == std::filesystem::file_type::fifo;
}

// Whether the one who typed it thought of an image, though there may be none: the path or the address of a file.
bool IsMeantAsAnImage(const std::string& argument) {
  constexpr const char* kPaths[] = {"/", "./", "../", "~/", "http://", "file://"};
  if (std::any_of(argument.begin(), argument.end(), absl::ascii_isspace)) return false;
  const std::string lower = absl::AsciiStrToLower(argument);
  const auto is_path = [&](const char* start) { return absl::StartsWith(lower, start); };
  return std::any_of(std::begin(kPaths), std::end(kPaths), is_path) || IsImageFileName(argument);
}

// CLI11 also takes numbers, for flags that count.
bool IsYesOrNo(const std::string& value) {
  constexpr const char* kWords[] = {"true", "false", "1", "0", "yes", "no", "on", "off"};
  return std::find(std::begin(kWords), std::end(kWords), absl::AsciiStrToLower(value)) != std::end(kWords);
}

// "ask": the words behind the program's name.
std::string PathOf(const CLI::App& app) {
  if (app.get_parent() == nullptr) return "";
  const std::string above = PathOf(*app.get_parent());
  return absl::StrCat(above, above.empty() ? "" : " ", app.get_name());
}

// `path`: of the command that was read so far.
std::string DidYouMean(const std::string& word, const std::string& path) {
  if (!word.empty()) return absl::StrCat("; did you mean ", word, "?");
  return absl::StrCat("; `diptych ", path, path.empty() ? "" : " ", "--help` lists what there is");
}

// How a flag of one of the processes that `serve` starts is given.
std::string OfOneProcess(const std::string& name) {
  const std::string bare = name.substr(2);
  return absl::StrCat("; one of a process is given as --vision.", bare, ", --language.", bare, " or --gateway.", bare);
}

// A flag as it was typed, taken apart.
struct Flag {
  std::string name;   // "--image" or "-i", underscores
  std::string value;  // "--image=VALUE", "-iVALUE", "-i=VALUE"
  bool has_value = false;
};

Flag ReadFlag(const std::string& argument) {
  if (!absl::StartsWith(argument, "--")) {
    const size_t value = argument.size() > 2 && argument[2] == '=' ? 3 : 2;
    return {.name = argument.substr(0, 2), .value = argument.substr(value), .has_value = argument.size() > 2};
  }
  const size_t equals = argument.find('=');
  const std::string name = argument.substr(0, equals);
  Flag flag{.name = absl::StrCat("--", absl::StrReplaceAll(name.substr(2), {{"-", "_"}})), .value = ""};
  if (equals == std::string::npos) return flag;
  flag.value = argument.substr(equals + 1);
  flag.has_value = true;
  return flag;
}

class Arrangement {
 public:
  Arrangement(const CLI::App& root, const std::vector<std::string>& typed) : app_(&root), typed_(typed) {}

  absl::StatusOr<std::vector<std::string>> Run() {
    for (next_ = 0; next_ < typed_.size();) {
      const std::string& argument = typed_[next_++];
      if (argument == kNothingMore) {
        while (next_ < typed_.size()) DIPTYCH_RETURN_IF_ERROR(TakeBare(typed_[next_++]));
      } else if (LooksLikeFlag(argument)) {
        DIPTYCH_RETURN_IF_ERROR(TakeFlag(argument));
      } else if (!CommandsOf(*app_).empty()) {
        DIPTYCH_RETURN_IF_ERROR(TakeCommand(argument));
      } else {
        DIPTYCH_RETURN_IF_ERROR(TakeBare(argument));
      }
    }
    return std::move(arranged_);
  }

 private:
  absl::Status TakeCommand(const std::string& argument) {
    std::vector<std::string> names;
    for (const CLI::App* command : CommandsOf(*app_)) {
      names.push_back(command->get_name());
      if (names.back() != absl::StrReplaceAll(argument, {{"_", "-"}})) continue;
      app_ = command;
      arranged_.push_back(command->get_name());
      if (CommandsOf(*app_).empty()) arranged_.insert(arranged_.end(), moved_.begin(), moved_.end());
      return absl::OkStatus();
    }
    const std::string path = PathOf(*app_);
    if (path.empty()) names.insert(names.end(), {"help", "--version"});
    return absl::InvalidArgumentError(absl::StrCat("there is no command ", path, path.empty() ? "" : " ", argument,
                                                   DidYouMean(NearestWord(argument, names), path)));
  }

  absl::Status TakeBare(const std::string& argument) {
    if (const CLI::Option* images = BareArgumentsOf(*app_)) {
      if (!IsList(*images) && std::exchange(took_bare_, true)) {
        return absl::InvalidArgumentError(
            absl::StrCat(PathOf(*app_), " takes one image; \"", argument, "\" is another"));
      }
      Append(LongNameOf(*images), argument);
      return absl::OkStatus();
    }
    const auto positionals = app_->get_options([](const CLI::Option* option) { return option->get_positional(); });
    if (!positionals.empty()) {
      if (++positionals_ > positionals.size() && !app_->get_allow_extras()) {
        return absl::InvalidArgumentError(absl::StrCat(PathOf(*app_), " takes ", positionals.size(),
                                                       positionals.size() == 1 ? " argument" : " arguments", "; \"",
                                                       argument, "\" is another"));
      }
      arranged_.push_back(argument);
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat(PathOf(*app_), " takes no argument \"", argument, "\""));
  }

  absl::Status TakeFlag(const std::string& argument) {
    Flag flag = ReadFlag(argument);
    const CLI::Option* option = Find(*app_, flag.name);
    const bool of_later_command = option == nullptr;
    if (of_later_command) option = FindCommon(*app_, flag.name);
    if (option == nullptr && app_->get_allow_extras() && absl::StrContains(flag.name, ".")) {
      arranged_.push_back(argument);  // a flag of a tier's own
      return absl::OkStatus();
    }
    if (option == nullptr) return NoSuchFlag(argument.substr(0, argument.find('=')), flag.name);
    auto& to = of_later_command ? moved_ : arranged_;
    if (!TakesValue(*option)) {
      const bool is_short = !absl::StartsWith(argument, "--");
      if (!is_short && flag.has_value && !IsYesOrNo(flag.value)) {
        return absl::InvalidArgumentError(absl::StrCat(flag.name, " takes true or false, not \"", flag.value, "\""));
      }
      to.push_back(is_short ? argument : flag.has_value ? absl::StrCat(flag.name, "=", flag.value) : flag.name);
      return absl::OkStatus();
    }
    if (!flag.has_value) {
      if (next_ == typed_.size()) {
        return absl::InvalidArgumentError(absl::StrCat(flag.name, " takes a value: ", option->get_description()));
      }
      flag.value = typed_[next_++];
    }
    took_bare_ |= option == BareArgumentsOf(*app_);
    to.insert(to.end(), {flag.name, flag.value});
    if (IsList(*option)) TakeFurtherValues(*option, flag.name);
    return absl::OkStatus();
  }

  void TakeFurtherValues(const CLI::Option& option, const std::string& name) {
    const CLI::Option* images = BareArgumentsOf(*app_);
    for (; next_ < typed_.size() && !LooksLikeFlag(typed_[next_]); ++next_) {
      const bool is_image =
          images != nullptr && &option != images && (NamesAnImage(typed_[next_]) || IsMeantAsAnImage(typed_[next_]));
      Append(is_image ? LongNameOf(*images) : name, typed_[next_]);
    }
  }

  absl::Status NoSuchFlag(const std::string& typed, const std::string& name) const {
    if (BareArgumentsOf(*app_) != nullptr && NamesAnImage(typed)) {
      return absl::InvalidArgumentError(
          absl::StrCat(PathOf(*app_), " has no flag ", typed, "; for the file of that name write ./", typed));
    }
    std::vector<std::string> names;
    const auto add = [&names](const CLI::App& app) {
      for (const CLI::Option* option : OptionsOf(app)) names.push_back(LongNameOf(*option));
    };
    add(*app_);
    const std::string path = PathOf(*app_);
    if (path.empty() && !CommandsOf(*app_).empty()) add(*CommandsOf(*app_).front());
    const std::string nearest = NearestWord(name, names);
    const bool of_a_tier = nearest.empty() && app_->get_allow_extras() && absl::StartsWith(name, "--");
    return absl::InvalidArgumentError(absl::StrCat(path.empty() ? "there is" : absl::StrCat(path, " has"), " no flag ",
                                                   typed, of_a_tier ? OfOneProcess(name) : DidYouMean(nearest, path)));
  }

  static const CLI::Option* Find(const CLI::App& app, const std::string& name) {
    for (const CLI::Option* option : OptionsOf(app)) {
      if (option->check_name(name)) return option;
    }
    return nullptr;
  }

  static const CLI::Option* FindCommon(const CLI::App& app, const std::string& name) {
    for (const CLI::App* command : CommandsOf(app)) {
      const CLI::Option* option = Find(*command, name);
      if (option != nullptr && option->get_group() == kCommonGroup) return option;
    }
    return nullptr;
  }

  void Append(const std::string& name, const std::string& value) { arranged_.insert(arranged_.end(), {name, value}); }

  const CLI::App* app_;  // the command that the arguments so far name
  const std::vector<std::string>& typed_;
  size_t next_ = 0;
  bool took_bare_ = false;
  size_t positionals_ = 0;  // taken so far
  std::vector<std::string> arranged_, moved_;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> ArrangeArguments(const CLI::App& root, const std::vector<std::string>& typed) {
  return Arrangement(root, typed).Run();
}

}  // namespace diptych::cli
