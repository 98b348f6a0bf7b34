#include "httpd/modules/autoindex_page.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "httpd/config/lexer.h"
#include "httpd/http/ascii.h"
#include "httpd/http/values.h"

namespace httpd::modules {

namespace {

constexpr bool IsSpace(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

char At(std::string_view text, size_t i) {
  return i < text.size() ? text[i] : '\0';
}

char Upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
}

std::optional<std::string> PercentDecoded(std::string_view text) {
  const auto hex = [](char c) {
    return http::IsDigit(c) ? c - '0' : (Upper(c) >= 'A' && Upper(c) <= 'F') ? Upper(c) - 55 : -1;
  };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = hex(At(text, i + 1));
    const int low = hex(At(text, i + 2));
    const int value = high * 16 + low;
    if (high < 0 || low < 0 || value == 0 || value == '/') return std::nullopt;
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

/// Digits of both from where they stand, the longer run is the greater; equally long: the first difference.
int CompareNumbers(std::string_view a, std::string_view b) {
  int bias = 0;
  for (size_t i = 0;; ++i) {
    const bool in_a = http::IsDigit(At(a, i));
    const bool in_b = http::IsDigit(At(b, i));
    if (!in_a || !in_b) return in_a ? 1 : in_b ? -1 : bias;
    if (bias == 0 && a[i] != b[i]) bias = a[i] < b[i] ? -1 : 1;
  }
}

/// Digits behind a leading zero, as if behind a point.
int CompareFractions(std::string_view a, std::string_view b) {
  for (size_t i = 0;; ++i) {
    const bool in_a = http::IsDigit(At(a, i));
    const bool in_b = http::IsDigit(At(b, i));
    if (!in_a || !in_b) return in_a ? 1 : in_b ? -1 : 0;
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
}

int Compare(std::string_view a, std::string_view b) {
  return a.compare(b);  // by unsigned bytes, as strcmp
}

int CompareNoCase(std::string_view a, std::string_view b) {
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const int difference =
        static_cast<unsigned char>(http::Lower(a[i])) - static_cast<unsigned char>(http::Lower(b[i]));
    if (difference != 0) return difference;
  }
  return a.size() < b.size() ? -1 : a.size() > b.size() ? 1 : 0;
}

}  // namespace

int NaturalCompare(std::string_view a, std::string_view b, bool no_case) {
  size_t i = 0;
  size_t j = 0;
  for (;; ++i, ++j) {
    while (IsSpace(At(a, i))) ++i;
    while (IsSpace(At(b, j))) ++j;
    char x = At(a, i);
    char y = At(b, j);
    if (http::IsDigit(x) && http::IsDigit(y)) {
      const std::string_view rest_a = a.substr(i);
      const std::string_view rest_b = b.substr(j);
      const int order = x == '0' || y == '0' ? CompareFractions(rest_a, rest_b) : CompareNumbers(rest_a, rest_b);
      if (order != 0) return order;
    }
    if (i >= a.size() && j >= b.size()) return 0;
    if (no_case) {
      x = Upper(x);
      y = Upper(y);
    }
    if (x != y) return x < y ? -1 : 1;
  }
}

IndexView MakeIndexView(const AutoindexSettings& settings, std::string_view query) {
  IndexView view;
  view.options = settings.options;
  if (settings.order) view.key = settings.order;
  if (settings.direction) view.direction = settings.direction;
  if (view.options & kIndexIgnoreClient) {
    view.options |= kIndexNoSorting;
    return view;
  }
  std::string format;
  std::string version;
  std::string pattern;
  while (!query.empty()) {
    const size_t end = std::min(query.find_first_of("&;"), query.size());
    const std::string_view word = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (word.starts_with("P=")) {
      view.pattern = word.size() > 2 ? PercentDecoded(word.substr(2)) : std::nullopt;
      // A slash in front keeps a colon from getting "./": this is no reference of its own.
      pattern = view.pattern ? ";P=" + http::EscapePath("/" + *view.pattern).substr(1) : "";
      continue;
    }
    const auto is_one_of = [&](const char* name, std::string_view values) {
      return word.size() == 3 && word.starts_with(name) && values.find(word[2]) != std::string_view::npos;
    };
    if (is_one_of("C=", "NMSD")) {
      view.key = word[2];
    } else if (is_one_of("O=", "AD")) {
      view.direction = word[2];
    } else if (is_one_of("F=", "012")) {
      view.options &= ~static_cast<unsigned>(word[2] == '2'   ? 0
                                             : word[2] == '1' ? kIndexTable
                                                              : kIndexFancy | kIndexTable);
      view.options |= word[2] == '2' ? kIndexFancy | kIndexTable : word[2] == '1' ? kIndexFancy : 0U;
      format = ";" + std::string(word);
    } else if (is_one_of("V=", "01")) {
      view.options &= ~static_cast<unsigned>(kIndexVersionSort);
      if (word[2] == '1') view.options |= kIndexVersionSort;
      version = ";" + std::string(word);
    } else {
      break;
    }
  }
  view.column_arguments = http::EscapeHtml(format + version + pattern);
  return view;
}

bool FitsIndexPattern(std::string_view pattern, std::string_view name) {
  if (name.starts_with('.') && !pattern.starts_with('.')) return false;
  std::string plain;
  for (const char c : pattern) {
    if (c == '\\') plain += '\\';
    plain += c;
  }
  return http::WildcardMatch(plain, name, false);
}

bool IndexOrder(const IndexView& view, const IndexEntry& left, const IndexEntry& right) {
  if (left.is_parent || right.is_parent) return left.is_parent && !right.is_parent;
  if (left.goes_first != right.goes_first) return left.goes_first;
  const bool ascending = view.direction == 'A';
  const IndexEntry& a = ascending ? left : right;
  const IndexEntry& b = ascending ? right : left;
  const bool by_version = (view.options & kIndexVersionSort) != 0;
  const bool no_case = (view.options & kIndexIgnoreCase) != 0;
  if (view.key == 'M' && a.modified_us != b.modified_us) return a.modified_us < b.modified_us;
  if (view.key == 'S' && a.size != b.size) return a.size < b.size;
  int order = 0;
  if (view.key == 'D') {
    const std::string_view of_a = a.description ? std::string_view(*a.description) : "";
    const std::string_view of_b = b.description ? std::string_view(*b.description) : "";
    order = by_version ? NaturalCompare(of_a, of_b, false) : Compare(of_a, of_b);
    if (order != 0) return order < 0;
  }
  if (by_version && no_case) order = NaturalCompare(a.name, b.name, true);
  if (by_version && order == 0) order = NaturalCompare(a.name, b.name, false);
  if (order == 0 && no_case) order = CompareNoCase(a.name, b.name);
  if (order == 0) order = Compare(a.name, b.name);
  return order < 0;
}

std::string IndexSize(int64_t bytes) {
  if (bytes < 0) return "  - ";
  constexpr int64_t kMost = 973;  // beyond it, three digits would not do after rounding
  char text[32];
  if (bytes < kMost) {
    std::snprintf(text, sizeof text, "%3d ", static_cast<int>(bytes));
    return text;
  }
  const char* unit = "KMGTPE";
  int64_t rest = bytes & 1023;
  bytes >>= 10;
  for (; bytes >= kMost; ++unit) {
    rest = bytes & 1023;
    bytes >>= 10;
  }
  if (bytes < 9 || (bytes == 9 && rest < kMost)) {
    int64_t tenths = (rest * 5 + 256) / 512;
    if (tenths >= 10) {
      ++bytes;
      tenths = 0;
    }
    std::snprintf(text, sizeof text, "%d.%d%c", static_cast<int>(bytes), static_cast<int>(tenths), *unit);
  } else {
    std::snprintf(text, sizeof text, "%3d%c", static_cast<int>(bytes + (rest >= 512 ? 1 : 0)), *unit);
  }
  return text;
}

std::optional<std::string> HtmlTitle(std::string_view text) {
  constexpr std::string_view kTag = "<title>";
  const auto at = std::search(text.begin(), text.end(), kTag.begin(), kTag.end(),
                              [](char c, char of_tag) { return http::Lower(c) == of_tag; });
  if (at == text.end()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(at - text.begin()) + kTag.size());
  text = text.substr(0, std::min(text.find('<'), text.find('\0')));
  text.remove_prefix(std::min(text.find_first_not_of("\r\n"), text.size()));
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  return out;
}

void AppendPlain(std::string_view text, std::string& out) {
  out += "<pre>\n";
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      default:
        out += c;
    }
  }
  out += "</pre>\n";
}

