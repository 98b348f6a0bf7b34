#include "tests/e2e/server.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "os/file.h"
#include "os/pid_file.h"
#include "os/socket.h"

namespace e2e {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

namespace {

struct Entry {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';
  std::string name;
};

std::optional<Entry> Look(pid_t pid) {
  const std::string stat = FileText("/proc/" + std::to_string(pid) + "/stat");
  const size_t open = stat.find('(');
  const size_t close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  Entry entry;
  entry.pid = pid;
  entry.name = stat.substr(open + 1, close - open - 1);
  int parent = 0;
  if (std::sscanf(stat.c_str() + close + 1, " %c %d", &entry.state, &parent) != 2) return std::nullopt;
  entry.parent = parent;
  return entry;
}

std::vector<Entry> EveryProcess() {
  std::vector<Entry> out;
  DIR* directory = ::opendir("/proc");
  if (!directory) return out;
  while (const dirent* one = ::readdir(directory)) {
    const pid_t pid = std::atoi(one->d_name);
    if (pid <= 0) continue;
    if (auto entry = Look(pid)) out.push_back(*entry);
  }
  ::closedir(directory);
  return out;
}

/// Servers detach: their parents become ours (we are their subreaper), and nobody else would reap them.
void ReapStrangers() {
  for (const Entry& entry : EveryProcess()) {
    if (entry.parent == ::getpid() && entry.state == 'Z') ::waitpid(entry.pid, nullptr, WNOHANG);
  }
}

Outcome Collect(const std::string& out, const std::string& err, const os::ExitStatus& how) {
  return {how.signaled ? 128 + how.code : how.code, FileText(out), FileText(err)};
}

struct Files {
  explicit Files(std::string stem) : out(stem + ".out"), err(stem + ".err") {}
  ~Files() {
    ::unlink(out.c_str());
    ::unlink(err.c_str());
  }
  std::string out, err;
};

std::string NextStem() {
  static std::atomic<int> number = 0;
  return "/tmp/baton-e2e-run." + std::to_string(::getpid()) + "." + std::to_string(++number);
}

os::Result<os::ProcessHandle> Launch(const std::vector<std::string>& words, const std::string& out,
                                     const std::string& err, const std::vector<std::string>& more_environment) {
  os::SpawnOptions options;
  options.program = words.front();
  options.arguments = words;
  options.environment = os::Environment({"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"});
  options.environment.insert(options.environment.end(), more_environment.begin(), more_environment.end());
  auto out_fd = os::Open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!out_fd) return out_fd.error();
  auto err_fd = os::Open(err, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (!err_fd) return err_fd.error();
  options.descriptors = {{out_fd.value().get(), 1}, {err_fd.value().get(), 2}};
  return os::Spawn(options);
}

}  // namespace

std::string Program(const std::string& name) {
  return std::string(BATON_BIN) + "/" + name;
}

std::string Outcome::All() const {
  return "exit status " + std::to_string(status) + "\nstdout: " + out + "\nstderr: " + err;
}

Outcome Execute(const std::vector<std::string>& words, const std::vector<std::string>& more_environment) {
  const Files files(NextStem());
  auto process = Launch(words, files.out, files.err, more_environment);
  if (!process) {
    ADD_FAILURE() << process.error().Text();
    return {};
  }
  if (!process.value().WaitForEnd(static_cast<int>(milliseconds(kPatience).count()))) {
    ADD_FAILURE() << words.front() << " " << (words.size() > 1 ? words[1] : "") << " did not end; its words so far:\n"
                  << FileText(files.out) << FileText(files.err);
    if (!process.value().Signal(SIGKILL)) return {};
    process.value().WaitForEnd(-1);
  }
  return Collect(files.out, files.err, process.value().TryReap().value_or(os::ExitStatus()));
}

Running::Running(const std::vector<std::string>& words, const fs::path& output,
                 const std::vector<std::string>& more_environment)
    : output_(output) {
  auto process = Launch(words, output.string() + ".out", output.string() + ".err", more_environment);
  if (!process) {
    ADD_FAILURE() << process.error().Text();
    return;
  }
  process_ = std::move(process).value();
}

Running::~Running() {
  if (!process_.valid() || process_.TryReap()) return;
  if (process_.Signal(SIGKILL)) process_.WaitForEnd(-1);
  process_.TryReap();
}

void Running::Signal(int number) const {
  auto sent = process_.Signal(number);
  if (!sent) ADD_FAILURE() << sent.error().Text();
}

Outcome Running::Wait() {
  if (!process_.WaitForEnd(static_cast<int>(milliseconds(kPatience).count()))) {
    ADD_FAILURE() << "process " << pid() << " did not end; its words so far:\n"
                  << FileText(output_.string() + ".out") << FileText(output_.string() + ".err");
    Signal(SIGKILL);
    process_.WaitForEnd(-1);
  }
  return Collect(output_.string() + ".out", output_.string() + ".err", process_.TryReap().value_or(os::ExitStatus()));
}

bool Eventually(const std::function<bool()>& true_now, milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    if (true_now()) return true;
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
}

std::string FileText(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void WriteFile(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  ASSERT_TRUE(out.good()) << path;
}

size_t CountOf(const std::string& text, const std::string& word) {
  size_t n = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + word.size())) ++n;
  return n;
}

