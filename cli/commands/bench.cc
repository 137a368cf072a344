// diptych bench: what kinds of question cost, what optimisations save, what the server carries.
#include "cli/commands/bench.h"

#include <CLI/CLI.hpp>

namespace diptych::cli {

void AddBench(CLI::App& app, Run& run) {
  CLI::App& bench = *app.add_subcommand("bench", "Measure: cost, optimizations or load");
  bench.require_subcommand(1);
  AddBenchCost(bench, run);
  AddBenchOptimizations(bench, run);
  AddBenchLoad(bench, run);
}

}  // namespace diptych::cli
