// The commands, one file each.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace diptych::cli {

// Runs the command and returns the exit code.
using Run = std::function<int()>;

// Each declares its command and options. `run` is set while parsing if the command line names the command.
void AddAsk(CLI::App& app, Run& run);
void AddChat(CLI::App& app, Run& run);
void AddAnalyze(CLI::App& app, Run& run);
void AddAttention(CLI::App& app, Run& run);
void AddBudget(CLI::App& app, Run& run);
void AddPlanCapacity(CLI::App& app, Run& run);
void AddSweep(CLI::App& app, Run& run);
void AddBench(CLI::App& app, Run& run);
void AddQuantize(CLI::App& app, Run& run);
void AddServe(CLI::App& app, Run& run);
void AddPull(CLI::App& app, Run& run);
void AddModels(CLI::App& app, Run& run);
void AddStatus(CLI::App& app, Run& run);
void AddDoctor(CLI::App& app, Run& run);
// Both show what is declared in `app`, which outlives `run`.
void AddCompletion(CLI::App& app, Run& run);
void AddMan(CLI::App& app, Run& run);

}  // namespace diptych::cli