uint16_t FreePort() {
  static std::atomic<uint32_t> next = 0;
  for (;;) {
    const uint32_t number = static_cast<uint32_t>(::getpid()) * 131 + next++ * 7;
    const auto port = static_cast<uint16_t>(10000 + number % 20000);
    const auto address = os::SocketAddress::FromIp("127.0.0.1", port);
    if (port == 10080) continue;  // browsers do not go there
    if (address && os::ListenTcp(address.value(), 1)) return port;
  }
}

// ---- the fixture ---------------------------------------------------------------------------------------------------

void Server::SetUp() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  char name[] = "/tmp/baton-e2e.XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  outside_ = name;
  ::chmod(name, 0755);  // the children of a server that root starts are somebody else
  UseRoot(outside_ / "root");
  port_ = FreePort();
  Configure({});
}

void Server::UseRoot(const fs::path& root) {
  root_ = root;
  for (const char* folder : {"conf", "logs", "site", "out"}) fs::create_directories(root_ / folder);
  WriteFile(root_ / "site" / "index.html", "<title>front page</title>\n");
  std::string page = "<title>a page</title>\n";
  for (int i = 0; i < 100; ++i) page += "<p>line " + std::to_string(i) + " of a small page</p>\n";
  WriteFile(root_ / "site" / "page.html", page);
  std::string big(20'000'000, '\0');
  uint32_t random = 12345;
  for (char& byte : big) byte = static_cast<char>((random = random * 1664525 + 1013904223) >> 24);
  WriteFile(root_ / "site" / "big.bin", big);
}

void Server::Configure(const Settings& settings) {
  std::ostringstream out;
  out << "ServerRoot \"" << root_.string() << "\"\nServerName localhost\n";
  for (const uint16_t port : settings.ports.empty() ? std::vector<uint16_t>{port_} : settings.ports) {
    out << "Listen 127.0.0.1:" << port << "\n";
  }
  out << "DefaultRuntimeDir run\nPidFile run/httpd.pid\nStartServers 2\nDocumentRoot site\n"
      << "<Directory \"" << root_.string() << "/site\">\n    Require all granted\n</Directory>\n"
      << "KeepAlive On\nKeepAliveTimeout 30\nMaxKeepAliveRequests 0\nTimeout 60\n"
      << "GracefulShutdownTimeout " << settings.graceful_shutdown << "\nErrorLog logs/error.log\n"
      << "LogFormat \"%h %l %u %t \\\"%r\\\" %>s %b %P\" pid\nCustomLog \"" << settings.log << "\" pid\n"
      << "<Location \"/server-status\">\n    SetHandler server-status\n</Location>\n"
      << settings.more << "\n";
  WriteFile(root_ / "conf" / "httpd.conf", out.str());
}

std::string Server::PipedLog() const {
  return "|" + Program("rotatelogs") + " " + (root_ / "logs" / "access.log").string() + " 20K";
}

std::string Server::TimedLog() const {
  return "|" + Program("rotatelogs") + " " + (root_ / "logs" / "access.log").string() + " 1";
}