IndexPage::IndexPage(const AutoindexSettings& settings, const IndexView& view, std::string_view path)
    : settings_(settings),
      view_(view),
      has_style_(!settings.style_sheet.empty()),
      close_(view.options & kIndexXhtml ? " />" : ">"),
      name_width_(static_cast<size_t>(settings.name.columns)),
      description_width_(settings.description.columns) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  title_ = http::EscapeHtml(path);
}

void IndexPage::Preamble(std::string& out) const {
  out +=
      Has(kIndexXhtml)
          ? "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n"
            "\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n<html "
            "xmlns=\"http://www.w3.org/1999/xhtml\">\n"
          : "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">\n<html>\n";
  out += " <head>\n  <title>Index of " + title_ + "</title>\n";
  if (has_style_) {
    out += "  <link rel=\"stylesheet\" href=\"" + http::EscapeHtml(settings_.style_sheet) + "\" type=\"text/css\"" +
           close_ + "\n";
  }
  out += settings_.head_insert + " </head>\n <body>\n";
}

void IndexPage::Heading(std::string& out) const {
  out += (has_style_ ? "  <h1 id=\"indextitle\">Index of " : "<h1>Index of ") + title_ + "</h1>\n";
}

void IndexPage::Link(std::string_view text, char column, std::string& out) const {
  if (Has(kIndexNoSorting)) {
    out += text;
    return;
  }
  const bool turns = view_.key == column && view_.direction == 'A';
  out.append("<a href=\"?C=").append(1, column).append(";O=").append(turns ? "D" : "A").append(view_.column_arguments);
  out.append("\">").append(text).append("</a>");
}

