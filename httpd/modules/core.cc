// What the server does with a file when no module claims it. Source  server/core.c default_handler
#include <algorithm>
#include <cerrno>
#include <iterator>
#include <string_view>

#include "httpd/http/values.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/static_file.h"

namespace httpd::modules {

namespace {

using config::LogLevel;
using http::Method;

Verdict Type(RequestState& state) {
  if (state.media_type.empty()) state.media_type = MediaType(state.engine->site(), *state.settings, state.file);
  return Verdict::Declined();
}

Verdict FailedToOpen(RequestState& state, const os::Error& error) {
  auto log = [&](LogLevel level, const std::string& text) { state.engine->LogError(state, level, "core", text); };
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

Verdict Handle(RequestState& state) {
  const Method method = state.head().method;
  if (state.error_status == 0) {
    if (method == Method::kOptions) {
      state.response->fields += AllowField(*state.host);
      state.is_success = true;
      return Verdict::Done();
    }
    if (method == Method::kOther && !IsRegisteredMethod(state.engine->site().config(), state.head().method_text)) {
      state.engine->LogError(
          state, LogLevel::kError, "core",
          "AH00135: Invalid method in request " + std::string(state.head().method_text) + " " + state.path);
      return Verdict::Status(501);
    }
    if (method != Method::kGet && method != Method::kHead && method != Method::kPost) return Verdict::Status(405);
  }
  if (!state.exists() || !state.path_info.empty()) {
    state.engine->LogError(state, LogLevel::kInfo, "core",
                           "AH00128: File does not exist: " + state.file + state.path_info);
    return Verdict::Status(404);
  }
  auto opened = OpenForServing(state.root, state.file, state.settings->options);
  if (!opened) return FailedToOpen(state, opened.error());
  if (!S_ISREG(opened.value().status.st_mode)) {
    state.engine->LogError(state, LogLevel::kError, "core", "AH00126: not a regular file: " + state.file);
    return Verdict::Status(403);
  }
  net::Request seen = *state.request;
  seen.head = &state.head();
  ServeOpenedFile(seen, std::move(opened).value(), state.media_type, state.settings->enable_sendfile,
                  state.error_status != 0, state.etag_suffix, state.ignore_ranges, *state.response);
  for (const std::string& coding : state.encodings) AppendField(state.response->fields, "Content-Encoding", coding);
  const int status = state.response->status;
  if (status == 412 || status == 416) return Verdict::Status(status);
  state.is_success = true;
  return Verdict::Done();
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

const Module kCore = {.name = {"core.c", "core_module"}, .always = true, .type = Type, .handle = Handle};

}  // namespace httpd::modules
