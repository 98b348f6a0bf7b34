// mod_status: what the server is doing. Source  httpd 2.4 manual, mod_status
#include <algorithm>
#include <charconv>
#include <string>

#include "httpd/modules/module_list.h"
#include "httpd/modules/status_report.h"

namespace httpd::modules {

namespace {

bool HasWord(std::string_view query, std::string_view word) {
  while (!query.empty()) {
    const size_t end = std::min(query.find_first_of("&;"), query.size());
    if (query.substr(0, end) == word) return true;
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return false;
}

/// Seconds of `refresh[=N]`.
int RefreshOf(std::string_view query) {
  constexpr int kUsual = 10;
  constexpr std::string_view kName = "refresh=";
  const size_t at = query.find(kName);
  if (at == std::string_view::npos) return kUsual;
  const std::string_view digits = query.substr(at + kName.size());
  int seconds = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
  return parsed.ec == std::errc() && seconds > 0 ? seconds : kUsual;
}

Verdict Handle(RequestState& state) {
  if (state.handler != "server-status") return Verdict::Declined();
  const http::Method method = state.head().method;
  if (method != http::Method::kGet && method != http::Method::kHead) return Verdict::Declined();
  // Apache looks for its words anywhere in the query, and so do those who ask for them.
  const std::string_view query = state.has_query ? std::string_view(state.query) : "";
  const auto has = [&](std::string_view word) { return query.find(word) != std::string_view::npos; };
  net::Response& response = *state.response;
  const StatusReport report = MakeStatusReport(state);
  if (has("refresh")) AppendField(response.fields, "Refresh", std::to_string(RefreshOf(query)));
  const char* type = "text/html; charset=ISO-8859-1";
  if (has("auto")) {
    type = "text/plain; charset=ISO-8859-1";
    response.body = StatusAuto(report);
  } else if (HasWord(query, "json")) {
    type = "application/json";
    response.body = StatusJson(report);
  } else if (HasWord(query, "metrics") ||
             state.Header("Accept").find("application/openmetrics-text") != std::string_view::npos) {
    type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.body = StatusMetrics(report);
  } else {
    response.body = StatusHtml(report, !has("notable"));
  }
  AppendField(response.fields, "Content-Type", type);
  state.is_success = true;
  return Verdict::Done();
}

}  // namespace

const Module kStatus = {
    .name = {"mod_status.c", "status_module"}, .always = true, .handle = Handle, .repeats = DependsOnNothing};

}  // namespace httpd::modules