void IndexPage::Column(std::string_view text, char column, std::string_view css, std::string& out) const {
  out += "<th";
  if (has_style_) out.append(" class=\"").append(css).append("\"");
  out += ">";
  Link(text, column, out);
  out += "</th>";
}

/// @param alt  the configuration's words; entities in it stay
void IndexPage::Image(const std::string& url, std::string_view alt, std::string& out) const {
  out += "<img src=\"" + http::EscapeHtml(url) + "\" alt=\"";
  for (const char c : alt) {
    if (c == '"') {
      out += "&quot;";
    } else if (c == '<') {
      out += "&lt;";
    } else {
      out += c;
    }
  }
  out += '"';
  if (settings_.icon_width) out += " width=\"" + std::to_string(settings_.icon_width) + "\"";
  if (settings_.icon_height) out += " height=\"" + std::to_string(settings_.icon_height) + "\"";
  out += close_;
}

void IndexWidths::Add(const IndexEntry& entry) {
  name = std::max(name, entry.name.size());
  if (entry.description) description = std::max(description, entry.description->size());
}

void IndexPage::TableHead(const IndexWidths& widest, std::string& out) {
  const bool is_table = Has(kIndexTable);
  if (!is_table && !Has(kIndexFancy)) {
    out += "<ul>";
    return;
  }
  const std::string* blank = AutoindexSettings::Find(settings_.icons, "^^BLANKICON^^", "", "", true);
  if (is_table) {
    int columns = 1;
    out += has_style_ ? "  <table id=\"indexlist\">\n   <tr class=\"indexhead\">" : "  <table>\n   <tr>";
    if (!Has(kIndexNoIcon)) {
      out += has_style_ ? "<th class=\"indexcolicon\">" : "<th valign=\"top\">";
      if (blank) {
        Image(*blank, "[ICO]", out);
      } else {
        out += "&nbsp;";
      }
      out += "</th>";
      ++columns;
    }
    Column("Name", 'N', "indexcolname", out);
    if (!Has(kIndexNoModified)) Column("Last modified", 'M', "indexcollastmod", out);
    if (!Has(kIndexNoSize)) Column("Size", 'S', "indexcolsize", out);
    if (!Has(kIndexNoDescription)) Column("Description", 'D', "indexcoldesc", out);
    columns += !Has(kIndexNoModified) + !Has(kIndexNoSize) + !Has(kIndexNoDescription);
    out += "</tr>\n";
    if (!Has(kIndexNoRules)) {
      rule_ = has_style_ ? "   <tr class=\"indexbreakrow\">" : "   <tr>";
      rule_ += "<th colspan=\"" + std::to_string(columns) + "\"><hr" + close_ + "</th></tr>\n";
    }
    out += rule_;
    return;
  }
  if (settings_.name.adjust.value_or(false)) name_width_ = std::max(name_width_, widest.name);
  if (settings_.description.adjust.value_or(false)) {
    description_width_ = std::max(description_width_, static_cast<int>(widest.description));
  }
  out += "<pre>";
  if (!Has(kIndexNoIcon)) {
    if (blank) {
      Image(*blank, "Icon ", out);
      out += ' ';
    } else {
      out += "      ";
    }
  }
  Link("Name", 'N', out);
  out.append(name_width_ - 4 + 1, ' ');
  if (!Has(kIndexNoModified)) {
    Link("Last modified", 'M', out);
    out += "      ";
  }
  if (!Has(kIndexNoSize)) {
    Link("Size", 'S', out);
    out += "  ";
  }
  if (!Has(kIndexNoDescription)) Link("Description", 'D', out);
  if (Has(kIndexNoRules)) {
    out += '\n';
  } else {
    out.append("<hr").append(close_);
  }
}

