// The core: what the directives of a place say about a file, and the file itself, when no module claims it.
// Source  httpd 2.4 manual, core; server/core.c core_override_type, default_handler
#include <algorithm>
#include <cerrno>
#include <iterator>
#include <string_view>

#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/core_settings.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/static_file.h"

namespace httpd::modules {

namespace {

using config::LogLevel;
using http::Method;

const CoreSettings& SettingsOf(const RequestState& state) {
  static const CoreSettings kByDefault;
  const auto* settings = SettingsFor<CoreSettings>(state);
  return settings ? *settings : kByDefault;
}

/// A body whose length is told is refused here, with a page; of others the loop counts the bytes.
Verdict Access(RequestState& state) {
  const auto* settings = SettingsFor<CoreSettings>(state);
  if (!settings || !settings->body_limit || state.is_subrequest()) return Verdict::Declined();
  state.response->body_limit = *settings->body_limit;
  const uint64_t length = state.head().content_length.value_or(0);
  if (*settings->body_limit == 0 || length <= *settings->body_limit) return Verdict::Declined();
  state.engine->LogError(state, LogLevel::kError, "http",
                         "AH01588: Requested content-length of " + std::to_string(length) +
                             " is larger than the configured limit of " + std::to_string(*settings->body_limit));
  return Verdict::Status(413);
}

/// ForceType and SetHandler win over what the extensions say.
Verdict Type(RequestState& state) {
  const auto* settings = SettingsFor<CoreSettings>(state);
  if (!settings) return Verdict::Declined();
  if (settings->media_type && !settings->media_type->empty()) state.media_type = *settings->media_type;
  if (settings->handler && !settings->handler->empty()) state.handler = *settings->handler;
  return Verdict::Declined();
}

Verdict FailedToOpen(RequestState& state, const os::Error& error) {
  const auto log = [&](LogLevel level, const std::string& text) { state.engine->LogError(state, level, "core", text); };
  if (error.kind == os::ErrorKind::kDenied) {
    log(LogLevel::kError, error.sys == 0
                              ? error.what
                              : "(13)Permission denied: AH00132: file permissions deny server access: " + state.file);
    return Verdict::Status(403);
  }
  if (error.kind == os::ErrorKind::kNotFound || error.kind == os::ErrorKind::kInvalid) {
    log(LogLevel::kInfo, "AH00128: File does not exist: " + state.file);
    return Verdict::Status(404);
  }
  log(LogLevel::kError, error.Text());
  return Verdict::Status(error.sys == EMFILE || error.sys == ENFILE ? 503 : 403);
}

std::string EntityTag(const RequestState& state, const OpenedFile& file, const CoreSettings& settings) {
  const unsigned bits = settings.EtagBits();
  std::string tag;
  if ((bits & kEtagDigest) != 0) {
    if (const auto digests = DigestsOf(file)) tag = "\"" + digests->sha1 + "\"";
  }
  if (tag.empty()) {  // too large to be hashed: what else was wished for, or the default
    const unsigned rest = bits & ~static_cast<unsigned>(kEtagDigest);
    tag = EtagOf(file.status, bits == kEtagDigest ? kEtagMtime | kEtagSize : rest, state.request->start);
  }
  if (tag.empty()) return tag;
  if (!state.list_validator.empty()) tag.insert(tag.size() - 1, ";" + state.list_validator);
  tag.insert(tag.size() - 1, state.etag_suffix);
  return tag;
}

Verdict Options(RequestState& state) {
  state.response->fields += AllowField(*state.host);
  if (!state.media_type.empty()) AppendField(state.response->fields, "Content-Type", state.media_type);
  AppendContentFields(state, state.response->fields);
  state.is_success = true;
  return Verdict::Done();
}

Verdict Handle(RequestState& state) {
  const Method method = state.head().method;
  if (state.error_status == 0) {
    if (method == Method::kOptions) return Options(state);
    if (method == Method::kOther && !IsRegisteredMethod(state.engine->site().config(), state.head().method_text)) {
      state.engine->LogError(
          state, LogLevel::kError, "core",
          "AH00135: Invalid method in request " + std::string(state.head().method_text) + " " + state.path);
      return Verdict::Status(501);
    }
    if (method != Method::kGet && method != Method::kHead && method != Method::kPost) return Verdict::Status(405);
  }
  const CoreSettings& settings = SettingsOf(state);
  const auto log = [&](LogLevel level, const std::string& text) { state.engine->LogError(state, level, "core", text); };
  if (!state.exists()) {
    log(LogLevel::kInfo, "AH00128: File does not exist: " + state.file + state.path_info);
    return Verdict::Status(404);
  }
  if (S_ISDIR(state.info.st_mode)) {
    log(LogLevel::kError, "AH00129: Attempt to serve directory: " + state.file);
    return Verdict::Status(404);
  }
  const std::optional<bool> accepts_more = settings.path_info.value_or(std::optional<bool>());
  if (!state.path_info.empty() && !accepts_more.value_or(false)) {
    log(LogLevel::kInfo, "AH00130: File does not exist: " + state.file + state.path_info);
    return Verdict::Status(404);
  }
  auto opened = OpenForServing(state.root, state.file, state.settings->options);
  if (!opened) return FailedToOpen(state, opened.error());
  const OpenedFile& file = opened.value();
  if (!S_ISREG(file.status.st_mode)) {
    log(LogLevel::kError, "AH00126: not a regular file: " + state.file);
    return Verdict::Status(403);
  }
  FileRules rules;
  rules.media_type = state.media_type;
  rules.etag = EntityTag(state, file, settings);
  rules.ranges = settings.Limits();
  rules.use_sendfile = settings.use_sendfile.value_or(true);
  rules.whole = state.error_status != 0;
  rules.ignore_ranges = state.ignore_ranges;
  if (settings.content_digest.value_or(false)) {
    if (const auto digests = DigestsOf(file)) rules.content_md5 = digests->md5;
  }
  net::Response& response = *state.response;
  ServeOpenedFile(state, std::move(opened).value(), rules, response);
  if (response.status == 412 || response.status == 416) {
    for (const char* name : {"Last-Modified", "ETag", "Accept-Ranges", "Content-MD5"}) {
      if (response.status == 416 || std::string_view(name) == "Content-MD5") RemoveField(response.fields, name);
    }
    return Verdict::Status(response.status);
  }
  if (response.status != 304) AppendContentFields(state, response.fields);
  state.is_success = state.is_from_file = true;
  return Verdict::Done();
}

/// AddDefaultCharset: what this server sends as text gets one, whoever made it.
void Output(RequestState& state) {
  const auto* settings = SettingsFor<CoreSettings>(state);
  if (!settings || settings->default_charset.value_or("").empty()) return;
  ChangeFields(state.response->fields, "Content-Type", [settings](const std::string& value) {
    std::string lower(value);
    std::transform(lower.begin(), lower.end(), lower.begin(), http::Lower);
    const std::string type = lower.substr(0, lower.find_first_of("; \t"));
    if ((type != "text/plain" && type != "text/html") || lower.find("charset=") != std::string::npos) return value;
    return value + "; charset=" + *settings->default_charset;
  });
}

}  // namespace

// Source  server/protocol.c, the methods of ap_method_registry_init
bool IsRegisteredMethod(const config::ServerConfig& config, std::string_view method) {
  static constexpr std::string_view kKnown[] = {
      "GET",   "HEAD",   "POST",     "PUT",       "DELETE",      "CONNECT",        "OPTIONS",
      "TRACE", "PATCH",  "PROPFIND", "PROPPATCH", "MKCOL",       "COPY",           "MOVE",
      "LOCK",  "UNLOCK", "LABEL",    "REPORT",    "MKWORKSPACE", "MKACTIVITY",     "BASELINE-CONTROL",
      "MERGE", "UPDATE", "CHECKIN",  "CHECKOUT",  "UNCHECKOUT",  "VERSION-CONTROL"};
  const auto is_method = [method](const auto& known) { return method == known; };
  return std::any_of(std::begin(kKnown), std::end(kKnown), is_method) ||
         std::any_of(config.methods.begin(), config.methods.end(), is_method);
}

const Module kCore = {.name = {"core.c", "core_module"},
                      .directives = CoreDirectives,
                      .always = true,
                      .access = Access,
                      .type = Type,
                      .handle = Handle,
                      .output = Output,
                      .repeats = DependsOnNothing};

}  // namespace httpd::modules
