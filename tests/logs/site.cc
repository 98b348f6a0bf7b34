#include "tests/logs/site.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "os/pid_file.h"

namespace logs {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

std::vector<Process> EveryProcess() {
  std::vector<Process> out;
  DIR* directory = ::opendir("/proc");
  if (!directory) return out;
  while (const dirent* one = ::readdir(directory)) {
    Process process;
    process.pid = std::atoi(one->d_name);
    if (process.pid <= 0) continue;
    const std::string base = std::string("/proc/") + one->d_name;
    const std::string stat = FileText(base + "/stat");
    const size_t open = stat.find('(');
    const size_t close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos) continue;
    if (std::sscanf(stat.c_str() + close + 1, " %c %d", &process.state, &process.parent) != 2) continue;
    process.name = stat.substr(open + 1, close - open - 1);
    process.command = FileText(base + "/cmdline");
    std::replace(process.command.begin(), process.command.end(), '\0', ' ');
    out.push_back(std::move(process));
  }
  ::closedir(directory);
  return out;
}

std::string Find(const std::string& name) {
  for (const char* directory : {"/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"}) {
    if (::access((directory + name).c_str(), X_OK) == 0) return directory + name;
  }
  return "";
}

std::vector<std::string> LinesOf(const fs::path& directory, const std::string& stem) {
  std::vector<fs::path> files;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(directory, failed)) {
    if (entry.is_regular_file() && entry.path().filename().string().starts_with(stem)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> out;
  for (const fs::path& file : files) {
    std::istringstream text(FileText(file));
    for (std::string line; std::getline(text, line);) out.push_back(line);
  }
  return out;
}

size_t Count(const std::vector<std::string>& lines, const std::string& text) {
  return static_cast<size_t>(std::count_if(
      lines.begin(), lines.end(), [&](const std::string& line) { return line.find(text) != std::string::npos; }));
}

void Site::SetUp() {
  ::signal(SIGPIPE, SIG_IGN);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  std::string name = "/tmp/baton-logs-XXXXXX";
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  root_ = name;
  ASSERT_EQ(::chmod(name.c_str(), 0755), 0);
}

void Site::TearDown() {
  if (root_.empty()) return;
  const bool alone = Eventually([this] { return Mine().empty(); }, HasFailure() ? 100ms : 20s);
  for (const Process& process : Mine()) {
    if (!alone && !HasFailure()) ADD_FAILURE() << "left running: " << process.pid << " " << process.command;
    ::kill(process.pid, SIGKILL);
  }
  for (const Process& process : EveryProcess()) {
    if (process.parent == ::getpid() && process.state == 'Z') ::waitpid(process.pid, nullptr, WNOHANG);
  }
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

std::vector<Process> Site::Mine() const {
  std::vector<Process> out;
  for (Process& process : EveryProcess()) {
    if (process.pid == ::getpid() || process.command.find(root_.string()) == std::string::npos) continue;
    out.push_back(std::move(process));
  }
  return out;
}

std::vector<pid_t> Site::Loggers() const {
  std::vector<pid_t> out;
  for (const Process& process : Mine()) {
    if (process.name == "rotatelogs") out.push_back(process.pid);
  }
  return out;
}

std::vector<int> Site::ReapLoggers() const {
  std::vector<int> out;
  for (const Process& process : EveryProcess()) {
    if (process.parent != ::getpid() || process.state != 'Z' || process.name != "rotatelogs") continue;
    int status = 0;
    if (::waitpid(process.pid, &status, WNOHANG) != process.pid) continue;
    out.push_back(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  }
  return out;
}

Outcome Site::Processlogs(std::vector<std::string> words, const std::vector<std::string>& environment) const {
  words.insert(words.begin(), e2e::Program("processlogs"));
  return Execute(words, environment);
}

Apache::Apache(const fs::path& root, const Options& options) : directory_(root / options.name), port_(e2e::FreePort()) {
  for (const char* name : {"cgi-bin", "gates", "htdocs"}) fs::create_directories(directory_ / name);
  ::chmod((directory_ / "gates").c_str(), 0777);
  e2e::WriteFile(directory_ / "htdocs" / "ok", "ok\n");
  const std::string dir = directory_.string();
  e2e::WriteFile(directory_ / "cgi-bin" / "slow", "#!/bin/sh\ncd " + dir + R"(/gates
echo $PPID >$QUERY_STRING.new
mv $QUERY_STRING.new $QUERY_STRING.started
read go <$QUERY_STRING.gate
echo $QUERY_STRING speaks >&2
printf 'Content-Type: text/plain\r\n\r\ndone\n'
)");
  ::chmod((directory_ / "cgi-bin" / "slow").c_str(), 0755);
  std::string logs = options.logs;
  for (size_t at; (at = logs.find("{dir}")) != std::string::npos;) logs.replace(at, 5, dir);
  const std::string modules = "/usr/lib/apache2/modules/mod_";
  std::string text = "ServerRoot " + dir + "\nServerName localhost\nListen 127.0.0.1:" + std::to_string(port_) +
                     "\nPidFile pid\nDefaultRuntimeDir " + dir + "\nDocumentRoot htdocs\n";
  for (const std::string& name : {"mpm_" + options.mpm, std::string("authz_core"), std::string("alias"), options.cgi}) {
    text += "LoadModule " + name + "_module " + modules + name + ".so\n";
  }
  if (options.cgi == "cgid") text += "ScriptSock socket\n";
  if (::geteuid() == 0) text += "User www-data\nGroup www-data\n";
  text += options.mpm == "prefork"
              ? "StartServers 2\nMinSpareServers 2\nMaxSpareServers 2\nMaxRequestWorkers 16\n"
              : "StartServers 1\nThreadsPerChild 8\nMinSpareThreads 4\nMaxSpareThreads 16\nMaxRequestWorkers 16\n";
  text +=
      "ScriptAlias /cgi-bin/ cgi-bin/\n<Directory />\nRequire all granted\n</Directory>\nLogLevel notice\n"
      "LogFormat \"%U%q %>s\" path\n" +
      logs + "\n";
  e2e::WriteFile(directory_ / "conf", text);
}

Apache::~Apache() {
  Kill();
}

void Apache::Kill() {
  const std::string mark = (directory_ / "conf").string();
  for (const Process& process : EveryProcess()) {
    if (process.name == "apache2" && process.command.find(mark) != std::string::npos) ::kill(process.pid, SIGKILL);
  }
  EXPECT_TRUE(Eventually([this] { return !Runs(); }));
}

std::vector<std::string> Apache::Command(const std::vector<std::string>& more) const {
  std::vector<std::string> out = {Find("apache2"), "-d", directory_.string(), "-f", (directory_ / "conf").string()};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

void Apache::Start() {
  const Outcome started = Execute(Command({"-k", "start"}));
  ASSERT_EQ(started.status, 0) << started.All();
  ASSERT_TRUE(Eventually([this] { return Get("/ok").has_value(); })) << FileText(directory_ / "error.log");
  auto pid = os::ReadPidFile(directory_ / "pid");
  ASSERT_TRUE(pid) << pid.error().Text();
  pid_ = pid.value();
}

void Apache::Control(const std::string& verb) const {
  const Outcome done = Execute(Command({"-k", verb}));
  ASSERT_EQ(done.status, 0) << done.All();
}

void Apache::Graceful() {
  const auto generations = [this] { return Count(LinesOf(directory_, "error"), "resuming normal operations"); };
  ASSERT_TRUE(Eventually([&] { return generations() > 0; }));
  const size_t before = generations();
  Control("graceful");
  ASSERT_TRUE(Eventually([&] { return generations() > before; })) << "no new generation:\n"
                                                                  << FileText(directory_ / "error.log");
  ASSERT_TRUE(Get("/ok"));
}

void Apache::Stop() {
  Control("stop");
  ASSERT_TRUE(Eventually([this] { return !Runs(); }));
}

bool Apache::Runs() const {
  if (pid_ <= 0) return false;
  ::waitpid(pid_, nullptr, WNOHANG);  // it detached: we are its subreaper
  return ::kill(pid_, 0) == 0;
}

std::optional<e2e::Answer> Apache::Get(const std::string& path) const {
  auto connection = e2e::Connection::Open(port_);
  if (!connection || !connection->Send(e2e::GetRequest(path, "Connection: close\r\n"))) return std::nullopt;
  return connection->Read();
}

Slow::Slow(const Apache& apache, const std::string& id) {
  const fs::path gates = apache.directory() / "gates";
  const std::string gate = (gates / (id + ".gate")).string();
  EXPECT_EQ(::mkfifo(gate.c_str(), 0666), 0);
  ::chmod(gate.c_str(), 0666);
  gate_ = os::Fd(::open(gate.c_str(), O_RDWR | O_CLOEXEC));  // when we go, the script reads an end
  connection_ = e2e::Connection::Open(apache.port());
  EXPECT_TRUE(connection_ && connection_->Send(e2e::GetRequest("/cgi-bin/slow?" + id, "Connection: close\r\n")));
  EXPECT_TRUE(Eventually([&] {
    parent_ = std::atoi(FileText(gates / (id + ".started")).c_str());
    return parent_ > 0;
  })) << "the script does not run: "
      << FileText(apache.directory() / "error.log");
}

bool Slow::Finish() {
  if (!connection_ || ::write(gate_.get(), "go\n", 3) != 3) return false;
  const std::string answer = connection_->ReadSome(1 << 20);  // to its end: Apache may or may not know its length
  return answer.starts_with("HTTP/1.1 200 ") && answer.find("done\n") != std::string::npos;
}

Probe::Probe(const Apache& apache) {
  thread_ = std::thread([this, &apache] {
    while (!stop_) {
      const auto begin = std::chrono::steady_clock::now();
      const auto answer = apache.Get("/ok");
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      ++(answer && answer->status == 200 ? answered_ : failed_);
      longest_ = std::max(longest_, took);
      std::this_thread::sleep_for(2ms);  // its pace; nothing waits for it
    }
  });
}

Probe::~Probe() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

std::chrono::duration<double> Probe::Longest() {
  stop_ = true;
  thread_.join();
  return longest_;
}

}  // namespace logs