/// Cuts to the width of the column: a tag takes no room, an entity one place. The last place is a '>'.
std::string IndexPage::Cut(std::string_view text) const {
  int left = description_width_;
  if (!settings_.description.adjust) {  // Apache's way as long as no width was asked for: the others' columns are free
    if (Has(kIndexNoIcon)) left += 6;
    if (Has(kIndexNoModified)) left += 19;
    if (Has(kIndexNoSize)) left += 7;
  }
  size_t i = 0;
  for (; i < text.size() && (left > 0 || text[i] == '<'); ++i) {
    if (text[i] == '<' || text[i] == '&') {
      if (text[i] == '&') --left;
      i = text.find(text[i] == '<' ? '>' : ';', i);
      if (i == std::string_view::npos) return std::string(text);
    } else {
      --left;
    }
  }
  if (left > 0 || i >= text.size()) return std::string(text);
  return std::string(text.substr(0, i - 1)) + ">";
}

/// Name as it is shown, cut to the column, escaped, with the blanks that fill it up behind `</a>`.
std::string IndexPage::Shown(std::string_view name) const {
  std::string cut(name);
  if (cut.size() > name_width_) cut = cut.substr(0, name_width_ - 3) + "..>";
  return http::EscapeHtml(cut) + "</a>" + std::string(name_width_ - cut.size(), ' ');
}

std::string IndexPage::Time(int64_t modified_us) const {
  int64_t seconds = modified_us / 1000000;
  if (modified_us < 0 && modified_us % 1000000 != 0) --seconds;
  const auto when = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::localtime_r(&when, &parts);
  std::array<char, 64> text;
  const size_t size =
      std::strftime(text.data(), text.size(), Has(kIndexOldDates) ? "%d-%b-%Y %H:%M  " : "%Y-%m-%d %H:%M  ", &parts);
  return {text.data(), size};
}

