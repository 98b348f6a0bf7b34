#include "httpd/modules/handler.h"

#include <unistd.h>

#include <Poco/RegularExpression.h>
#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "httpd/http/values.h"
#include "httpd/modules/autoindex.h"
#include "httpd/modules/static_file.h"
#include "httpd/modules/status.h"

namespace httpd::modules {

using config::LogLevel;
using http::Method;
using net::Request;
using net::Response;

namespace {

/// Whether a URL-path prefix of Alias, Redirect, <Location> or a directory covers `path`: at a segment boundary.
bool Covers(std::string_view prefix, std::string_view path) {
  if (!path.starts_with(prefix)) return false;
  return prefix.empty() || prefix.back() == '/' || path.size() == prefix.size() || path[prefix.size()] == '/';
}

bool Matches(const CompiledHost::Section& section, const std::string& text, bool whole_name) {
  if (section.regex) {
    Poco::RegularExpression::Match found;
    return section.regex->match(text, 0, found) > 0;
  }
  if (section.section->is_wildcard) {
    if (whole_name) return http::WildcardMatch(section.section->pattern, text, false);
    // A wildcard names a directory: every leading part of the path is a candidate.
    for (size_t end = text.find('/', 1);; end = text.find('/', end + 1)) {
      if (http::WildcardMatch(section.section->pattern, std::string_view(text).substr(0, end), true)) return true;
      if (end == std::string::npos) return false;
    }
  }
  return whole_name ? section.section->pattern == text : Covers(section.section->pattern, text);
}

/// `path` with runs of slashes made one: otherwise "Alias /x /srv/y/" would lead past <Directory /srv/y/secret>.
std::string WithSingleSlashes(std::string path) {
  path.erase(std::unique(path.begin(), path.end(), [](char a, char b) { return a == '/' && b == '/'; }), path.end());
  return path;
}

/// What Finish() needs of a request that modules have changed or noted something about.
struct ExchangeNote final : net::HandlerNote {
  Environment environment;
  Environment first_environment;  ///< before an internal redirect: what env= of a log asks, as in Apache
  bool has_fields = false;
  std::vector<std::pair<std::string, std::string>> fields;  ///< the request's, as modules left them
};

std::unique_ptr<net::HandlerNote> NoteOf(const RequestState& state, bool edited) {
  if (state.environment.size() == 0 && !state.first_environment && !edited) return nullptr;
  auto note = std::make_unique<ExchangeNote>();
  note->environment = state.environment;
  note->first_environment = state.first_environment.value_or(state.environment);
  note->has_fields = edited;
  if (edited) {
    for (const http::HeaderField& field : state.head().fields) note->fields.emplace_back(field.name, field.value);
  }
  return note;
}

void LeaveOutBodyForHead(const Request& request, Response& response) {
  if (request.head->method != Method::kHead || response.without_body) return;
  response.content_length = response.body.size();
  response.without_body = true;
  response.file.Reset();
}

}  // namespace

Handler::Handler(const Site& site, const net::Scoreboard& board) : site_(site), board_(board) {
  limits_.line = static_cast<size_t>(site.config().limit_request_line);
  limits_.fields = static_cast<size_t>(site.config().limit_request_fields);
  limits_.field_size = static_cast<size_t>(site.config().limit_request_field_size);
  for (const CompiledHost& host : site.hosts()) {
    idle_timeout_ms_ = std::max(idle_timeout_ms_, host.host->keep_alive_timeout_ms);
    for (const CompiledHost::Log& log : host.logs) {
      if (!log.sink || by_sink_.contains(log.sink)) continue;
      streams_.push_back(std::make_unique<log::LogStream>(*log.sink));
      by_sink_[log.sink] = streams_.back().get();
    }
  }
}

Handler::~Handler() = default;

uint64_t Handler::LostLogLines() const {
  uint64_t sum = 0;
  for (const auto& stream : streams_) sum += stream->lost_lines();
  return sum;
}

bool Handler::EndTurn() {
  bool all = true;
  for (const auto& stream : streams_) all = stream->Flush() && all;
  return all;
}

int Handler::SelectHost(const Request& request) const {
  return site_.Select(request.local_port, request.head->authority, [&request] { return LocalAddressOf(request); });
}

void Handler::ApplyHost(int host, Response& response) const {
  const config::Host& h = *site_.hosts()[static_cast<size_t>(host)].host;
  response.host = host;
  response.keep_alive_timeout_ms = h.keep_alive_timeout_ms;
  response.max_keep_alive_requests = h.max_keep_alive_requests;
  response.timeout_ms = h.timeout_ms;
  if (!h.keep_alive) response.close = true;
}

void Handler::LogError(int host, LogLevel level, std::string_view module, std::string text, const Request& request) {
  const log::ErrorLog& error_log = *site_.hosts()[static_cast<size_t>(host)].error_log;
  if (!error_log.Wants(level)) return;
  error_log.Write(level, module, text, std::string(request.client_address) + ":" + std::to_string(request.client_port));
}

const Effective& Handler::Settings(const Target& target) {
  const CompiledHost& host = site_.hosts()[static_cast<size_t>(target.host)];
  // The key is the list of matching sections: two files with the same list have the same settings.
  settings_key_.clear();
  auto note = [this](char kind, size_t index) {
    settings_key_ += kind;
    settings_key_ += static_cast<char>(index & 0xff);
    settings_key_ += static_cast<char>(index >> 8);
  };
  note('h', static_cast<size_t>(target.host));
  for (size_t i = 0; i < host.directories.size(); ++i) {
    if (Matches(host.directories[i], target.file, false)) note('d', i);
  }
  if (!host.files.empty()) {
    const std::string name = target.file.substr(target.file.rfind('/') + 1);
    for (size_t i = 0; i < host.files.size(); ++i) {
      const int enclosing = host.files[i].enclosing;
      if (enclosing >= 0 && !Matches(host.directories[static_cast<size_t>(enclosing)], target.file, false)) continue;
      if (!name.empty() && Matches(host.files[i], name, true)) note('f', i);
    }
  }
  for (size_t i = 0; i < host.locations.size(); ++i) {
    if (Matches(host.locations[i], target.path, false)) note('l', i);
  }
  auto& cached = settings_[settings_key_];
  if (cached) return *cached;
  auto made = std::make_unique<Effective>();
  made->directory_index = {"index.html"};
  made->Merge(host.host->settings);
  for (size_t at = 3; at < settings_key_.size(); at += 3) {
    const size_t index = static_cast<unsigned char>(settings_key_[at + 1]) |
                         static_cast<size_t>(static_cast<unsigned char>(settings_key_[at + 2])) << 8;
    const auto& list = settings_key_[at] == 'd'   ? host.directories
                       : settings_key_[at] == 'f' ? host.files
                                                  : host.locations;
    made->Merge(list[index].section->settings);
  }
  made->hooks = ModulesWith(made->modules);
  cached = std::move(made);
  return *cached;
}

void Handler::RunEarly(const Request& request, int host, Response& response) {
  const CompiledHost& compiled = site_.hosts()[static_cast<size_t>(host)];
  state_.Start(nullptr, request, compiled, response);
  for (const Module* module : compiled.hooks) {
    if (module->early) module->early(state_);
  }
  seen_ = request;
  seen_.head = &state_.head();
}

void Handler::RunFixups(const Effective& settings, std::string_view path) {
  state_.settings = &settings;
  state_.path = path;
  for (const Module* module : settings.hooks) {
    if (module->headers) module->headers(state_);
    if (module->fixup) module->fixup(state_);
  }
  seen_.head = &state_.head();
  if (state_.environment.size() > 0 && state_.environment.Find("nokeepalive")) state_.response->close = true;
}

void Handler::RunOutput(const Target& target) {
  if (!state_.settings) state_.settings = &Settings(target);  // answered before the file was known
  if (!state_.settings->hooks.empty()) {
    const std::string_view type = FindField(state_.response->fields, "Content-Type");
    if (!type.empty()) state_.media_type = type;  // a 304 has none: then it is the file's
    state_.media_type.resize(std::min(state_.media_type.find_first_of("; "), state_.media_type.size()));
    for (const Module* module : state_.settings->hooks) {
      if (module->output) module->output(state_);
    }
  }
  state_.response->note = NoteOf(state_, &state_.head() != state_.request->head);
}

std::string Handler::Origin(const Request& request, int host) const {
  if (!request.head->authority.empty()) return "http://" + std::string(request.head->authority);
  const config::Host& h = *site_.hosts()[static_cast<size_t>(host)].host;
  std::string name = h.server_name.empty() ? "localhost" : h.server_name;
  if (request.local_port != 0 && request.local_port != 80) name += ":" + std::to_string(request.local_port);
  return "http://" + name;
}

void Handler::RedirectTo(const Request& request, const Target& target, int status, std::string location,
                         Response& response) {
  if (location.starts_with("/")) location = Origin(request, target.host) + location;
  response.status = status;
  state_.is_success = false;
  response.fields += "Location: " + location + "\r\nContent-Type: text/html; charset=iso-8859-1\r\n";
  response.body = http::ErrorPage(status, location, request.head->method_text, "");
}

void Handler::Fail(const Request& request, const Target& target, int status, Response& response) {
  response.file.Reset();
  response.parts.clear();
  int found_instead = 0;
  if (error_depth_ != 0) found_instead = std::exchange(status, error_status_);
  state_.is_success = false;
  if (status == 405 || status == 501) response.fields += Allow(target.host);
  response.status = status;
  const Effective& settings = Settings(target);
  const auto document = settings.error_documents.find(status);
  if (document != settings.error_documents.end() && error_depth_ == 0) {
    const std::string& text = document->second;
    if (text.starts_with("http://") || text.starts_with("https://")) {
      RedirectTo(request, target, 302, text, response);
      return;
    }
    if (text.starts_with("/")) {
      ++error_depth_;
      error_status_ = status;
      Target other;
      other.host = target.host;
      other.path = text;
      MapToFile(other);
      const Effective& other_settings = Settings(other);
      state_.first_environment = state_.environment;
      state_.environment.PrefixForRedirect();
      state_.path = other.path;
      for (const Module* module : state_.host->hooks) {
        if (module->early) module->early(state_);
      }
      RunFixups(other_settings, other.path);
      ServeFile(request, other, other_settings, response);
      --error_depth_;
      response.status = status;
      return;
    }
    response.fields += "Content-Type: text/html; charset=iso-8859-1\r\n";
    response.body = text;
    return;
  }
  const std::string signature = Signature(request, target.host);
  response.fields += "Content-Type: text/html; charset=iso-8859-1\r\n";
  response.body = http::ErrorPage(status, target.path, request.head->method_text, signature);
  if (found_instead != 0) {
    size_t end = response.body.rfind("<hr>");
    if (end == std::string::npos) end = response.body.rfind("</body>");
    if (end == std::string::npos) end = response.body.size();
    response.body.insert(end, "<p>Additionally, a " + std::to_string(found_instead) + " " +
                                  std::string(http::StatusReason(found_instead)) +
                                  "\nerror was encountered while trying to use an ErrorDocument to handle the "
                                  "request.</p>\n");
  }
}

std::string Handler::Allow(int host) const {
  const bool trace = site_.hosts()[static_cast<size_t>(host)].host->trace_enable;
  return trace ? "Allow: GET,HEAD,POST,OPTIONS,TRACE\r\n" : "Allow: GET,HEAD,POST,OPTIONS\r\n";
}

std::string Handler::Signature(const Request& request, int host) const {
  const std::string& wanted = site_.config().server_signature;
  if (wanted == "Off") return "";
  const config::Host& h = *site_.hosts()[static_cast<size_t>(host)].host;
  std::string name = h.server_name;
  if (name.empty()) name = std::string(request.head->authority.substr(0, request.head->authority.rfind(':')));
  name = http::EscapeHtml(name);
  if (wanted == "EMail" && !h.server_admin.empty()) {
    name = "<a href=\"mailto:" + http::EscapeHtml(h.server_admin) + "\">" + name + "</a>";
  }
  return "<address>" + site_.server_name() + " Server at " + name + " Port " + std::to_string(request.local_port) +
         "</address>\n";
}

void Handler::ServeDirectory(const Request& request, const Target& target, const Effective& settings,
                             OpenedFile directory, bool index_denied, Response& response) {
  if (index_denied || error_depth_ != 0 || (settings.options & config::kOptIndexes) == 0) {
    if (!index_denied) {
      LogError(target.host, LogLevel::kError, "autoindex",
               "AH01276: Cannot serve directory " + target.file + ": No matching DirectoryIndex found", request);
    }
    Fail(request, target, 403, response);
    return;
  }
  Target entry = target;
  auto entries = ListForIndex(std::move(directory), settings.options, [&](const std::string& name) {
    entry.path = target.path + name;
    entry.file = target.file + name;
    return IsGranted(Settings(entry).require, request.client_address, request.head->method_text, request.is_private);
  });
  if (!entries) {
    LogError(target.host, LogLevel::kError, "autoindex",
             "AH01275: Can't open directory for index: " + target.file + ": " + entries.error().Text(), request);
    Fail(request, target, 403, response);
    return;
  }
  std::string signature = Signature(request, target.host);
  response.fields += "Content-Type: text/html;charset=UTF-8\r\n";
  response.body = RenderIndex(target.path, entries.value(), signature);
  response.handler_name = "httpd/unix-directory";
  state_.is_success = true;
}

bool Handler::Redirected(const Request& request, const Target& target, Response& response) {
  for (const config::UrlRule& rule : site_.hosts()[static_cast<size_t>(target.host)].host->url_rules) {
    if (rule.kind != config::UrlRule::Kind::kRedirect || !Covers(rule.from, target.path)) continue;
    if (rule.status < 300 || rule.status > 399) {
      Fail(request, target, rule.status, response);
      return true;
    }
    std::string location = rule.to + http::EscapePath(std::string_view(target.path).substr(rule.from.size()));
    if (request.head->has_query) location += "?" + std::string(request.head->query);
    RedirectTo(request, target, rule.status, std::move(location), response);
    return true;
  }
  return false;
}

void Handler::MapToFile(Target& target) const {
  const config::Host& host = *site_.hosts()[static_cast<size_t>(target.host)].host;
  for (const config::UrlRule& rule : host.url_rules) {
    if (rule.kind != config::UrlRule::Kind::kAlias || !Covers(rule.from, target.path)) continue;
    target.root = WithSingleSlashes(rule.to);
    target.file = WithSingleSlashes(rule.to + target.path.substr(rule.from.size()));
    return;
  }
  target.root = host.document_root;
  target.file = host.document_root;
  target.file += target.path;
  if (target.file.starts_with("//")) target.file.erase(0, 1);  // DocumentRoot /
}

void Handler::FailedCondition(const Request& request, const Target& target, Response& response) {
  if (response.status != 412 && response.status != 416) return;
  Fail(request, target, response.status, response);
  // Apache sends a 412 through the filters of the file, so `Header` without `always` reaches it.
  state_.is_success = response.status == 412;
}

void Handler::ServeFile(const Request& request, Target& target, const Effective& settings, Response& response) {
  auto deny = [&] {
    LogError(target.host, LogLevel::kError, "authz_core",
             "AH01630: client denied by server configuration: " + target.file, request);
    Fail(request, target, 403, response);
  };
  if (error_depth_ == 0 &&
      !IsGranted(settings.require, request.client_address, request.head->method_text, request.is_private)) {
    deny();
    return;
  }
  if (request.head->method == Method::kOptions && error_depth_ == 0) {
    response.fields += Allow(target.host);
    state_.is_success = true;
    return;
  }
  if (settings.handler == "server-status") {
    state_.is_success = true;
    ServeStatus(request, site_, site_.hosts()[static_cast<size_t>(target.host)], board_, response);
    return;
  }
  auto fail_open = [&](const os::Error& error) {
    if (error.kind == os::ErrorKind::kDenied) {
      LogError(target.host, LogLevel::kError, "core",
               error.sys == 0 ? error.what
                              : "(13)Permission denied: AH00132: file permissions deny server access: " + target.file,
               request);
      Fail(request, target, 403, response);
    } else if (error.kind == os::ErrorKind::kNotFound || error.kind == os::ErrorKind::kInvalid) {
      LogError(target.host, LogLevel::kInfo, "core", "AH00128: File does not exist: " + target.file, request);
      Fail(request, target, error.sys == ENAMETOOLONG ? 403 : 404, response);
    } else {
      LogError(target.host, LogLevel::kError, "core", error.Text(), request);
      Fail(request, target, error.sys == EMFILE || error.sys == ENFILE ? 503 : 403, response);
    }
  };
  auto opened = OpenForServing(target.root, target.file, settings.options);
  if (!opened) {
    fail_open(opened.error());
    return;
  }
  if (S_ISDIR(opened.value().status.st_mode)) {
    if (error_depth_ == 0 && (target.path.empty() || target.path.back() != '/')) {
      std::string location = http::EscapePath(target.path) + "/";
      if (request.head->has_query) location += "?" + std::string(request.head->query);
      RedirectTo(request, target, 301, std::move(location), response);
      return;
    }
    bool denied = false;
    for (const std::string& name : settings.directory_index) {
      if (name == "disabled") continue;
      Target index = target;
      if (name.starts_with("/")) {
        index.path = name;
        MapToFile(index);
      } else {
        index.path += name;
        index.file += name;
      }
      auto candidate = OpenForServing(index.root, index.file, settings.options);
      if (!candidate) {
        denied = denied || candidate.error().kind == os::ErrorKind::kDenied;
        continue;
      }
      if (!S_ISREG(candidate.value().status.st_mode)) continue;
      const Effective& index_settings = Settings(index);  // <Files> may say otherwise for this name
      if (error_depth_ == 0 && &index_settings != state_.settings) RunFixups(index_settings, index.path);
      if (error_depth_ == 0 &&
          !IsGranted(index_settings.require, request.client_address, request.head->method_text, request.is_private)) {
        target = index;
        deny();
        return;
      }
      response.file_name = index.file;
      state_.media_type = MediaType(site_, index_settings, index.file);
      ServeOpenedFile(request, std::move(candidate).value(), state_.media_type, index_settings.enable_sendfile,
                      error_depth_ != 0, response);
      state_.is_success = true;
      FailedCondition(request, index, response);
      return;
    }
    ServeDirectory(request, target, settings, std::move(opened).value(), denied, response);
    return;
  }
  if (!S_ISREG(opened.value().status.st_mode)) {
    LogError(target.host, LogLevel::kError, "core", "AH00126: not a regular file: " + target.file, request);
    Fail(request, target, 403, response);
    return;
  }
  if (!target.path.empty() && target.path.back() == '/') {  // "/file.html/": no such directory
    Fail(request, target, 404, response);
    return;
  }
  response.file_name = target.file;
  state_.media_type = MediaType(site_, settings, target.file);
  ServeOpenedFile(request, std::move(opened).value(), state_.media_type, settings.enable_sendfile, error_depth_ != 0,
                  response);
  state_.is_success = true;
  FailedCondition(request, target, response);
}

void Handler::Handle(const Request& original, Response& response) {
  Target& target = target_;
  target.host = SelectHost(original);
  target.path = "/";
  target.file.clear();
  target.root.clear();
  error_depth_ = 0;
  ApplyHost(target.host, response);
  RunEarly(original, target.host, response);
  Answer(seen_, target, response);
  RunOutput(target);
  LeaveOutBodyForHead(seen_, response);
}

void Handler::Answer(const Request& request, Target& target, Response& response) {
  const http::RequestHead& head = *request.head;
  const config::Host& host = *site_.hosts()[static_cast<size_t>(target.host)].host;

  switch (head.method) {
    case Method::kGet:
    case Method::kHead:
    case Method::kPost:
      break;
    case Method::kOptions:
      if (head.path == "*") {
        response.fields += Allow(target.host);
        return;
      }
      break;
    case Method::kTrace:
      if (!host.trace_enable || (head.content_length && *head.content_length > 0) || head.chunked) {
        Fail(request, target, host.trace_enable ? 413 : 405, response);
        return;
      }
      response.fields += "Content-Type: message/http\r\n";
      response.body.append(head.line).append("\r\n");
      for (const http::HeaderField& field : head.fields) {
        response.body.append(field.name).append(": ").append(field.value).append("\r\n");
      }
      response.body += "\r\n";
      return;
    case Method::kOther:
      Fail(request, target, 501, response);
      return;
    default:
      Fail(request, target, 405, response);
      return;
  }
  auto decoded = http::DecodePathInto(head.path, target.path);
  if (!decoded) {
    target.path = std::string(head.path);
    const bool is_bad = decoded.error().kind != os::ErrorKind::kNotFound;
    response.close = response.close || is_bad;
    Fail(request, target, is_bad ? 400 : 404, response);
    return;
  }
  if (Redirected(request, target, response)) return;
  MapToFile(target);
  const Effective& settings = Settings(target);
  RunFixups(settings, target.path);
  ServeFile(request, target, settings, response);
}

void Handler::HandleBad(const Request& request, int status, const char* reason, Response& response) {
  Target target;
  target.host = SelectHost(request);
  target.path = "/";
  error_depth_ = 0;
  ApplyHost(target.host, response);
  RunEarly(request, target.host, response);
  response.close = true;
  LogError(target.host, LogLevel::kInfo, "core", std::string("AH00566: request failed: ") + reason, request);
  Fail(request, target, status, response);
  RunOutput(target);
  LeaveOutBodyForHead(request, response);
}

void Handler::Finish(const Request& request, const Response& response, const net::Outcome& outcome) {
  const CompiledHost& host = site_.hosts()[static_cast<size_t>(response.host)];
  if (host.logs.empty()) return;
  http::LogRecord record;
  record.head = request.head;
  record.raw_line = request.head->line;
  record.client_address = request.client_address;
  record.local_port = request.local_port;
  record.server_name = host.host->server_name;
  record.host_name =
      host.host->server_name.empty() ? request.head->authority : std::string_view(host.host->server_name);
  if (record.server_name.empty()) record.server_name = record.host_name;
  record.file_name = response.file_name;
  record.handler = response.handler_name;
  record.status = response.status;
  record.body_bytes = outcome.body_bytes;
  record.bytes_in = outcome.bytes_in;
  record.bytes_out = outcome.bytes_out;
  record.keep_alive_count = request.requests_before;
  record.connection_state = outcome.aborted ? 'X' : outcome.kept_alive ? '+' : '-';
  record.start = request.start;
  record.duration = outcome.duration;
  record.pid = ::getpid();
  record.response_head = outcome.response_head;
  const auto* note = static_cast<const ExchangeNote*>(response.note.get());
  std::optional<http::RequestHead> edited;
  if (note && note->has_fields) {
    edited = *request.head;
    edited->fields.clear();
    for (const auto& [name, value] : note->fields) edited->fields.push_back({name, value});
    http::IndexKnown(*edited);
    record.head = &*edited;
  }
  if (note) {
    record.environment = [note](std::string_view name) {
      const std::string* value = note->environment.Find(name);
      return value ? *value : std::string();
    };
  }
  for (const CompiledHost::Log& log : host.logs) {
    if (!log.sink) continue;
    if (!log.env.empty()) {
      const bool is_set = note && note->first_environment.Find(log.env);
      if (is_set == log.env_negated) continue;
    }
    log.format.Render(record, by_sink_.find(log.sink)->second->buffer());
  }
}

}  // namespace httpd::modules
