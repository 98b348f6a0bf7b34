#include "httpd/modules/media_type.h"

#include <algorithm>

#include "httpd/http/ascii.h"

namespace httpd::modules {

namespace {

/// Where the parameter that starts at `at` ends: at a ';' outside quotes, or at the end.
size_t ParameterEnd(std::string_view text, size_t at) {
  bool quoted = false;
  for (; at < text.size() && (quoted || text[at] != ';'); ++at) {
    if (text[at] == '"') quoted = !quoted;
    if (quoted && text[at] == '\\') ++at;
  }
  return std::min(at, text.size());
}

}  // namespace

std::string WithCharset(std::string_view media_type, std::string_view charset) {
  if (charset.empty()) return std::string(media_type);
  const std::string_view type = http::Trimmed(media_type.substr(0, media_type.find(';')));
  if (type.find('/') == std::string_view::npos) return std::string(media_type);
  std::string out(type);
  bool placed = false;
  const auto place = [&] {
    if (!placed) out.append("; charset=").append(charset);
    placed = true;
  };
  for (size_t at = media_type.find(';'); at < media_type.size();) {
    const size_t end = ParameterEnd(media_type, at + 1);
    const std::string_view parameter = http::Trimmed(media_type.substr(at + 1, end - at - 1));
    at = end;
    if (parameter.empty()) continue;
    if (http::EqualsIgnoreCase(http::Trimmed(parameter.substr(0, parameter.find('='))), "charset")) {
      place();
    } else {
      out.append("; ").append(parameter);
    }
  }
  place();
  return out;
}

}  // namespace httpd::modules
