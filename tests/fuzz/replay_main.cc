// Feeds each fuzz target the files of its folder CORPUS/NAME, and of further ones given as NAME=FOLDER, so that what a
// fuzzer once found stays tested:  fuzz_replay CORPUS [NAME=FOLDER …]
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/target.h"

namespace {

int Replay(diptych::fuzz::Target target, const std::filesystem::path& folder) {
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    target(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    ++inputs;
  }
  return inputs;
}

}  // namespace

int main(int argc, char** argv) {
  int without_inputs = 0;
  for (const auto& [name, target] : diptych::fuzz::Targets()) {
    std::fprintf(stderr, "%s: ", name.c_str());  // before it may abort
    int inputs = Replay(target, std::filesystem::path(argv[1]) / name);
    for (int i = 2; i < argc; ++i) {
      const std::string more = argv[i];
      if (more.starts_with(name + "=")) inputs += Replay(target, more.substr(name.size() + 1));
    }
    std::fprintf(stderr, "%d inputs replayed\n", inputs);
    if (inputs == 0) ++without_inputs;  // a wrong path
  }
  return diptych::fuzz::Targets().empty() || without_inputs > 0 ? 1 : 0;
}
