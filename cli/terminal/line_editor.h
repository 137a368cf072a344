// Lines from a person: editing, history, keys as in a shell.
#pragma once

#include <memory>
#include <string>

namespace diptych::cli {

// On a terminal the line can be edited, and earlier lines of this run come back with the arrow keys; nothing is written
// to a file. Elsewhere, lines of standard input as they are, without a prompt.
class LineEditor {
 public:
  enum class Result {
    kLine,
    kDropped,  // Ctrl-C at the prompt
    kEnd,      // Ctrl-D, the end of the input, or Ctrl-C without line editing
  };

  explicit LineEditor(std::string prompt);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // Whether a person types.
  bool interactive() const { return terminal_ != nullptr; }
  // Waits. `line` has no newline.
  Result Read(std::string& line);

 private:
  struct Terminal;

  std::unique_ptr<Terminal> terminal_;  // null: not on a terminal
};

}  // namespace diptych::cli
