// mod_asis: files that hold their own header fields. Source  httpd 2.4 manual, mod_asis
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "httpd/http/ascii.h"
#include "httpd/http/request.h"
#include "httpd/http/values.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/static_file.h"

namespace httpd::modules {

namespace {

using config::LogLevel;

constexpr size_t kMaxHead = 32U << 10;

/// The head of such a file.
struct Head {
  int status = 200;
  std::string content_type;
  std::string location;
  std::string fields;
  size_t length = 0;    ///< with its empty line
  std::string problem;  ///< "" = well-formed
};

bool IsFieldName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c > 0x20 && c < 0x7f &&
           std::string_view("()<>@,;:\\\"/[]?={}").find(static_cast<char>(c)) == std::string::npos;
  });
}

bool IsFieldValue(std::string_view value) {
  return std::none_of(value.begin(), value.end(), [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

/// Framing and the state of the connection are the server's business: a file must not be able to split an answer.
bool BelongsToServer(std::string_view name) {
  for (const char* mine : {"Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Trailer", "TE"}) {
    if (http::EqualsIgnoreCase(name, mine)) return true;
  }
  return false;
}

void TakeField(std::string_view name, std::string_view value, Head& out) {
  if (http::EqualsIgnoreCase(name, "Status")) {
    const bool is_number =
        value.size() >= 3 && std::all_of(value.begin(), value.begin() + 3, [](char c) { return c >= '0' && c <= '9'; });
    const int status = is_number ? (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0') : 0;
    if (status < 200 || status > 599 || (value.size() > 3 && value[3] != ' ')) {
      out.problem = "Bad status: " + std::string(value.substr(0, 30));
    }
    out.status = status;
  } else if (http::EqualsIgnoreCase(name, "Content-Type")) {
    out.content_type = value;
  } else if (BelongsToServer(name)) {
    out.problem = "Bad header: " + std::string(name) + " is not for a file to say";
  } else if (!http::EqualsIgnoreCase(name, "Content-Length") && !http::EqualsIgnoreCase(name, "Date") &&
             !http::EqualsIgnoreCase(name, "Server")) {  // known better here
    if (http::EqualsIgnoreCase(name, "Location")) out.location = value;
    AppendField(out.fields, name, value);
  }
}

Head ParseHead(std::string_view text) {
  Head out;
  while (out.problem.empty()) {
    const size_t end = text.find('\n', out.length);
    if (end == std::string_view::npos) {
      out.problem = text.size() < kMaxHead ? "Premature end of script headers" : "Too many or too long headers";
      break;
    }
    std::string_view line = text.substr(out.length, end - out.length);
    out.length = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) break;
    const size_t colon = line.find(':');
    const std::string_view name = line.substr(0, std::min(colon, line.size()));
    std::string_view value = line.substr(std::min(colon, line.size() - 1) + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    if (colon == std::string_view::npos || !IsFieldName(name) || !IsFieldValue(value)) {
      out.problem = "Bad header: " + std::string(line.substr(0, 30));
      break;
    }
    TakeField(name, value, out);
  }
  return out;
}

Verdict Handle(RequestState& state) {
  const std::string& handler = state.handler.empty() ? state.media_type : state.handler;
  if (handler != "send-as-is" && handler != "httpd/send-as-is") return Verdict::Declined();
  const http::Method method = state.head().method;
  if (method != http::Method::kGet && method != http::Method::kHead) return Verdict::Declined();
  if (!S_ISREG(state.info.st_mode)) {
    state.engine->LogError(state, LogLevel::kError, "asis", "AH01233: File does not exist: " + state.file);
    return Verdict::Status(404);
  }
  auto opened = OpenForServing(state.root, state.file, state.settings->options);
  if (!opened || !S_ISREG(opened.value().status.st_mode)) {
    state.engine->LogError(state, LogLevel::kError, "asis",
                           "AH01234: file permissions deny server access: " + state.file);
    return Verdict::Status(403);
  }
  const OpenedFile& file = opened.value();
  std::string text(std::min<size_t>(kMaxHead, static_cast<size_t>(file.status.st_size)), '\0');
  ssize_t got = 0;
  do {
    got = ::pread(file.fd.get(), text.data(), text.size(), 0);
  } while (got < 0 && errno == EINTR);
  text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  const Head head = ParseHead(text);
  if (!head.problem.empty()) {
    state.engine->LogError(state, LogLevel::kError, "asis",
                           "AH02429: malformed header from script '" + state.file.substr(state.file.rfind('/') + 1) +
                               "': " + head.problem);
    return Verdict::Status(500);
  }
  net::Response& response = *state.response;
  if (head.location.starts_with('/') && (head.status == 200 || (head.status >= 300 && head.status < 400))) {
    const size_t question = head.location.find('?');
    auto path = http::DecodePath(std::string_view(head.location).substr(0, question));
    if (!path) return Verdict::Status(500);
    if (state.original_path.empty()) state.original_path = state.path;
    state.path = std::move(path).value();
    state.has_query = question != std::string::npos;
    state.query = state.has_query ? head.location.substr(question + 1) : "";
    return Verdict::Restart();
  }
  response.status = head.status;
  response.fields += head.fields;
  if (const std::string& type = head.content_type.empty() ? state.media_type : head.content_type; !type.empty()) {
    AppendField(response.fields, "Content-Type", type);
  }
  AppendContentFields(state, response.fields);
  const uint64_t length = static_cast<uint64_t>(file.status.st_size) - head.length;
  if (head.status == 204 || head.status == 304) {
    response.without_body = true;
    response.without_length = true;
  } else if (method == http::Method::kHead) {
    response.without_body = true;
    response.content_length = length;
  } else if (length > 0) {
    response.parts.push_back({"", head.length, length});
    response.file = std::move(opened).value().fd;
  }
  state.is_success = true;
  return Verdict::Done();
}

}  // namespace

const Module kAsIs = {
    .name = {"mod_asis.c", "asis_module"}, .always = true, .handle = Handle, .repeats = DependsOnNothing};

}  // namespace httpd::modules