std::vector<std::string> Server::HttpdCommand(const std::vector<std::string>& arguments) const {
  std::vector<std::string> words = {Program("httpd"), "-d", root_.string(), "-f", "conf/httpd.conf"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

Outcome Server::Httpd(const std::vector<std::string>& arguments) const {
  return Execute(HttpdCommand(arguments));
}

std::vector<std::string> Server::OrchestratorCommand(const std::string& verb,
                                                     const std::vector<std::string>& arguments) const {
  std::vector<std::string> words = {Program("orchestrator"), verb, "-d", root_.string(), "-f", "conf/httpd.conf"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

Outcome Server::Orchestrator(const std::string& verb, const std::vector<std::string>& arguments) const {
  return Execute(OrchestratorCommand(verb, arguments));
}

void Server::Start() {
  const Outcome started = Httpd({"-k", "start"});
  ASSERT_EQ(started.status, 0) << started.All();
  ASSERT_NE(Pid(), 0);
}

fs::path Server::Script(const std::string& name, const std::string& body) const {
  const fs::path path = outside_ / name;
  WriteFile(path, "#!/bin/sh\n" + body + "\n");
  ::chmod(path.c_str(), 0755);
  return path;
}

pid_t Server::Pid() const {
  auto pid = os::ReadPidFile(root_ / "run" / "httpd.pid");
  return pid ? pid.value() : 0;
}

std::vector<pid_t> Server::Processes() const {
  ReapStrangers();
  std::vector<pid_t> out;
  for (const Entry& entry : EveryProcess()) {
    if (entry.state == 'Z' || entry.pid == ::getpid()) continue;
    const std::string words = FileText("/proc/" + std::to_string(entry.pid) + "/cmdline");
    if (words.find(root_.string()) == std::string::npos && words.find(outside_.string()) == std::string::npos) continue;
    out.push_back(entry.pid);
  }
  return out;
}

std::vector<pid_t> Server::Parents() const {
  const std::vector<pid_t> all = Processes();
  std::vector<pid_t> out;
  for (const pid_t pid : all) {
    const auto entry = Look(pid);
    if (!entry || !entry->name.starts_with("httpd")) continue;
    if (std::find(all.begin(), all.end(), entry->parent) == all.end()) {
      out.push_back(pid);
    } else if (const auto parent = Look(entry->parent); parent && !parent->name.starts_with("httpd")) {
      out.push_back(pid);  // a newcomer: child of the orchestrator
    }
  }
  return out;
}

std::vector<pid_t> Server::Children(pid_t parent) const {
  std::vector<pid_t> out;
  for (const Entry& entry : EveryProcess()) {
    if (entry.parent == parent && entry.state != 'Z' && entry.name.starts_with("httpd")) out.push_back(entry.pid);
  }
  return out;
}

std::vector<pid_t> Server::LogPrograms(pid_t parent) const {
  std::vector<pid_t> out;
  for (const Entry& entry : EveryProcess()) {
    if (entry.parent == parent && entry.state != 'Z' && entry.name == "rotatelogs") out.push_back(entry.pid);
  }
  return out;
}

std::vector<std::string> Server::RuntimeFiles() const {
  std::vector<std::string> out;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(root_ / "run", failed)) {
    const std::string name = entry.path().filename().string();
    if (name == "orchestrator") continue;    // its lock and journal stay by design
    if (name == "httpd.tickets") continue;   // sessions are resumed after a stop and a start, too
    if (name == "httpd.stapling") continue;  // and what authorities have said is shown
    out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string Server::ErrorLog() const {
  return FileText(root_ / "logs" / "error.log");
}

std::map<std::string, std::string> Server::Status(uint16_t port) const {
  std::map<std::string, std::string> out;
  const auto answer = Get("/server-status?auto", port);
  if (!answer) return out;
  std::istringstream lines(answer->body);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) out[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return out;
}

std::optional<Answer> Server::Get(const std::string& path, uint16_t port) const {
  auto connection = Connection::Open(port == 0 ? port_ : port);
  if (!connection || !connection->Send(GetRequest(path, "Connection: close\r\n"))) return std::nullopt;
  return connection->Read();
}

std::vector<fs::path> Server::AccessLogs() const {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(root_ / "logs")) {
    if (entry.is_regular_file() && entry.path().filename().string().starts_with("access")) out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::map<std::string, int> Server::LoggedRids() const {
  std::map<std::string, int> out;
  for (const fs::path& path : AccessLogs()) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
      const size_t at = line.find("rid=");
      if (at == std::string::npos) continue;
      ++out[line.substr(at + 4, line.find_first_of(" &\"", at) - at - 4)];
    }
  }
  return out;
}

void Server::TearDown() {
  const Outcome stopped = Orchestrator("stop");
  if (stopped.status != 0) {
    // A test may end with a configuration that cannot be read.
    for (const pid_t pid : Parents()) ::kill(pid, SIGTERM);
  }
  if (!Eventually([this] { return Processes().empty(); }, std::chrono::seconds(30))) {
    for (const pid_t pid : Processes()) {
      std::string words = FileText("/proc/" + std::to_string(pid) + "/cmdline");
      std::replace(words.begin(), words.end(), '\0', ' ');
      ADD_FAILURE() << "left running: " << pid << " " << words << "\norchestrator stop: " << stopped.All();
      ::kill(pid, SIGKILL);
    }
    Eventually([this] { return Processes().empty(); });
  }
  for (const std::string& name : RuntimeFiles()) ADD_FAILURE() << "left in run/: " << name;
  const std::string errors = ErrorLog();
  for (const char* bad : {"ERROR: AddressSanitizer", "runtime error:", "WARNING: ThreadSanitizer"}) {
    if (errors.find(bad) != std::string::npos) ADD_FAILURE() << bad << " in the error log";
  }
  if (!deaths_allowed_ && errors.find("AH00052") != std::string::npos) ADD_FAILURE() << "a child crashed";
  if (HasFailure()) {
    const size_t from = errors.size() > 8000 ? errors.size() - 8000 : 0;
    std::fprintf(stderr, "---- end of %s/logs/error.log\n%s----\n", root_.c_str(), errors.substr(from).c_str());
    if (std::getenv("BATON_KEEP")) {
      std::fprintf(stderr, "kept: %s\n", outside_.c_str());
      return;
    }
  }
  std::error_code failed;
  fs::remove_all(root_, failed);
  fs::remove_all(outside_, failed);
}

// ---- load ----------------------------------------------------------------------------------------------------------

Load::Load(const fs::path& root, uint16_t port, const std::function<void(support::LoadOptions&)>& change)
    : answered_(root / "out" / "answered") {
  support::LoadOptions options;
  options.server = os::SocketAddress::FromIp("127.0.0.1", port).value();
  options.connections = {3, 3, 3, 3, 3, 3};
  options.rate = 150;
  options.small = {"/page.html", "/index.html"};
  options.big = "/big.bin";
  options.late = milliseconds(30'000);
  options.download_time = milliseconds(3'000);
  options.upload_time = milliseconds(1'000);
  options.run = "e2e";
  options.answered_file = answered_;
  options.failed_file = root / "out" / "failed";
  options.started_file = root / "out" / "started";
  if (change) change(options);
  const fs::path started = options.started_file;
  auto client = support::LoadClient::Create(std::move(options), clock_);
  if (!client) {
    ADD_FAILURE() << client.error().Text();
    return;
  }
  client_ = std::move(client).value();
  thread_ = std::thread([this] { report_ = client_->Run(); });
  EXPECT_TRUE(Eventually([&] { return fs::exists(started); })) << "the load did not start";
}

Load::~Load() {
  Stop();
}

const support::Report& Load::Stop() {
  if (thread_.joinable()) {
    client_->Stop();
    thread_.join();
  }
  return report_;
}

void Load::ExpectFlawless(const std::function<std::map<std::string, int>()>& logged) {
  if (!client_) return;
  Stop();
  EXPECT_EQ(report_.Failures(), 0U) << support::ToText(report_, {}, 1);
  EXPECT_GT(report_.Answered(), 0U);
  std::vector<std::string> answered;
  std::ifstream in(answered_);
  for (std::string rid; std::getline(in, rid);) answered.push_back(rid);
  EXPECT_EQ(answered.size(), report_.Answered());
  std::map<std::string, int> found;
  std::vector<std::string> missing;
  // The last lines may still be in a log program's pipe.
  Eventually(
      [&] {
        found = logged();
        missing.clear();
        for (const std::string& rid : answered) {
          if (!found.contains(rid)) missing.push_back(rid);
        }
        return missing.empty();
      },
      std::chrono::seconds(10));
  EXPECT_TRUE(missing.empty()) << missing.size() << " of " << answered.size() << " answered requests are not logged, "
                               << missing.front() << " first";
  std::string twice;
  for (const std::string& rid : answered) {
    const int times = found[rid];
    if (times > 1) twice += " " + rid + " (" + std::to_string(times) + " times)";
  }
  EXPECT_EQ(twice, "") << "requests are logged more than once";
}

}  // namespace e2e
