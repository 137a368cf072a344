// Text for a terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/terminal/terminal.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::cli {

// Control characters, which could steer the terminal, replaced by '?'; newline and tab stay.
std::string Printable(std::string_view text);

// The same on one line: newlines and tabs are spaces, too.
std::string OneLine(std::string_view text);

// Columns that a terminal gives the text: none for a combining mark, two for a wide character such as 猫 or 🐈.
size_t Columns(std::string_view text);

// At most `columns` wide; cut off with "…".
std::string Shorten(const std::string& text, size_t columns);

// Lines of at most `columns`, cut at spaces; a longer word is cut anywhere. Newlines stay.
std::vector<std::string> WrapText(std::string_view text, size_t columns);

// The text with spaces behind it, or before it, up to `columns`.
std::string PadRight(const std::string& text, size_t columns);
std::string PadLeft(const std::string& text, size_t columns);

// Rows under a header, columns aligned with two spaces between. `right` names the columns that are aligned
// to the right. Every row has as many cells as the header. Cells are wrapped where the table would be wider than
// `columns`, if that is not 0.
std::string FormatTable(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                        const std::vector<size_t>& right = {}, size_t columns = OutputColumns());

// "1.24 s", "86 ms", "0.4 ms"
std::string FormatSeconds(double seconds);
// "12,345"
std::string FormatCount(int64_t count);
// "1.4 GB"
std::string FormatBytes(int64_t bytes);

// "time 86 ms: decode 1, resize 2, …": the stages that took any time, in milliseconds.
std::string TimingLine(const v1::Answer& answer);
// "context 2,048: image 32 + text 9 + answer 3; 2,004 left (256 tokens without the Q-Former)"
std::string BudgetLine(const v1::ContextBudget& budget);

}  // namespace diptych::cli
