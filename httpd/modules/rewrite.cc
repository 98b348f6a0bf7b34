// mod_rewrite: where its rules meet a request. Source  httpd 2.4 manual, mod_rewrite
#include "httpd/modules/rewrite.h"
#include "httpd/modules/answer_cache.h"

#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "httpd/http/values.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/proxy_url.h"

namespace httpd::modules {

namespace rewrite {

namespace {

using config::LogLevel;
using Result = Pass::Result;

constexpr char kRedirectHandler[] = "redirect-handler";

/// Notes live longer than one pass and are copied into look-ups: the name says which pass they belong to.
std::string NoteName(const RequestState& state, std::string_view what, bool every_pass = false) {
  int depth = 0;
  for (const RequestState* up = state.parent; up; up = up->parent) ++depth;
  return "mod_rewrite_" + std::string(what) + "." + std::to_string(depth) +
         (every_pass ? "" : "." + std::to_string(state.redirects));
}

bool HasControlOrBlank(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c <= ' ') || c == 127; });
}

/// "/~user/x" -> "/home/user/x", as far as there is such a user.
std::string WithHome(const std::string& file) {
  if (!file.starts_with("/~")) return file;
  const size_t end = std::min(file.find('/', 1), file.size());
  const std::string user = file.substr(2, end - 2);
  std::array<char, 4096> buffer{};
  struct passwd entry {};
  struct passwd* found = nullptr;
  if (user.empty() || ::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found) {
    return file;
  }
  return std::string(found->pw_dir) + file.substr(end);
}

/// Whether the first segment of `file` exists and the rule that has led here names it itself, or the file is one of the
/// documents anyway: a request must not choose where in the file system it goes.
bool IsInFileSystem(const std::string& file, const Rule* rule, const std::string& root) {
  const std::string first = file.substr(0, file.find('/', 1));
  struct stat info {};
  if (first.size() < 2 || ::stat(first.c_str(), &info) != 0) return false;
  return !rule || rule->Has(Rule::kUnsafePrefixStat) || rule->output.starts_with(first) || file.starts_with(root + "/");
}

void KeepForced(RequestState& state, const Pass& pass) {
  if (!pass.forced_type.empty()) state.notes[NoteName(state, "type")] = pass.forced_type;
  if (!pass.forced_handler.empty()) state.notes[NoteName(state, "handler")] = pass.forced_handler;
}

/// T= and H= of the rules of the server and of the directory.
void UseForced(RequestState& state) {
  if (state.notes.empty()) return;
  if (const auto type = state.notes.find(NoteName(state, "type")); type != state.notes.end()) {
    state.media_type = type->second;
  }
  if (const auto handler = state.notes.find(NoteName(state, "handler")); handler != state.notes.end()) {
    state.handler = handler->second;
  }
}

/// A query that a rule has made of decoded text must not be passed on as it is.
bool IsQueryUnsafe(RequestState& state, const Pass& pass, Result result, const char* number) {
  if (SchemeLength(pass.file) > 0 && result != Result::kChangedNoEscape) return false;  // will be escaped
  if (!state.has_query || !HasControlOrBlank(state.query)) return false;
  pass.Log(LogLevel::kError, std::string(number) + ": Rewritten query string contains control characters or spaces");
  return true;
}

Verdict Redirect(RequestState& state, const Pass& pass, Result result, const std::string& query_before,
                 bool had_query_before) {
  std::string location = pass.file;
  const size_t scheme = SchemeLength(location);
  const bool escapes = result != Result::kChangedNoEscape;
  if (escapes) {
    pass.Log(LogLevel::kTrace1, "escaping " + location + " for redirect");
    size_t begin = scheme;  // the name of the host stays
    if (location[scheme - 1] == '/') begin = std::min(location.find('/', scheme), location.size());
    location = location.substr(0, begin) + EscapeUri(std::string_view(location).substr(begin));
  }
  if (state.has_query) {
    const bool copies = !escapes || (had_query_before && state.query == query_before);
    location += "?" + (copies ? state.query : EscapeUri(state.query));
  }
  if (std::any_of(location.begin(), location.end(), [](char c) { return (c >= 0 && c < ' ') || c == 127; })) {
    state.engine->LogError(state, LogLevel::kError, "rewrite",
                           "AH02430: Response header 'Location' value contains invalid characters, aborting request");
    return Verdict::Status(500);
  }
  const bool is_said = pass.status >= 300 && pass.status < 400 && pass.status != 304;
  pass.Log(LogLevel::kTrace1,
           "redirect to " + location + " [REDIRECT/" + std::to_string(is_said ? pass.status : 302) + "]");
  return RedirectTo(state, is_said ? pass.status : 302, location);
}

