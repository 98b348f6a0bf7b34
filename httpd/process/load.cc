#include "httpd/process/load.h"

#include <Poco/Exception.h>
#include <Poco/Glob.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/SHA2Engine.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <sstream>

#include "httpd/config/lexer.h"
#include "httpd/log/log_set.h"
#include "httpd/modules/site.h"
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

}  // namespace

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
  return std::shared_ptr<const Loaded>(std::move(loaded));
}

os::Status CheckSurroundings(const Loaded& loaded) {
  const config::ServerConfig& c = loaded.config;
  auto check_log = [&](const config::LogTarget& target) -> os::Status {
    if (target.kind == config::LogTarget::Kind::kFile) {
      const std::string directory = target.text.substr(0, target.text.rfind('/'));
      if (IsDirectory(directory)) return os::kDone;
      return os::Error{os::ErrorKind::kNotFound, 0,
                       "(2)No such file or directory: AH02297: Cannot access directory '" + directory +
                           "/' for log file '" + target.text + "' defined at " + target.where.file + ":" +
                           std::to_string(target.where.line) + "\nAH00014: Configuration check failed"};
    }
    if (target.kind == config::LogTarget::Kind::kProgram) {
      const std::vector<std::string> words = log::SplitCommand(target.text);
      std::string program = words.empty() ? "" : words[0];
      if (!program.empty() && program[0] != '/') program = c.server_root + "/" + program;
      if (!words.empty() && ::access(program.c_str(), X_OK) == 0) return os::kDone;
      const int sys = errno;
      return os::Error{os::ErrorKind::kNotFound, 0,
                       "AH00526: Syntax error on line " + std::to_string(target.where.line) + " of " +
                           target.where.file + ":\nlog program '" + (words.empty() ? "" : words[0]) +
                           "' cannot be run: " + std::strerror(words.empty() ? EINVAL : sys)};
    }
    return os::kDone;
  };
  auto check_host = [&](const config::Host& host) -> os::Status {
    if (auto ok = check_log(host.error_log); !ok) return ok;
    for (const config::AccessLog& access : host.access_logs) {
      if (auto ok = check_log(access.target); !ok) return ok;
    }
    return os::kDone;
  };
  if (auto ok = check_host(c.main); !ok) return ok;
  for (const config::Host& host : c.virtual_hosts) {
    if (auto ok = check_host(host); !ok) return ok;
  }
  if (!c.user.empty() && c.user[0] != '#' && !::getpwnam(c.user.c_str())) {
    return os::Error{os::ErrorKind::kNotFound, 0,
                     "AH00526: Syntax error on line " + std::to_string(c.user_where.line) + " of " + c.user_where.file +
                         ":\nAH00543: httpd: bad user name " + c.user};
  }
  if (!c.group.empty() && c.group[0] != '#' && !::getgrnam(c.group.c_str())) {
    return os::Error{os::ErrorKind::kNotFound, 0,
                     "AH00526: Syntax error on line " + std::to_string(c.group_where.line) + " of " +
                         c.group_where.file + ":\nAH00544: httpd: bad group name " + c.group};
  }
  return os::kDone;
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
    static constexpr const char* kKinds[] = {"none", "file", "program", "shell"};
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
