// Values as people write them: what CLI11 would take for a number or a name by mistake is refused.
#pragma once

namespace CLI {
class App;
}

namespace diptych::cli {

// For every option of `app` and its commands: a whole number is decimal digits ("0x10" and "" are none), a number is
// finite, and a name is not empty. Texts of a question may be empty, and so may what has a variable, for "none".
void RequirePlainValues(CLI::App& app);

}  // namespace diptych::cli
