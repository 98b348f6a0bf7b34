#include "httpd/modules/pipeline.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "httpd/http/values.h"
#include "httpd/modules/alias_table.h"
#include "httpd/modules/core_settings.h"
#include "httpd/modules/expression.h"
#include "httpd/modules/name_rules.h"
#include "httpd/net/reactor.h"

namespace httpd::modules {

using config::LogLevel;
using http::Method;
using Kind = Verdict::Kind;

namespace {

http::PathRules RulesOf(const RequestState& state) {
  using Slashes = CoreSettings::EncodedSlashes;
  using Rule = http::PathRules::EncodedSlash;
  http::PathRules rules;
  const auto* core = HostSettingsFor<CoreSettings>(state);
  if (!core) return rules;
  const Slashes slashes = core->encoded_slashes.value_or(Slashes::kOff);
  if (slashes != Slashes::kOff) rules.encoded_slash = slashes == Slashes::kOn ? Rule::kSlash : Rule::kKept;
  rules.merge_slashes = core->merge_slashes.value_or(true);
  return rules;
}

/// What ErrorDocument says, expressions evaluated.
ExpressionResult ErrorText(RequestState& state, int status, const std::string& said) {
  ExpressionResult result;
  const auto& expressions = state.settings->error_texts;
  const auto expression = expressions.find(said);
  if (expression == expressions.end()) {
    result.text = said;
    return result;
  }
  state.response->status = status;  // what the text may ask for
  result = AsExpression(expression->second)->Evaluate(state);
  // A Location must be one line, whatever was put into it.
  if (result.text.starts_with("http")) {
    std::erase_if(result.text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  }
  return result;
}

/// A page of this server's own: `location` for the redirects.
void BeginPage(RequestState& state, int status) {
  net::Response& response = *state.response;
  response.file.Reset();
  response.parts.clear();
  response.source.reset();
  response.body.clear();
  response.status = status;
  response.reason.clear();
  response.is_dated = false;
  state.is_success = false;
  RemoveField(response.fields, "Content-Type");
}

/// A 405 or 501 says what would be answered, unless a module has said so already.
void AddAllow(RequestState& state, int status) {
  if (status != 405 && status != 501) return;
  if (FindField(state.response->fields, "Allow").data() == nullptr) state.response->fields += AllowField(*state.host);
}

}  // namespace

void Pipeline::LogError(const RequestState& state, LogLevel level, std::string_view module, std::string text) {
  const log::ErrorLog& error_log = *state.host->error_log;
  bool is_wanted = error_log.Wants(level, module);
  if (state.settings && (state.settings->log_levels.level || !state.settings->log_levels.modules.empty())) {
    config::LogLevels levels = error_log.levels();
    levels.Merge(state.settings->log_levels);
    is_wanted = log::ErrorLog::Wants(level, module, levels);
  }
  if (is_wanted) error_lines_.Write(state, level, module, text);
}

std::string Pipeline::Signature(const RequestState& state) {
  const auto* core = SettingsFor<CoreSettings>(state);
  const std::string wanted = core ? core->signature.value_or("Off") : "Off";
  if (wanted == "Off") return "";
  const config::Host& host = *state.host->host;
  const std::string_view authority = state.request->head->authority;
  std::string name =
      host.server_name.empty() ? std::string(authority.substr(0, authority.rfind(':'))) : host.server_name;
  name = http::EscapeHtml(name);
  if (wanted == "EMail" && !host.server_admin.empty()) {
    name = "<a href=\"mailto:" + http::EscapeHtml(host.server_admin) + "\">" + name + "</a>";
  }
  return "<address>" + site_.server_name() + " Server at " + name + " Port " +
         std::to_string(state.request->local_port) + "</address>\n";
}

// ---------------------------------------------------------------------------------------------------- a request

void Pipeline::Run(RequestState& state, Dependencies* on) {
  dependencies_ = on;
  RunEarly(state);
  Conclude(state, Begin(state));
  if (!state.response->deferred) RunOutput(state);
  dependencies_ = nullptr;
}

void Pipeline::Resume(RequestState& state, bool is_late) {
  std::unique_ptr<net::Deferred> deferred = std::move(state.response->deferred);
  const std::optional<Verdict> verdict = static_cast<DeferredAnswer&>(*deferred).Resume(state, is_late);
  if (!verdict) {
    state.response->deferred = std::move(deferred);
    return;
  }
  if (verdict->is(Kind::kDeclined)) {  // nothing was decided yet, and what it waited for is known now
    const std::shared_ptr<BodyGate> gate = static_cast<NameWait&>(*deferred).gate();
    deferred.reset();
    Conclude(state, Process(state));
    PassBodyOn(state, gate);
  } else {
    deferred.reset();
    if (verdict->is(Kind::kDone)) RunFilters(state);
    Conclude(state, *verdict);
  }
  if (!state.response->deferred) RunOutput(state);
}

void Pipeline::RunBad(RequestState& state, int status) {
  state.path = "/";
  RunEarly(state);
  Conclude(state, Verdict::Status(status));
  if (state.response->deferred) {  // an ErrorDocument that is a program: not for a request that was not understood
    state.response->deferred.reset();
    state.response->sink.reset();
    WriteErrorPage(state, status, 0);
  }
  RunOutput(state);
}

void Pipeline::RunEarly(RequestState& state) {
  state.settings = nullptr;
  for (const Module* module : state.host->hooks) {
    if (module->early) module->early(state);
  }
}

Verdict Pipeline::Begin(RequestState& state) {
  const http::RequestHead& head = state.head();
  net::Response& response = *state.response;
  state.query = head.query;
  state.has_query = head.has_query;
  if (head.method == Method::kOther && state.host->host->registered_methods_only &&
      !IsRegisteredMethod(site_.config(), head.method_text)) {
    state.path = "/";
    return Verdict::Status(501);
  }
  if (head.method == Method::kOptions && head.path == "*") {
    state.path = "*";
    response.fields += AllowField(*state.host);
    return Verdict::Done();
  }
  if (head.method == Method::kTrace) {
    const bool enabled = state.host->host->trace_enable;
    if (!enabled || (head.content_length && *head.content_length > 0) || head.chunked) {
      state.path = "/";
      return Verdict::Status(enabled ? 413 : 405);
    }
    response.fields += "Content-Type: message/http\r\n";
    response.body.append(head.line).append("\r\n");
    for (const http::HeaderField& field : head.fields) {
      response.body.append(field.name).append(": ").append(field.value).append("\r\n");
    }
    response.body += "\r\n";
    return Verdict::Done();
  }
  auto decoded = http::DecodePathInto(head.path, state.path, RulesOf(state));
  if (!decoded) {
    state.path = std::string(head.path);
    const bool is_bad = decoded.error().kind != os::ErrorKind::kNotFound;
    response.close = response.close || is_bad;
    return Verdict::Status(is_bad ? 400 : 404);
  }
  return Process(state);
}

Verdict Pipeline::Process(RequestState& state) {
  // What a pass that ends in waiting for names is begun with again; one buffer per loop.
  thread_local std::string query, fields;
  state.pass_path = state.path;
  query = state.query;
  fields = state.response->fields;
  const bool has_query = state.has_query;
  const Effective* before = state.settings;  // keeps its address: `state` holds it until the new one is known
  const std::shared_ptr<const Effective> keep = state.settings_owner;
  if (Verdict mapped = Map(state); !mapped.is(Kind::kDeclined)) return mapped;
  // Who passed with the same settings is not asked again after an internal redirect, as in Apache.
  state.is_admitted = state.is_admitted && before == state.settings;
  Verdict admitted = Admit(state);
  if (state.response->deferred) {
    ForgetFile(state);
    state.path = state.pass_path;
    state.query = query;
    state.has_query = has_query;
    state.response->fields = fields;
    state.user.clear();
    state.auth_type.clear();
    state.needs_user = false;
    return Verdict::Done();
  }
  if (!admitted.is(Kind::kDeclined)) return admitted;
  return Handle(state);
}

Verdict Pipeline::Map(RequestState& state) {
  state.settings_owner = walk_.ForUrl(state);
  state.settings = state.settings_owner.get();
  bool mapped = false;
  for (const Module* module : state.settings->hooks) {
    if (!module->translate) continue;
    const Verdict verdict = module->translate(state);
    if (verdict.is(Kind::kDeclined)) continue;
    if (!verdict.is(Kind::kDone)) return verdict;
    mapped = true;
    break;
  }
  if (!mapped) {
    state.root = state.host->host->document_root;
    state.url_root.clear();
    state.file = state.root;
    state.file += state.path;
  }
  if (!state.proxy_url.empty()) {
    if (dependencies_) dependencies_->OnMore();  // nobody knows what a backend's answer depends on
    state.file = "proxy:";
    state.file += state.proxy_url;
    state.handler = "proxy-server";
    state.path_info.clear();
    state.info = {};
    state.settings_owner = walk_.ForProxy(state);
    state.settings = state.settings_owner.get();
    return Verdict::Declined();
  }
  if (dependencies_) NoteTranslation(state);
  // Otherwise "Alias /x /srv/y/" would lead past <Directory /srv/y/secret>.
  state.file = WithSingleSlashes(std::move(state.file));
  if (Verdict split = SplitFile(state); !split.is(Kind::kDeclined)) return split;
  return FindSettings(state);
}

void Pipeline::NoteTranslation(const RequestState& state) {
  for (const Module* module : state.settings->hooks) {
    if (module->translate) NotePart(*module, state, *dependencies_);
  }
}

Verdict Pipeline::SplitFile(RequestState& state) {
  state.path_info.clear();
  state.info = {};
  std::string& file = state.file;
  std::string part = file;
  size_t end = file.size();  // of what is looked at
  while (true) {
    const bool is_there = ::stat(part.c_str(), &state.info) == 0;
    const int sys = errno;
    if (dependencies_) dependencies_->OnFile(part, is_there ? &state.info : nullptr);
    if (is_there) {
      if (S_ISDIR(state.info.st_mode) && end < file.size()) {
        // The first name that does not exist stays; what is behind it is path_info.
        state.info = {};
        const size_t name_end = file.find('/', end + 1);
        if (name_end != std::string::npos) {
          state.path_info = file.substr(name_end);
          file.resize(name_end);
        }
      } else if (end < file.size()) {
        state.path_info = file.substr(end);
        file.resize(end);
      }
      return Verdict::Declined();
    }
    state.info = {};
    if (sys == EACCES) {
      LogError(state, LogLevel::kError, "core",
               "(13)Permission denied: AH00035: access to " + state.path + " denied (filesystem path '" + part +
                   "') because search permissions are missing on a component of the path");
      return Verdict::Status(403);
    }
    if (sys != ENOENT && sys != ENOTDIR) {
      LogError(state, LogLevel::kError, "core",
               "(" + std::to_string(sys) + ")" + std::strerror(sys) + ": AH00036: access to " + state.path +
                   " failed (filesystem path '" + part.substr(0, 512) + "')");
      return Verdict::Status(403);
    }
    end = file.rfind('/', end - 1);
    if (end == std::string::npos || end == 0) return Verdict::Declined();
    part.assign(file, 0, end);
  }
}

Verdict Pipeline::FindSettings(RequestState& state) {
  SectionWalk::Found found = walk_.ForFile(state);
  state.settings_owner = std::move(found.settings);
  state.settings = state.settings_owner.get();
  if (!found.notice.empty()) LogError(state, LogLevel::kInfo, "core", found.notice);
  if (found.status == 0) return Verdict::Declined();
  LogError(state, found.status == 403 ? LogLevel::kCrit : LogLevel::kAlert, "core", found.trouble);
  return Verdict::Status(found.status);
}

Verdict Pipeline::Admit(RequestState& state) {
  const std::shared_ptr<const Effective> owner = state.settings_owner;  // Become() replaces it
  const std::vector<const Module*>& hooks = owner->hooks;
  for (const Module* module : hooks) {
    if (module->headers) module->headers(state);
  }
  if (state.gave_up) return Undecided(state);
  if (!state.is_admitted) {
    // What an earlier pass has found, or only claimed, counts for nothing under other settings.
    state.needs_user = false;
    state.user.clear();
    state.auth_type.clear();
  }
  for (const auto hook : {&Module::access, &Module::authenticate, &Module::authorize}) {
    if (state.is_admitted) break;
    if (hook != &Module::access && !state.needs_user) break;
    for (const Module* module : hooks) {
      if (!(module->*hook)) continue;
      const Verdict verdict = (module->*hook)(state);
      if (state.response->deferred) {  // a rule does not know yet; a look-up cannot wait
        if (!state.is_subrequest()) return Verdict::Done();
        state.response->deferred.reset();
        return Verdict::Status(403);
      }
      if (verdict.is(Kind::kStatus) || verdict.is(Kind::kRestart)) return verdict;
      if (verdict.is(Kind::kDone) && hook != &Module::access) break;
    }
  }
  state.is_admitted = true;
  for (const Module* module : hooks) {
    if (!state.proxy_url.empty()) break;  // the backend knows its type
    if (!module->type) continue;
    const Verdict verdict = module->type(state);
    if (verdict.is(Kind::kDone)) break;
    if (!verdict.is(Kind::kDeclined)) return verdict;
  }
  for (const Module* module : hooks) {
    if (!module->fixup) continue;
    const Verdict verdict = module->fixup(state);
    if (verdict.is(Kind::kDone)) break;
    if (!verdict.is(Kind::kDeclined)) return verdict;
  }
  return state.gave_up ? Undecided(state) : Verdict::Declined();
}

Verdict Pipeline::Undecided(const RequestState& state) {
  LogError(state, LogLevel::kError, "core",
           "a regular expression gave up on this request: it needs more than its 100000 steps or its depth of 5000, or "
           "has too many groups. What it decides is not known, so the request is refused");
  return Verdict::Status(500);
}

Verdict Pipeline::Handle(RequestState& state) {
  // `settings` may be another file's since a fixup has said Become().
  const std::shared_ptr<const Effective> settings = state.settings_owner;
  for (const Module* module : settings->hooks) {
    if (module->content && state.proxy_url.empty()) module->content(state);
  }
  for (const Module* module : settings->hooks) {
    if (!module->handle) continue;
    const Verdict verdict = module->handle(state);
    if (verdict.is(Kind::kDeclined)) continue;
    if (!verdict.is(Kind::kDone)) return verdict;
    break;
  }
  if (!state.response->deferred) RunFilters(state);
  return Verdict::Done();
}

void Pipeline::RunFilters(RequestState& state) {
  if (!state.is_success) return;
  const std::shared_ptr<const Effective> settings = state.settings_owner;
  for (const Module* module : settings->hooks) {
    if (module->filter) module->filter(state);
  }
}

void Pipeline::RunOutput(RequestState& state) {
  net::Response& response = *state.response;
  if (!state.settings) {  // answered before the file was known
    state.settings_owner = walk_.ForUrl(state);
    state.settings = state.settings_owner.get();
  }
  if (!state.settings->hooks.empty()) {
    const std::string_view type = FindField(response.fields, "Content-Type");
    if (!type.empty()) state.media_type = type;  // a 304 has none: then it is the file's
    state.media_type.resize(std::min(state.media_type.find_first_of("; "), state.media_type.size()));
    for (const Module* module : state.settings->hooks) {
      if (module->output) module->output(state);
    }
  }
  if (state.environment.size() > 0 && state.environment.Find("nokeepalive")) response.close = true;
}

// ---------------------------------------------------------------------------------------------------- redirects,
// errors

void Pipeline::Conclude(RequestState& state, Verdict verdict) {
  while (!verdict.is(Kind::kDone)) {
    if (verdict.is(Kind::kStatus)) {
      verdict = Fail(state, verdict.status());
      continue;
    }
    if (++state.redirects > site_.config().max_internal_redirects) {
      LogError(
          state, LogLevel::kError, "core",
          "AH00124: Request exceeded the limit of " + std::to_string(site_.config().max_internal_redirects) +
              " internal redirects due to probable configuration error. Use "
              "'LimitInternalRecursion' to increase the limit if necessary. Use 'LogLevel debug' to get a backtrace.");
      state.error_status = state.error_status == 0 ? 500 : state.error_status;
      WriteErrorPage(state, state.error_status, 0);
      return;
    }
    ForgetFile(state);
    if (!state.first_environment) state.first_environment = state.environment;
    state.environment.PrefixForRedirect();
    const auto* core = SettingsFor<CoreSettings>(state);
    const std::string from = http::EscapePath(state.pass_path);
    state.environment.Set("REDIRECT_URL",
                          core && core->qualify_redirect_url.value_or(false) ? OriginOf(state) + from : from);
    state.environment.Set("REDIRECT_STATUS", std::to_string(state.error_status == 0 ? 200 : state.error_status));
    const Effective* settings = std::exchange(state.settings, nullptr);
    RunEarly(state);
    state.settings = settings;
    verdict = Process(state);
  }
  if (state.error_status == 0 || WaitsForNames(state)) return;
  // The document of an error stands for that error, unless a program has said otherwise.
  if (state.response->status == 200) state.response->status = state.error_status;
}

void Pipeline::ForgetFile(RequestState& state) {
  state.file.clear();
  state.path_info.clear();
  state.root.clear();
  state.url_root.clear();
  state.media_type.clear();
  state.charset.clear();
  state.encodings.clear();
  state.languages.clear();
  state.input_filters.clear();
  state.output_filters.clear();
  state.handler.clear();
  state.proxy_url.clear();
  state.proxy_worker.reset();
  state.etag_suffix.clear();
  state.ignore_ranges = false;
}

Verdict Pipeline::Fail(RequestState& state, int status) {
  if (status < 300) status = 500;  // a module that meant Done
  if (state.error_status != 0) {   // while looking for an ErrorDocument
    WriteErrorPage(state, state.error_status, status);
    return Verdict::Done();
  }
  if (!state.settings) {
    state.settings_owner = walk_.ForUrl(state);
    state.settings = state.settings_owner.get();
  }
  const auto document = state.settings->error_documents.find(status);
  if (document == state.settings->error_documents.end()) {
    WriteErrorPage(state, status, 0);
    return Verdict::Done();
  }
  const ExpressionResult made = ErrorText(state, status, document->second);
  if (made.failed) {
    WriteErrorPage(state, status, 0);
    return Verdict::Done();
  }
  const std::string& text = made.text;
  if (text.starts_with("http://") || text.starts_with("https://")) {
    state.response->fields += "Location: " + text + "\r\n";
    WriteErrorPage(state, 302, 0);
    return Verdict::Done();
  }
  if (text.starts_with("/")) {
    AddAllow(state, status);
    BeginPage(state, status);
    state.response->status = 200;
    state.error_status = status;
    if (state.original_path.empty()) state.original_path = state.path;
    const size_t question = text.find('?');
    state.path = text.substr(0, question);
    state.has_query = question != std::string::npos;
    state.query = state.has_query ? text.substr(question + 1) : "";
    return Verdict::Restart();
  }
  AddAllow(state, status);
  BeginPage(state, status);
  state.response->fields += "Content-Type: text/html; charset=iso-8859-1\r\n";
  state.response->body = text;
  return Verdict::Done();
}

void Pipeline::WriteErrorPage(RequestState& state, int status, int additional) {
  net::Response& response = *state.response;
  AddAllow(state, status);
  std::string about = state.original_path.empty() ? state.path : state.original_path;
  if (status >= 300 && status < 400) {
    std::string location(FindField(response.fields, "Location"));
    if (location.starts_with("/") && state.notes.count("redirect-relative") == 0) {
      location = OriginOf(state) + location;
      RemoveField(response.fields, "Location");
      AppendField(response.fields, "Location", location);
    }
    if (!location.empty()) about = location;
  }
  BeginPage(state, status);
  response.fields += "Content-Type: text/html; charset=iso-8859-1\r\n";
  response.body = http::ErrorPage(status, about, state.head().method_text, Signature(state));
  const auto insert = [&response](const std::string& text) {
    size_t end = response.body.rfind("<hr>");
    if (end == std::string::npos) end = response.body.rfind("</body>");
    if (end == std::string::npos) end = response.body.size();
    response.body.insert(end, text);
  };
  const auto notes = state.notes.find("error-notes");
  const bool has_notes = notes != state.notes.end() && additional == 0;
  if (status == 502 && has_notes) {  // as mod_proxy words it
    response.reason = "Proxy Error";
    for (const std::string_view tag : {"<title>502 ", "<h1>"}) {
      constexpr std::string_view kUsual = "Bad Gateway";
      const size_t at = response.body.find(std::string(tag) + std::string(kUsual));
      if (at != std::string::npos) response.body.replace(at + tag.size(), kUsual.size(), response.reason);
    }
  }
  if (has_notes) {
    const size_t end = response.body.find("</p>");
    if (end != std::string::npos) response.body.insert(end, notes->second);
  }
  if (status == 300 || status == 406) {
    if (const auto list = state.notes.find("variant-list"); list != state.notes.end()) insert(list->second);
  }
  // Apache sends a 412 through the filters of the file, so `Header` without `always` reaches it.
  state.is_success = status == 412;
  if (additional == 0) return;
  insert("<p>Additionally, a " + std::to_string(additional) + " " + std::string(http::StatusReason(additional)) +
         "\nerror was encountered while trying to use an ErrorDocument to handle the request.</p>\n");
}

// ---------------------------------------------------------------------------------------------------- look-ups

std::unique_ptr<RequestState> Pipeline::NewLookUp(RequestState& from) {
  auto out = std::make_unique<RequestState>();
  auto own = std::make_unique<net::Response>();
  out->Start(this, *from.request, *from.host, *own);
  out->own_response = std::move(own);  // after Start(), which forgets the one before
  out->CopyHeaders(from);
  out->host_index = from.host_index;
  out->parent = &from;
  out->user_agent_address = from.user_agent_address;
  out->user = from.user;
  out->auth_type = from.auth_type;
  out->environment = from.environment;
  out->notes = from.notes;
  out->error_status = from.error_status;
  int depth = 0;
  for (const RequestState* up = &from; up; up = up->parent) ++depth;
  if (depth > site_.config().max_subrequest_depth) {
    LogError(from, LogLevel::kError, "core",
             "AH00125: Request exceeded the limit of " + std::to_string(site_.config().max_subrequest_depth) +
                 " subrequest nesting levels due to probable configuration error. "
                 "Use 'LimitInternalRecursion' to increase the limit if necessary. Use 'LogLevel debug' to get a "
                 "backtrace.");
    out->status = 500;
  }
  return out;
}

void Pipeline::NoteLookUp(const RequestState& found, const Verdict& verdict) {
  if (!dependencies_) return;
  if (verdict.is(Kind::kDeclined) && found.settings->conditional.empty()) {
    NoteParts(found.settings->hooks, found, *dependencies_);
  } else {
    dependencies_->OnMore();
  }
}

std::unique_ptr<RequestState> Pipeline::LookUp(RequestState& from, std::string_view uri) {
  auto out = NewLookUp(from);
  if (out->status != 200) return out;
  const size_t question = uri.find('?');
  out->has_query = question != std::string_view::npos;
  if (out->has_query) out->query = uri.substr(question + 1);
  uri = uri.substr(0, question);
  if (uri.starts_with("/")) {
    out->path = uri;
  } else {
    out->path = from.path.substr(0, from.path.rfind('/') + 1);
    out->path += uri;
  }
  Verdict verdict = Map(*out);
  if (verdict.is(Kind::kDeclined)) {
    out->is_admitted = from.is_admitted && out->settings == from.settings;
    verdict = Admit(*out);
  }
  NoteLookUp(*out, verdict);
  if (verdict.is(Kind::kStatus)) out->status = verdict.status();
  return out;
}

std::unique_ptr<RequestState> Pipeline::LookUpFile(RequestState& from, std::string_view file) {
  auto out = NewLookUp(from);
  if (out->status != 200) return out;
  out->root = from.root;
  out->url_root = from.url_root;
  const bool below = !file.starts_with("/");
  if (below) {
    out->file = from.file.substr(0, S_ISDIR(from.info.st_mode) ? std::string::npos : from.file.rfind('/') + 1);
    if (!out->file.ends_with('/')) out->file += '/';
    out->file += file;
    out->path = from.path.substr(0, from.path.rfind('/') + 1);
    out->path += file;
  } else {
    out->file = file;
    out->path = from.path;
  }
  Verdict verdict = SplitFile(*out);
  if (verdict.is(Kind::kDeclined)) verdict = FindSettings(*out);
  if (verdict.is(Kind::kDeclined)) {
    out->is_admitted = from.is_admitted && out->settings == from.settings;
    verdict = Admit(*out);
  }
  NoteLookUp(*out, verdict);
  if (!out->settings) out->settings = from.settings;
  if (verdict.is(Kind::kStatus)) out->status = verdict.status();
  return out;
}

void Pipeline::Become(RequestState& state, std::unique_ptr<RequestState> found) {
  state.path = std::move(found->path);
  state.query = std::move(found->query);
  state.has_query = found->has_query;
  state.file = std::move(found->file);
  state.path_info = std::move(found->path_info);
  state.root = std::move(found->root);
  state.url_root = std::move(found->url_root);
  state.info = found->info;
  state.settings_owner = std::move(found->settings_owner);
  state.settings = state.settings_owner.get();
  state.media_type = std::move(found->media_type);
  state.charset = std::move(found->charset);
  state.encodings = std::move(found->encodings);
  state.languages = std::move(found->languages);
  state.input_filters = std::move(found->input_filters);
  state.output_filters = std::move(found->output_filters);
  state.handler = std::move(found->handler);
  state.proxy_url = std::move(found->proxy_url);
  state.proxy_worker = std::move(found->proxy_worker);
  state.user = std::move(found->user);
  state.auth_type = std::move(found->auth_type);
  state.environment = found->environment;
  state.notes = std::move(found->notes);
  state.CopyHeaders(*found);
  state.response->fields += found->response->fields;
}

}  // namespace httpd::modules
