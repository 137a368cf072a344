#include "cli/stack/server_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status.h"
#include "common/steady_clock.h"

extern char** environ;

namespace diptych::cli {
namespace {

constexpr absl::Duration kLongestStop = absl::Seconds(10);

absl::StatusOr<std::filesystem::path> FolderOfThisBinary() {
  std::error_code error;
  const auto binary = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return absl::InternalError("the folder of this program is not known");
  return binary.parent_path();
}

// Pointers to the strings, as exec takes them.
std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<char*> Environment(bool inherit_flags) {
  std::vector<char*> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (inherit_flags || !absl::StartsWith(*variable, "DIPTYCH_")) variables.push_back(*variable);
  }
  variables.push_back(nullptr);
  return variables;
}

// In the child: a group of its own, so that Ctrl-C reaches the parent alone; ends when the parent does.
[[noreturn]] void Become(char* const* argv, char* const* variables, int out, int log, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execve(argv[0], argv, variables);
  _exit(127);
}

int OpenLog(const std::string& file) {
  if (file.empty()) return memfd_create("log", MFD_CLOEXEC);
  return open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

// "READY a=b c=d" -> {a: b, c: d}
std::map<std::string, std::string> FieldsOf(const std::string& line) {
  std::map<std::string, std::string> fields;
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    if (const size_t equals = word.find('='); equals != std::string::npos) {
      fields[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  return fields;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServerProcess>> ServerProcess::Start(const ServerCommand& command) {
  DIPTYCH_ASSIGN_OR_RETURN(const std::filesystem::path folder, FolderOfThisBinary());
  const std::string binary = (folder / command.binary).string();
  if (access(binary.c_str(), X_OK) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(command.binary, " is missing; it has to be in the folder of diptych, as after `make build`"));
  }
  const int log = OpenLog(command.log_file);
  if (log < 0) return absl::FailedPreconditionError(absl::StrCat("cannot write the log ", command.log_file));
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) {
    close(log);
    return absl::InternalError("no pipe to be had");
  }
  std::vector<std::string> argv{binary};
  argv.insert(argv.end(), command.flags.begin(), command.flags.end());
  const std::vector<char*> arguments = Pointers(argv), variables = Environment(command.inherit_flags);
  const off_t log_begin = lseek(log, 0, SEEK_END);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) Become(arguments.data(), variables.data(), pipe_ends[1], log, parent);
  close(pipe_ends[1]);
  if (pid < 0) {
    close(pipe_ends[0]);
    close(log);
    return absl::InternalError("no process to be had");
  }
  fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK);
  return std::unique_ptr<ServerProcess>(new ServerProcess(pid, pipe_ends[0], log, log_begin));
}

ServerProcess::~ServerProcess() {
  Stop();
  if (!WaitForEnd(kLongestStop)) {
    Kill();
    WaitForEnd(absl::InfiniteDuration());
  }
  close(out_);
  close(log_);
}

void ServerProcess::Stop() {
  if (!HasEnded()) kill(pid_, SIGTERM);
}

void ServerProcess::Kill() {
  if (!HasEnded()) kill(pid_, SIGKILL);
}

bool ServerProcess::HasEnded() {
  int status = 0;
  if (!status_ && waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return status_.has_value();
}

bool ServerProcess::WaitForEnd(absl::Duration patience) {
  const SteadyTime until = FromNow(patience);
  while (!HasEnded()) {
    if (SteadyClock::now() >= until) return false;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return true;
}

void ServerProcess::ReadOutput() {
  char piece[512];
  for (ssize_t got; (got = read(out_, piece, sizeof(piece))) > 0;) said_.append(piece, static_cast<size_t>(got));
  const size_t ready = said_.find("READY");
  if (ready == std::string::npos) return;
  const size_t end = said_.find('\n', ready);
  if (end == std::string::npos) return;
  ready_ = FieldsOf(said_.substr(ready, end - ready));
  said_.clear();
}

ServerProcess::State ServerProcess::Wait(absl::Duration patience) {
  if (ready_.empty()) {
    pollfd waiting{.fd = out_, .events = POLLIN, .revents = 0};
    poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(patience)));
    ReadOutput();
    if (ready_.empty() && (waiting.revents & POLLHUP) != 0) WaitForEnd(absl::Seconds(1));
  }
  if (HasEnded()) return State::kEnded;
  return ready_.empty() ? State::kLoading : State::kReady;
}

std::string ServerProcess::Ready(const std::string& name) const {
  const auto found = ready_.find(name);
  return found == ready_.end() ? "" : found->second;
}

std::string ServerProcess::LastWords() const {
  std::string text(4096, '\0');
  const off_t size = lseek(log_, 0, SEEK_END);
  const off_t begin = std::max(log_begin_, size - static_cast<off_t>(text.size()));
  const ssize_t got = pread(log_, text.data(), text.size(), begin);
  text.resize(std::max<ssize_t>(got, 0));
  text.erase(text.find_last_not_of(" \n") + 1);
  return text.substr(text.rfind('\n') + 1);
}

std::string ServerProcess::HowItEnded() const {
  if (!status_) return "";
  return WIFSIGNALED(*status_) ? absl::StrCat("signal ", WTERMSIG(*status_))
                               : absl::StrCat("exit status ", WEXITSTATUS(*status_));
}

double ServerProcess::ProcessorSeconds() const {
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

}  // namespace diptych::cli