const ServerSettings* ServerOf(const RequestState& state) {
  const auto* settings = HostSettingsFor<ServerSettings>(state);
  // A virtual host where nothing was said has no rules of its own, and those of the main server are not its.
  return settings && settings->is_main && !state.host->host->addresses.empty() ? nullptr : settings;
}

Verdict Translate(RequestState& state) {
  const ServerSettings* settings = ServerOf(state);
  if (!settings || !settings->told.is_on()) return Verdict::Declined();
  if (!state.path.starts_with('/') && !settings->told.Has(kAllowAnyUri)) {
    state.engine->LogError(state, LogLevel::kTrace8, "rewrite",
                           "Declining, request-URI '" + state.path + "' is not a URL-path.");
    return Verdict::Declined();
  }
  if (!state.is_subrequest()) {
    const std::string* before = state.environment.Find("REDIRECT_SCRIPT_URL");
    const std::string url = before ? *before : state.path;
    state.environment.Set("SCRIPT_URL", url);
    state.environment.Set("SCRIPT_URI", OriginOf(state) + url);
  }
  if (settings->told.rules.empty()) return Verdict::Declined();
  const std::string query = state.query;
  const bool had_query = state.has_query;
  Pass pass(state, settings, nullptr);
  pass.file = state.path;
  pass.Log(LogLevel::kTrace2, "init rewrite engine with requested uri " + state.path);
  const Result result = pass.Run(settings->told.rules);
  if (pass.is_end) state.notes[NoteName(state, "end", true)] = "1";
  KeepForced(state, pass);
  if (result == Result::kUnchanged) {
    pass.Log(LogLevel::kTrace1, "pass through " + state.path);
    return Verdict::Declined();
  }
  if (result == Result::kStatus) return Verdict::Status(pass.status);
  if (IsQueryUnsafe(state, pass, result, "AH10410")) return Verdict::Status(403);
  if (pass.is_proxied) return proxy::GoTo(state, pass.file, result == Result::kChangedNoEscape);
  if (pass.is_passed_through) {
    state.path = pass.file;
    return Verdict::Declined();
  }
  if (SchemeLength(pass.file) > 0) return Redirect(state, pass, result, query, had_query);
  const std::string file = WithHome(pass.file);
  if (!file.starts_with('/') || file.find('\0') != std::string::npos) return Verdict::Status(400);
  const bool is_url = pass.is_reduced && !settings->told.Has(kLegacyPrefixDocRoot);
  const auto normal = NormalPath(file);
  if (!normal) {
    state.engine->LogError(state, LogLevel::kError, "core",
                           "AH00127: Cannot map " + std::string(state.head().line) + " to file");
    return Verdict::Status(403);
  }
  const std::string& root = state.host->host->document_root;
  if (!is_url && IsInFileSystem(file, settings->told.Has(kAllPrefixStat) ? nullptr : pass.last, root)) {
    state.file = *normal;
    // Symbolic links are judged below the root of the documents, or below the directory that the rule has named.
    state.root = normal->starts_with(root + "/") ? root : normal->substr(0, normal->find('/', 1));
  } else {
    state.root = root;
    state.file = (root == "/" ? "" : root) + *normal;
    pass.Log(LogLevel::kTrace2, "prefixed with document_root to " + state.file);
  }
  state.url_root.clear();
  pass.Log(LogLevel::kTrace1, "go-ahead with " + state.file + " [OK]");
  return Verdict::Done();
}

/// An internal redirect to a URL as a rule has written it. It is a URL once more: escapes are decoded, as in Apache.
Verdict GoTo(RequestState& state, const std::string& url) {
  std::string_view path = url;
  path = path.substr(0, path.find_first_of("?#"));
  std::string decoded;
  const auto done = http::DecodePathInto(path, decoded);
  if (!done) return Verdict::Status(done.error().kind == os::ErrorKind::kNotFound ? 404 : 400);
  if (state.original_path.empty()) state.original_path = state.path;
  const size_t question = url.find('?');
  if (question != std::string::npos) {  // in front of what the rules have made the query
    state.query = url.substr(question + 1) + (state.has_query ? "?" + state.query : "");
    state.has_query = true;
  }
  state.path = std::move(decoded);
  return Verdict::Restart();
}

/// The file that the rules of a directory have led to, as a URL again.
std::string UrlOf(const RequestState& state, const DirectorySettings& settings, const Pass& pass) {
  if (settings.base) return WithPrefix(pass.file, settings.directory, *settings.base);
  std::string_view root = state.host->host->document_root;
  if (root.ends_with('/')) root.remove_suffix(1);
  if (pass.file.starts_with(root) && pass.file.size() > root.size() && pass.file[root.size()] == '/') {
    return pass.file.substr(root.size());
  }
  if (settings.told.Has(kIgnoreContextInfo) || state.root.empty()) return pass.file;
  return WithPrefix(pass.file, state.root, state.url_root);
}

