#include "httpd/http/error_log_format.h"

#include <cstdio>
#include <ctime>

#include "httpd/http/ascii.h"

namespace httpd::http {

namespace {

os::Error Invalid(std::string what) {
  return {os::ErrorKind::kInvalid, 0, std::move(what)};
}

constexpr int kHighestLevel = 15;

/// @param options  u microseconds, m milliseconds, c as ISO 8601, z the distance from UTC
void AppendTime(std::chrono::system_clock::time_point when, std::string_view options, std::string& out) {
  const auto has = [&](char c) { return options.find(c) != std::string_view::npos; };
  const auto since = std::chrono::floor<std::chrono::microseconds>(when.time_since_epoch()).count();
  const auto seconds = static_cast<std::time_t>(since / 1000000);
  const auto micros = static_cast<int>(since % 1000000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char text[48];
  const auto add = [&](const char* format) { out.append(text, std::strftime(text, sizeof text, format, &parts)); };
  add(has('c') ? "%Y-%m-%d %H:%M:%S" : "%a %b %d %H:%M:%S");
  if (has('u')) {
    std::snprintf(text, sizeof text, ".%06d", micros);
    out += text;
  } else if (has('m')) {
    std::snprintf(text, sizeof text, ".%03d", micros / 1000);
    out += text;
  }
  if (!has('c')) add(" %Y");
  if (has('z')) add(" %z");
}

}  // namespace

void AppendErrorLogText(std::string_view text, std::string& out) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '\\') {
      out += c;
      continue;
    }
    out += '\\';
    switch (c) {
      case '\\':
        out += '\\';
        break;
      case '\b':
        out += 'b';
        break;
      case '\n':
        out += 'n';
        break;
      case '\r':
        out += 'r';
        break;
      case '\t':
        out += 't';
        break;
      case '\v':
        out += 'v';
        break;
      default: {
        char hex[4];
        std::snprintf(hex, sizeof hex, "x%02x", byte);
        out += hex;
      }
    }
  }
}

/// Takes one item off `rest`. @return an error with text, or an empty one
os::Error ErrorLogFormat::Parse(std::string_view& rest, Item& item) {
  if (rest.starts_with(' ')) item.begins_field = true;
  while (rest.starts_with("% ")) {  // begins a field and writes nothing
    item.begins_field = true;
    rest.remove_prefix(2);
    if (rest.starts_with(' ')) break;
  }
  if (!rest.starts_with('%')) {
    bool at_start = true;
    while (!rest.empty() && rest.front() != '%' && (rest.front() != ' ' || at_start)) {
      if (rest.front() == '\\' && rest.size() > 1) {
        rest.remove_prefix(1);
        const char c = rest.front();
        item.argument += c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
        at_start = false;
      } else {
        if (rest.front() != ' ') at_start = false;
        item.argument += rest.front();
      }
      rest.remove_prefix(1);
    }
    return {};
  }
  rest.remove_prefix(1);
  while (!rest.empty()) {
    const char c = rest.front();
    rest.remove_prefix(1);
    if (c == '%') {
      item.argument = "%";
      return {};
    }
    if (c == '{') {
      const size_t close = std::min(rest.find('}'), rest.size());
      item.argument = rest.substr(0, close);
      rest.remove_prefix(std::min(close + 1, rest.size()));
    } else if (c == '+') {
      item.is_required = true;
    } else if (c == '-') {
      item.dash = true;
    } else if (IsDigit(c)) {
      item.least_level = c - '0';
      for (; !rest.empty() && IsDigit(rest.front()); rest.remove_prefix(1)) {
        item.least_level = std::min(item.least_level * 10 + (rest.front() - '0'), 1000);
      }
    } else if (std::string_view("aAeEFiklLmMnPTtvV").find(c) != std::string_view::npos) {
      item.letter = c;
      return {};
    } else {
      return Invalid(std::string("Unrecognized error log format directive %") + c);
    }
  }
  return Invalid("Ran off end of error log format parsing args to some directive");
}

os::Result<ErrorLogFormat> ErrorLogFormat::Compile(std::string_view format, Use use) {
  ErrorLogFormat out;
  bool has_message = false;
  while (!format.empty()) {
    Item item;
    if (os::Error wrong = Parse(format, item); !wrong.what.empty()) return wrong;
    if (item.letter == 'M' && use == Use::kOnce) {
      return Invalid("%M cannot be used in once-per-request or once-per-connection formats");
    }
    has_message = has_message || item.letter == 'M';
    if (use == Use::kMessage && item.is_required) {
      return Invalid("The '+' flag cannot be used in the main error log format");
    }
    if (use == Use::kOnce && item.least_level != 0) {
      return Invalid("The loglevel cannot be used as a condition in once-per-request or once-per-connection formats");
    }
    if (item.least_level > kHighestLevel) return Invalid("The specified loglevel modifier is out of range");
    out.items_.push_back(std::move(item));
  }
  if (use == Use::kMessage && !has_message) {
    return Invalid("main ErrorLogFormat must contain message format string '%M'");
  }
  return out;
}

/// @return false: there is nothing to say
bool ErrorLogFormat::AppendItem(const Item& item, const ErrorRecord& r, std::string& out) {
  const auto text = [&](std::string_view value) {
    AppendErrorLogText(value, out);
    return !value.empty();
  };
  const auto ask = [&](const std::function<std::string(std::string_view)>& source) {
    return source && text(source(item.argument));
  };
  switch (item.letter) {
    case '\0':
      out += item.argument;
      return true;
    case 'a':
      return text(item.argument == "c" && !r.peer.empty() ? r.peer : r.client);
    case 'A':
      return text(r.local);
    case 'e':
      return ask(r.environment);
    case 'E':
      return text(r.trouble);
    case 'i':
      return ask(r.header);
    case 'k':
      if (r.keep_alives < 0) return false;
      out += std::to_string(r.keep_alives);
      return true;
    case 'l':
      return text(r.level_name);
    case 'L':
      return text(item.argument == "c" || item.argument == "C" ? r.connection_id : r.request_id);
    case 'm':
      return text(r.module);
    case 'n':
      return ask(r.note);
    case 'P':
      out += std::to_string(r.pid);
      return true;
    case 'T':
      out += std::to_string(r.thread);
      return true;
    case 't':
      AppendTime(r.when, item.argument, out);
      return true;
    case 'v':
      return text(r.server_name);
    case 'V':
      return text(r.host_name);
    default:  // F: there are no source lines in our messages
      return false;
  }
}

bool ErrorLogFormat::Render(const ErrorRecord& record, std::string& out) const {
  const size_t begin = out.size();
  size_t field = begin;
  bool skipping = false;
  for (const Item& item : items_) {
    if (item.begins_field) {
      if (!skipping) field = out.size();
      skipping = false;
    }
    if (item.letter == 'M') {
      if (record.is_of_client) {
        AppendErrorLogText(record.message, out);
      } else {
        for (const char c : record.message) {
          if (c == '\n') {
            out += ' ';
          } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            AppendErrorLogText(std::string_view(&c, 1), out);
          } else {
            out += c;
          }
        }
      }
      continue;
    }
    if (skipping) continue;
    const bool is_wanted = item.least_level <= record.level;
    if (is_wanted && AppendItem(item, record, out)) continue;
    if (is_wanted && item.is_required) {
      out.resize(begin);
      return false;
    }
    if (is_wanted && item.dash) {
      out += '-';
      continue;
    }
    out.resize(field);
    skipping = true;
  }
  return true;
}

}  // namespace httpd::http
