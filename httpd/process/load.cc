#include "httpd/process/load.h"

#include <Poco/Exception.h>
#include <Poco/Glob.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/SHA2Engine.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <sstream>

#include "httpd/config/lexer.h"
#include "httpd/config/tree.h"
#include "httpd/log/log_set.h"
#include "httpd/modules/site.h"
#include "httpd/modules/ssl_context.h"
#include "os/file.h"
#include "os/socket.h"

namespace httpd::process {

namespace {

bool IsDirectory(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

void FilesBelow(const std::string& directory, std::vector<std::string>& out) {
  auto names = os::ListDirectory(directory);
  if (!names) return;
  std::vector<std::string> sorted = names.value();
  std::sort(sorted.begin(), sorted.end());
  for (const std::string& name : sorted) {
    const std::string path = directory + "/" + name;
    if (IsDirectory(path)) {
      FilesBelow(path, out);
    } else {
      out.push_back(path);
    }
  }
}

os::Result<std::vector<std::string>> Expand(const std::string& pattern) {
  std::vector<std::string> out;
  if (IsDirectory(pattern)) {
    FilesBelow(pattern, out);
    return out;
  }
  if (pattern.find_first_of("*?[") == std::string::npos) {
    if (::access(pattern.c_str(), F_OK) == 0) out.push_back(pattern);
    return out;
  }
  try {
    std::set<std::string> found;
    Poco::Glob::glob(pattern, found, Poco::Glob::GLOB_DOT_SPECIAL);
    for (std::string path : found) {
      while (path.size() > 1 && path.back() == '/') path.pop_back();  // Poco marks directories
      if (IsDirectory(path)) {
        FilesBelow(path, out);
      } else {
        out.push_back(path);
      }
    }
  } catch (const Poco::Exception& error) {
    return os::Error{os::ErrorKind::kInvalid, 0, pattern + ": " + error.displayText()};
  }
  return out;
}

/// What Apache takes for ServerName when nobody says it. Source  server/util.c ap_get_local_host
std::string OwnName(std::vector<std::string>& warnings) {
  char own[256] = "";
  ::gethostname(own, sizeof own - 1);
  std::string name = "127.0.0.1";
  addrinfo hints{};
  hints.ai_flags = AI_CANONNAME;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(own, nullptr, &hints, &found) == 0) {
    char text[NI_MAXHOST] = "";
    if (found->ai_canonname && std::strchr(found->ai_canonname, '.')) {
      name = found->ai_canonname;
    } else if (std::strchr(own, '.')) {
      name = own;
    } else if (::getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0) {
      name = text;
    }
    const bool sure = found->ai_canonname && name == found->ai_canonname;
    ::freeaddrinfo(found);
    if (sure) return name;
  }
  warnings.push_back("AH00558: httpd: Could not reliably determine the server's fully qualified domain name, using " +
                     name + ". Set the 'ServerName' directive globally to suppress this message");
  return name;
}

std::optional<unsigned long> NumberOf(const std::string& name) {
  if (!name.starts_with('#')) return std::nullopt;
  return std::strtoul(name.c_str() + 1, nullptr, 10);
}

}  // namespace

config::Accounts AccountsOf(const config::ServerConfig& config) {
  config::Accounts accounts;
  accounts.used = ::geteuid() == 0;
  accounts.user_id = NumberOf(config.user);
  accounts.group_id = NumberOf(config.group);
  if (const passwd* user = ::getpwnam(config.user.c_str())) accounts.user_id = user->pw_uid;
  if (const group* group = ::getgrnam(config.group.c_str())) accounts.group_id = group->gr_gid;
  return accounts;
}

config::FileSource RealFiles() {
  config::FileSource files;
  files.read = [](const std::string& path) { return os::ReadFile(path); };
  files.expand = Expand;
  files.is_directory = IsDirectory;
  files.exists = [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; };
  files.environment = [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value ? std::optional<std::string>(value) : std::nullopt;
  };
  return files;
}

config::ReadRequest RequestFor(const config::Options& options) {
  config::ReadRequest request;
  request.server_root = options.server_root.empty() ? "/usr/local/baton" : options.server_root;
  char* real = ::realpath(request.server_root.c_str(), nullptr);
  if (real) {
    request.server_root = real;
    std::free(real);
  }
  request.config_file = options.config_file.empty() ? "conf/httpd.conf" : options.config_file;
  request.defines = options.defines;
  request.directives_before = options.directives_before;
  request.directives_after = options.directives_after;
  request.check_document_root = !options.skip_document_root_check;
  return request;
}

os::Result<std::shared_ptr<const Loaded>> Load(const config::Options& options) {
  auto read = config::ReadConfiguration(RequestFor(options), RealFiles());
  if (!read) return read.error();
  auto loaded = std::make_shared<Loaded>();
  loaded->config = std::move(read).value();
  if (loaded->config.main.server_name.empty()) {
    const std::string name = OwnName(loaded->config.warnings);
    loaded->config.main.server_name = name;
    for (config::Host& host : loaded->config.virtual_hosts) {
      if (host.server_name.empty()) host.server_name = name;
    }
  }
  if (!loaded->config.types_config.empty()) {
    auto types = os::ReadFile(loaded->config.types_config);
    if (!types) {
      return os::Error{types.error().kind, 0,
                       "(" + std::to_string(types.error().sys) + ")" + std::strerror(types.error().sys) +
                           ": AH01597: could not open mime types config file " + loaded->config.types_config + "."};
    }
    loaded->types = types.value();
  }
  auto site = modules::Site::Build(loaded->config, nullptr, loaded->types);
  if (!site) return site.error();
  if (const modules::SslSite* ssl = site.value()->ssl()) {
    for (const std::string& warning : ssl->stapling().warnings()) loaded->config.warnings.push_back(warning);
  }
  return std::shared_ptr<const Loaded>(std::move(loaded));
}

os::Status CheckSurroundings(const Loaded& loaded) {
  const config::ServerConfig& c = loaded.config;
  std::vector<std::string> wrong;
  bool logs_are_wrong = false;
  auto note = [&](const std::string& text) {
    if (std::find(wrong.begin(), wrong.end(), text) == wrong.end()) wrong.push_back(text);
  };
  auto check_log = [&](const config::LogTarget& target) {
    if (target.kind == config::LogTarget::Kind::kFile) {
      const std::string directory = target.text.substr(0, target.text.rfind('/'));
      if (IsDirectory(directory)) return;
      logs_are_wrong = true;
      note("(2)No such file or directory: AH02297: Cannot access directory '" + directory + "/' for log file '" +
           target.text + "' defined at " + target.where.file + ":" + std::to_string(target.where.line));
    }
    if (target.kind == config::LogTarget::Kind::kProgram) {
      const std::vector<std::string> words = log::SplitCommand(target.text);
      std::string program = words.empty() ? "" : words[0];
      if (!program.empty() && program[0] != '/') program = c.server_root + "/" + program;
      if (!words.empty() && ::access(program.c_str(), X_OK) == 0) return;
      const int sys = errno;
      note(config::SyntaxError(target.where, "log program '" + (words.empty() ? "" : words[0]) +
                                                 "' cannot be run: " + std::strerror(words.empty() ? EINVAL : sys))
               .what);
    }
  };
  auto check_host = [&](const config::Host& host) {
    check_log(host.error_log);
    for (const config::AccessLog& access : host.access_logs) check_log(access.target);
  };
  check_host(c.main);
  for (const config::Host& host : c.virtual_hosts) check_host(host);
  if (const passwd* user = c.user.empty() || c.user[0] == '#' ? nullptr : ::getpwnam(c.user.c_str());
      c.user == "#0" || (user && user->pw_uid == 0)) {
    note(config::SyntaxError(c.user_where, "User " + c.user + ": " + std::string(kNotAsRoot)).what);
  } else if (!c.user.empty() && c.user[0] != '#' && !user) {
    note(config::SyntaxError(c.user_where, "AH00543: httpd: bad user name " + c.user).what);
  }
  if (!c.group.empty() && c.group[0] != '#' && !::getgrnam(c.group.c_str())) {
    note(config::SyntaxError(c.group_where, "AH00544: httpd: bad group name " + c.group).what);
  }
  if (wrong.empty()) return os::kDone;
  std::string text;
  for (const std::string& one : wrong) text += (text.empty() ? "" : "\n") + one;
  if (logs_are_wrong) text += "\nAH00014: Configuration check failed";
  return os::Error{os::ErrorKind::kNotFound, 0, text};
}

std::string Fingerprint(const config::ServerConfig& config) {
  if (config.flattened.empty()) return "";
  Poco::SHA2Engine engine;
  config::LineReader lines(config.flattened);
  while (auto line = lines.Next()) {
    engine.update(*line);
    engine.update('\n');
  }
  return Poco::DigestEngine::digestToHex(engine.digest()).substr(0, 32);
}

std::string RunConfigJson(const Loaded& loaded) {
  const config::ServerConfig& c = loaded.config;
  Poco::JSON::Object json(Poco::JSON_PRESERVE_KEY_ORDER);
  std::error_code ignored;
  json.set("version", std::string(modules::kVersion));
  json.set("binary", std::filesystem::read_symlink("/proc/self/exe", ignored).string());
  json.set("server_root", c.server_root);
  json.set("config_file", c.config_file);
  json.set("pid_file", c.pid_file);
  json.set("runtime_dir", c.runtime_dir);
  json.set("config_id", Fingerprint(c));
  json.set("user", c.user);
  json.set("group", c.group);
  json.set("graceful_shutdown_timeout", c.graceful_shutdown_timeout_s);
  json.set("graceful_restart_timeout", c.graceful_restart_timeout_s);
  Poco::JSON::Array listen;
  for (const config::ListenAddress& address : c.listen) {
    Poco::JSON::Object entry(Poco::JSON_PRESERVE_KEY_ORDER);
    auto socket = os::SocketAddress::FromIp(address.host, address.port);
    entry.set("address", socket ? socket.value().Text() : address.host + ":" + std::to_string(address.port));
    entry.set("protocol", address.protocol);
    entry.set("file", address.where.file);
    entry.set("line", address.where.line);
    listen.add(entry);
  }
  json.set("listen", listen);
  Poco::JSON::Array logs;
  auto add_log = [&](const char* use, const config::LogTarget& target) {
    static constexpr const char* kKinds[] = {"none", "file", "program", "shell", "syslog"};
    if (target.kind == config::LogTarget::Kind::kNone) return;
    Poco::JSON::Object entry(Poco::JSON_PRESERVE_KEY_ORDER);
    entry.set("use", use);
    entry.set("kind", kKinds[static_cast<int>(target.kind)]);
    entry.set("text", target.text);
    if (target.kind == config::LogTarget::Kind::kProgram) {
      Poco::JSON::Array words;
      for (const std::string& word : log::SplitCommand(target.text)) words.add(word);
      entry.set("arguments", words);
    }
    entry.set("file", target.where.file);
    entry.set("line", target.where.line);
    logs.add(entry);
  };
  auto add_host = [&](const config::Host& host) {
    add_log("error", host.error_log);
    for (const config::AccessLog& access : host.access_logs) add_log("access", access.target);
  };
  add_host(c.main);
  for (const config::Host& host : c.virtual_hosts) add_host(host);
  json.set("logs", logs);
  Poco::JSON::Object pid_file(Poco::JSON_PRESERVE_KEY_ORDER);
  pid_file.set("file", c.pid_file_where.file);
  pid_file.set("line", c.pid_file_where.line);
  json.set("pid_file_where", pid_file);
  Poco::JSON::Array shared;
  for (const config::SharedState& state : c.shared_state) {
    Poco::JSON::Object entry(Poco::JSON_PRESERVE_KEY_ORDER);
    entry.set("id", state.id);
    entry.set("severity", state.dangerous ? "danger" : "notice");
    entry.set("text", state.text);
    entry.set("advice", state.advice);
    entry.set("file", state.where.file);
    entry.set("line", state.where.line);
    shared.add(entry);
  }
  json.set("shared", shared);
  std::ostringstream out;
  json.stringify(out, 2);
  return out.str() + "\n";
}

}  // namespace httpd::process