Verdict RunDirectory(RequestState& state, const DirectorySettings& settings) {
  const std::string& directory = settings.directory;
  // The directory without its slash is for mod_dir to complete.
  if (!settings.told.Has(kAllowNoSlash) && state.file.size() + 1 == directory.size() &&
      directory.starts_with(state.file)) {
    return Verdict::Declined();
  }
  if (state.notes.count(NoteName(state, "end", true)) != 0) return Verdict::Declined();
  if ((state.settings->options & (config::kOptFollowSymLinks | config::kOptSymLinksIfOwnerMatch)) == 0) {
    state.engine->LogError(
        state, LogLevel::kError, "rewrite",
        "AH00670: Options FollowSymLinks and SymLinksIfOwnerMatch are both off, so the RewriteRule directive is also "
        "forbidden due to its similar ability to circumvent directory restrictions : " +
            state.file);
    return Verdict::Status(403);
  }
  const std::string query = state.query;
  const bool had_query = state.has_query;
  Pass pass(state, ServerOf(state), &settings);
  pass.file = state.file;
  pass.Log(LogLevel::kTrace2,
           "init rewrite engine with passed filename " + state.file + ". Original uri = " + state.path);
  const Result result = pass.Run(settings.told.rules);
  if (pass.is_end) state.notes[NoteName(state, "end", true)] = "1";
  KeepForced(state, pass);
  if (result == Result::kUnchanged) {
    pass.Log(LogLevel::kTrace1, "pass through " + state.file);
    return Verdict::Declined();
  }
  if (result == Result::kStatus) return Verdict::Status(pass.status);
  if (IsQueryUnsafe(state, pass, result, "AH10411")) return Verdict::Status(403);
  if (pass.is_proxied) {
    const Verdict verdict = proxy::GoTo(state, pass.file, true);
    return verdict.is(Verdict::Kind::kDone) ? Verdict::Declined() : verdict;
  }
  if (const size_t scheme = SchemeLength(pass.file); scheme > 0) {
    const size_t slash = pass.file.find('/', scheme);
    if (settings.base && slash != std::string::npos) {
      const std::string path = WithPrefix(pass.file.substr(slash), directory, *settings.base);
      pass.file = pass.file.substr(0, slash) + path;
    }
    return Redirect(state, pass, result, query, had_query);
  }
  if (!pass.file.starts_with('/')) return Verdict::Status(400);
  if (pass.file == state.file) {
    pass.Log(LogLevel::kTrace1, "initial URL equal rewritten URL: " + pass.file + " [IGNORING REWRITE]");
    return Verdict::Declined();
  }
  const std::string url = UrlOf(state, settings, pass);
  pass.Log(LogLevel::kTrace1, "internal redirect with " + url + " [INTERNAL REDIRECT]");
  if (!state.is_subrequest()) return GoTo(state, url);
  // Who looks something up decides whether it goes there: then the handler takes it on.
  state.handler = kRedirectHandler;
  state.notes["mod_rewrite_redirect"] = url;
  return Verdict::Done();
}

Verdict Fixup(RequestState& state) {
  const auto* settings = SettingsFor<DirectorySettings>(state);
  if (settings && settings->told.is_on() && !settings->told.rules.empty()) {
    const Verdict verdict = RunDirectory(state, *settings);
    if (!verdict.is(Verdict::Kind::kDeclined)) return verdict;
  }
  UseForced(state);
  return Verdict::Declined();
}

Verdict Handle(RequestState& state) {
  if (state.handler != kRedirectHandler) return Verdict::Declined();
  const auto url = state.notes.find("mod_rewrite_redirect");
  if (url == state.notes.end()) return Verdict::Declined();
  const std::string target = url->second;
  state.notes.erase(url);
  return GoTo(state, target);
}

bool Applies(const config::ModuleSlots& slots) {
  return slots.Find<ServerSettings>() || slots.Find<DirectorySettings>();
}

void Repeats(const RequestState& state, Dependencies& on) {
  const auto* server = HostSettingsFor<ServerSettings>(state);
  const auto* directory = SettingsFor<DirectorySettings>(state);
  if ((server && server->told.is_on()) || (directory && directory->told.is_on())) on.OnMore();
}

}  // namespace

}  // namespace rewrite

const Module kRewrite = {.name = {"mod_rewrite.c", "rewrite_module"},
                         .directives = rewrite::Directives,
                         .applies = rewrite::Applies,
                         .translate = rewrite::Translate,
                         .fixup = rewrite::Fixup,
                         .handle = rewrite::Handle,
                         .repeats = rewrite::Repeats};

}  // namespace httpd::modules