void IndexPage::TableRow(size_t index, const IndexEntry& entry, const std::string& anchor, std::string& out) const {
  const auto cell = [&](const char* css, const char* plain) {
    out += "<td";
    if (has_style_) {
      out.append(" class=\"").append(css).append("\"");
    } else {
      out += plain;
    }
    out += ">";
  };
  if (has_style_) {
    out.append("   <tr class=\"").append(index % 2 ? "odd" : "even");
    if (Has(kIndexAltClass) && entry.alt) out += "-" + http::EscapeHtml(config::LowerCase(*entry.alt));
    out += "\">";
  } else {
    out += "<tr>";
  }
  if (!Has(kIndexNoIcon)) {
    cell("indexcolicon", " valign=\"top\"");
    if (Has(kIndexIconsAreLinks)) out += "<a href=\"" + anchor + "\">";
    if (entry.icon || !settings_.default_icon.empty()) {
      Image(entry.icon ? *entry.icon : settings_.default_icon, "[" + (entry.alt ? *entry.alt : "   ") + "]", out);
    } else {
      out += "&nbsp;";
    }
    out += Has(kIndexIconsAreLinks) ? "</a></td>" : "</td>";
  }
  cell("indexcolname", "");
  const std::string_view name = entry.is_parent ? "Parent Directory" : std::string_view(entry.name);
  out += "<a href=\"" + anchor + "\">";
  out += settings_.name.adjust.value_or(false) ? http::EscapeHtml(name) + "</a>" : Shown(name);
  out += "</td>";
  if (!Has(kIndexNoModified)) {
    cell("indexcollastmod", entry.modified_us == -1 ? "" : " align=\"right\"");
    out += (entry.modified_us == -1 ? "&nbsp;" : Time(entry.modified_us)) + "</td>";
  }
  if (!Has(kIndexNoSize)) {
    cell("indexcolsize", " align=\"right\"");
    out += IndexSize(entry.size) + "</td>";
  }
  if (!Has(kIndexNoDescription)) {
    cell("indexcoldesc", "");
    if (!entry.description) {
      out += "&nbsp;";
    } else {
      out += settings_.description.adjust.value_or(false) ? *entry.description : Cut(*entry.description);
    }
    out += "</td>";
  }
  out += "</tr>\n";
}

void IndexPage::FancyRow(const IndexEntry& entry, const std::string& anchor, std::string& out) const {
  if (!Has(kIndexNoIcon)) {
    if (Has(kIndexIconsAreLinks)) out += "<a href=\"" + anchor + "\">";
    if (entry.icon || !settings_.default_icon.empty()) {
      Image(entry.icon ? *entry.icon : settings_.default_icon, "[" + (entry.alt ? *entry.alt : "   ") + "]", out);
    } else {
      out += "     ";
    }
    out += Has(kIndexIconsAreLinks) ? "</a> " : " ";
  }
  out +=
      "<a href=\"" + anchor + "\">" + Shown(entry.is_parent ? "Parent Directory" : std::string_view(entry.name)) + " ";
  if (!Has(kIndexNoModified)) out += entry.modified_us == -1 ? std::string(19, ' ') : Time(entry.modified_us);
  if (!Has(kIndexNoSize)) out += IndexSize(entry.size) + "  ";
  if (!Has(kIndexNoDescription) && entry.description) out += Cut(*entry.description);
  out += '\n';
}

void IndexPage::Row(size_t index, const IndexEntry& entry, std::string& out) const {
  const std::string anchor = http::EscapeHtml(http::EscapePath(entry.name));
  if (Has(kIndexTable)) {
    TableRow(index, entry, anchor, out);
  } else if (Has(kIndexFancy)) {
    FancyRow(entry, anchor, out);
  } else {
    out += "<li><a href=\"" + anchor + "\"> " +
           http::EscapeHtml(entry.is_parent ? "Parent Directory" : std::string_view(entry.name)) + "</a></li>\n";
  }
}

void IndexPage::TableFoot(std::string& out) const {
  if (Has(kIndexTable)) {
    out += rule_ + "</table>\n";
  } else if (!Has(kIndexFancy)) {
    out += "</ul>\n";
  } else if (Has(kIndexNoRules)) {
    out += "</pre>\n";
  } else {
    out.append("<hr").append(close_).append("</pre>\n");
  }
}

}  // namespace httpd::modules
