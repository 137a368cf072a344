#include "cli/measurements/own_stack.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/status.h"

extern char** environ;

namespace diptych::cli {
namespace {

constexpr absl::Duration kLongestStart = absl::Minutes(10);
constexpr absl::Duration kLongestStop = absl::Seconds(10);

// Servers that have to go if a signal ends this program; 0: none.
std::array<std::atomic<pid_t>, 8> running_servers{};

void StopServersAndDie(int signal) {
  for (const auto& server : running_servers) {
    if (const pid_t pid = server.load(); pid > 0) kill(pid, SIGTERM);
  }
  _exit(128 + signal);
}

void Register(pid_t pid) {
  std::signal(SIGINT, StopServersAndDie);
  std::signal(SIGTERM, StopServersAndDie);
  for (auto& server : running_servers) {
    if (pid_t none = 0; server.compare_exchange_strong(none, pid)) return;
  }
}

void Unregister(pid_t pid) {
  for (auto& server : running_servers) {
    if (pid_t mine = pid; server.compare_exchange_strong(mine, 0)) return;
  }
}

absl::StatusOr<std::filesystem::path> FolderOfThisBinary() {
  std::error_code error;
  const auto binary = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return absl::InternalError("the folder of this program is not known");
  return binary.parent_path();
}

// Our environment without the servers' flags in it.
std::vector<char*> PlainEnvironment() {
  std::vector<char*> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!absl::StartsWith(*variable, "DIPTYCH_")) variables.push_back(*variable);
  }
  variables.push_back(nullptr);
  return variables;
}

int SpawnServer(const std::vector<std::string>& argv, int out, int log, pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, log, STDERR_FILENO);
  std::vector<char*> pointers;
  for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  const int failed = posix_spawn(&pid, pointers[0], &actions, nullptr, pointers.data(), PlainEnvironment().data());
  posix_spawn_file_actions_destroy(&actions);
  return failed;
}

// The last line that is not empty.
std::string LastWords(int log) {
  std::string text(4096, '\0');
  const off_t size = lseek(log, 0, SEEK_END);
  const ssize_t got = pread(log, text.data(), text.size(), std::max<off_t>(0, size - static_cast<off_t>(text.size())));
  text.resize(std::max<ssize_t>(got, 0));
  text.erase(text.find_last_not_of(" \n") + 1);
  return text.substr(text.rfind('\n') + 1);
}

// The number behind " port=".
std::string PortIn(const std::string& line) {
  constexpr char kPort[] = " port=";
  const size_t at = line.find(kPort);
  if (at == std::string::npos) return "";
  const std::string rest = line.substr(at + sizeof(kPort) - 1);
  return rest.substr(0, rest.find_first_not_of("0123456789"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<OwnServer>> OwnServer::Start(const std::string& binary, std::vector<std::string> flags) {
  DIPTYCH_ASSIGN_OR_RETURN(const std::filesystem::path folder, FolderOfThisBinary());
  flags.insert(flags.begin(),
               {(folder / binary).string(), "--listen=127.0.0.1:0", "--metrics_listen=", "--log_level=error"});
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) return absl::InternalError("no pipe to be had");
  const int log = memfd_create("log", MFD_CLOEXEC);
  pid_t pid = -1;
  const int failed = SpawnServer(flags, pipe_ends[1], log, pid);
  close(pipe_ends[1]);
  if (failed != 0) {
    close(pipe_ends[0]);
    close(log);
    return MakeError(absl::StatusCode::kFailedPrecondition, "",
                     absl::StrCat(binary, " does not start; it has to lie beside diptych, as after `make build`"));
  }
  Register(pid);
  auto server = std::unique_ptr<OwnServer>(new OwnServer(pid, pipe_ends[0], log));
  DIPTYCH_RETURN_IF_ERROR(server->WaitUntilReady(binary));
  return server;
}

absl::Status OwnServer::WaitUntilReady(const std::string& binary) {
  const absl::Time patience = absl::Now() + kLongestStart;
  std::string said;
  while (absl::Now() < patience) {
    pollfd waiting{.fd = out_, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, 1000) <= 0) continue;
    char piece[512];
    const ssize_t got = read(out_, piece, sizeof(piece));
    if (got <= 0) return absl::FailedPreconditionError(absl::StrCat(binary, " did not start: ", LastWords(log_)));
    said.append(piece, got);
    const size_t ready = said.find("READY");
    if (ready == std::string::npos || said.find('\n', ready) == std::string::npos) continue;
    port_ = PortIn(said.substr(ready));
    return port_.empty() ? absl::InternalError(absl::StrCat(binary, " does not say its port")) : absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(binary, " was not ready after ten minutes"));
}

double OwnServer::ProcessorSeconds() const {
  std::ifstream stat(absl::StrCat("/proc/", pid_, "/stat"));
  std::string line;
  std::getline(stat, line);
  // Behind the name in brackets: state, ten numbers, then the clock ticks in user and in system code.
  std::istringstream fields(line.substr(std::min(line.rfind(')') + 1, line.size())));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

OwnServer::~OwnServer() {
  kill(pid_, SIGTERM);
  const absl::Time patience = absl::Now() + kLongestStop;
  int status = 0;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (absl::Now() > patience) kill(pid_, SIGKILL);
    absl::SleepFor(absl::Milliseconds(10));
  }
  Unregister(pid_);
  close(out_);
  close(log_);
}

double OwnStack::ProcessorSeconds() const {
  return vision_->ProcessorSeconds() + language_->ProcessorSeconds() + gateway_->ProcessorSeconds();
}

absl::StatusOr<std::unique_ptr<OwnStack>> OwnStack::Start(const OwnStackOptions& options) {
  const auto flags = [&options](const std::vector<std::string>& more) {
    std::vector<std::string> all{"--model=" + options.model, "--device=" + options.device, "--dtype=" + options.dtype,
                                 absl::StrCat("--threads=", options.threads)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  auto stack = std::make_unique<OwnStack>();
  DIPTYCH_ASSIGN_OR_RETURN(stack->vision_, OwnServer::Start("vision_service", flags(options.vision_flags)));
  std::vector<std::string> language_flags = options.language_flags;
  language_flags.push_back("--vision_target=" + stack->vision_->address());
  DIPTYCH_ASSIGN_OR_RETURN(stack->language_, OwnServer::Start("language_service", flags(language_flags)));
  DIPTYCH_ASSIGN_OR_RETURN(
      stack->gateway_,
      OwnServer::Start("gateway", {"--http_listen=", "--language_target=" + stack->language_->address(),
                                   "--vision_target=" + stack->vision_->address()}));
  return stack;
}

}  // namespace diptych::cli
