// The measurements of `diptych bench`, one file each.
#pragma once

#include "cli/commands/commands.h"

namespace diptych::cli {

void AddBenchCost(CLI::App& bench, Run& run);
void AddBenchOptimizations(CLI::App& bench, Run& run);
void AddBenchLoad(CLI::App& bench, Run& run);

}  // namespace diptych::cli
