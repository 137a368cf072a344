// Whether standard output and standard error are terminals, and how to format for them.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

namespace diptych::cli {

enum class ColorChoice { kAuto, kAlways, kNever };

enum class Style { kDim, kGood, kBad };

// Call once, first: text is UTF-8 from here on, whatever the locale of the environment says.
void UseUtf8();

// For all that is printed from here on. kAuto: colors for a terminal, unless NO_COLOR is set or TERM is dumb.
void ChooseColor(ColorChoice choice);

// The text in that style if `stream` shows colors, else as it is.
std::string Styled(Style style, std::string_view text, std::FILE* stream);

bool IsTerminal(std::FILE* stream);

// The width of the terminal on standard output, else of that on standard error; COLUMNS where it is set and neither
// says one; 80 if nobody does. At least 20.
size_t TerminalColumns();

// The same for what is printed on standard output; 0, which is no bound, if that is no terminal.
size_t OutputColumns();

}  // namespace diptych::cli
