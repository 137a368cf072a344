#include "cli/terminal/line_editor.h"

#include <histedit.h>
#include <unistd.h>

#include <cstdio>
#include <cwchar>
#include <utility>

#include "cli/terminal/interrupt.h"
#include "cli/terminal/terminal.h"

namespace diptych::cli {
namespace {

constexpr int kRememberedLines = 1000;

// One line without its newline; false at the end, and after Ctrl-C. By bytes, because Ctrl-C must end a read.
bool ReadPlainLine(std::string& line) {
  line.clear();
  InterruptibleReader reader;
  for (char c;;) {
    const ssize_t got = reader.Read(STDIN_FILENO, c);
    if (got < 0 && Interrupted()) return false;
    if (got <= 0) return !line.empty();
    if (c == '\n') return true;
    line.push_back(c);
  }
}

}  // namespace

struct LineEditor::Terminal {
  explicit Terminal(std::string text) : prompt(std::move(text)), editor(el_init("diptych", stdin, stdout, stderr)) {
    history = history_init();
    HistEvent event;
    ::history(history, &event, H_SETSIZE, kRememberedLines);
    ::history(history, &event, H_SETUNIQUE, 1);
    el_set(editor, EL_CLIENTDATA, this);
    el_set(editor, EL_PROMPT, &Terminal::Prompt);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_HIST, ::history, history);
    el_set(editor, EL_GETCFN, &Terminal::ReadCharacter);
    el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    // A Ctrl-D that was typed before the terminal left its line mode is read as NUL.
    el_set(editor, EL_BIND, "^@", "em-delete-or-list", nullptr);
  }
  ~Terminal() {
    history_end(history);
    el_end(editor);
  }

  static char* Prompt(EditLine* editor) { return Of(editor).prompt.data(); }
  // 1, 0 at the end, -1 after Ctrl-C: libedit's own would go on reading.
  static int ReadCharacter(EditLine* editor, wchar_t* character) {
    constexpr auto kIncomplete = static_cast<size_t>(-2), kInvalid = static_cast<size_t>(-1);
    std::mbstate_t state = {};
    for (;;) {
      char byte;
      const ssize_t got = Of(editor).reader.Read(STDIN_FILENO, byte);
      if (got <= 0) return static_cast<int>(got);
      const size_t used = std::mbrtowc(character, &byte, 1, &state);
      if (used == kInvalid) state = {};
      if (used != kIncomplete && used != kInvalid) return 1;
    }
  }
  static Terminal& Of(EditLine* editor) {
    void* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return *static_cast<Terminal*>(self);
  }

  std::string prompt;
  EditLine* editor;
  History* history;
  InterruptibleReader reader;
};

LineEditor::LineEditor(std::string prompt) {
  UseUtf8();
  if (IsTerminal(stdin) && IsTerminal(stdout)) terminal_ = std::make_unique<Terminal>(std::move(prompt));
}

LineEditor::~LineEditor() = default;

LineEditor::Result LineEditor::Read(std::string& line) {
  if (terminal_ == nullptr) return ReadPlainLine(line) ? Result::kLine : Result::kEnd;
  // el_gets does it after it has shown the prompt, and keys in between are lost.
  el_set(terminal_->editor, EL_PREP_TERM, 1);
  int size = 0;
  const char* text = el_gets(terminal_->editor, &size);
  if (Interrupted()) {
    ForgetInterrupt();
    std::fputs("^C\n", stdout);
    return Result::kDropped;
  }
  if (text == nullptr || size <= 0) return Result::kEnd;
  line.assign(text, size);
  if (line.back() == '\n') line.pop_back();
  HistEvent event;
  if (!line.empty()) history(terminal_->history, &event, H_ENTER, line.c_str());
  return Result::kLine;
}

}  // namespace diptych::cli
