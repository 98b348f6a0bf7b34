#include "httpd/modules/autoindex_settings.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/http/ascii.h"
#include "httpd/http/values.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;
using Item = AutoindexSettings::Item;

constexpr int kWidest = 1000;  // of a column: a .htaccess file must not make pages of nothing but blanks

/// `*` and `?` only, as Apache's ap_strcmp_match: brackets and backslashes are what they are.
bool StarMatch(std::string_view pattern, std::string_view text, bool no_case) {
  const auto same = [no_case](char a, char b) {
    return a == b || (no_case && http::EqualsIgnoreCase(std::string_view(&a, 1), std::string_view(&b, 1)));
  };
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;
  size_t star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = ++p;
      star_text = t;
      if (p == pattern.size()) return true;
      if (pattern.find_first_of("*?", p) == std::string_view::npos) {  // the usual "*.ext"
        const std::string_view tail = pattern.substr(p);
        if (tail.size() > text.size() - t) return false;
        const std::string_view end = text.substr(text.size() - tail.size());
        return no_case ? http::EqualsIgnoreCase(end, tail) : end == tail;
      }
    } else if (p < pattern.size() && (pattern[p] == '?' || same(pattern[p], text[t]))) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star;
      t = ++star_text;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool HasWildcard(std::string_view text) {
  return text.find_first_of("*?") != std::string_view::npos ||
         (text.find('[') != std::string_view::npos && text.find(']', text.find('[')) != std::string_view::npos);
}

std::string_view BaseName(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

/// The directory that a directive of a section is about, with a slash at its end.
std::string PathOf(const Scope& scope) {
  if (!scope.section || scope.section->is_regex) return "";
  std::string path = scope.section->pattern;
  if (scope.section->kind == config::Section::Kind::kDirectory && !path.ends_with('/')) path += '/';
  return path;
}

Item MakeItem(const Scope& scope, Item::By by, std::string to, std::string data) {
  if (by == Item::By::kName) {
    if (to == "**DIRECTORY**") to = "^^DIRECTORY^^";
    if (to.find_first_of("*?") == std::string::npos) to.insert(0, "*");
  }
  if (by == Item::By::kEncoding) to = config::LowerCase(to);
  return {by, std::move(to), PathOf(scope) + "*", std::move(data)};
}

template <Item::By kBy>
Complaint AddAlt(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& settings = config::SettingsOf<AutoindexSettings>(scope);
  for (size_t i = 1; i < words.size(); ++i) settings.alts.push_back(MakeItem(scope, kBy, words[i], words[0]));
  return std::nullopt;
}

template <Item::By kBy>
Complaint AddIcon(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& settings = config::SettingsOf<AutoindexSettings>(scope);
  std::string icon = words[0];
  std::optional<std::string> alt;
  if (icon.starts_with('(')) {
    const size_t close = icon.find(')');
    if (close == std::string::npos) return "missing closing paren";
    const size_t comma = std::min(icon.find(','), close);
    alt = icon.substr(1, comma - 1);
    size_t from = comma;
    while (from < close && icon[from] == ',') ++from;
    icon = icon.substr(from, close - from);
  }
  for (size_t i = 1; i < words.size(); ++i) {
    if (alt) settings.alts.push_back(MakeItem(scope, kBy, words[i], *alt));
    settings.icons.push_back(MakeItem(scope, kBy, words[i], icon));
  }
  return std::nullopt;
}

Complaint AddDescription(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& settings = config::SettingsOf<AutoindexSettings>(scope);
  for (size_t i = 1; i < words.size(); ++i) {
    AutoindexSettings::Description entry;
    entry.text = words[0];
    entry.of_path = words[i].find('/') != std::string::npos;
    entry.is_wildcard = entry.of_path || HasWildcard(words[i]);
    entry.pattern = entry.is_wildcard ? (entry.of_path ? "*/" : "*") + words[i] + "*" : words[i];
    settings.descriptions.push_back(std::move(entry));
  }
  return std::nullopt;
}

Complaint IndexIgnore(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& settings = config::SettingsOf<AutoindexSettings>(scope);
  for (const std::string& word : words) settings.ignored.push_back({word, PathOf(scope) + "*"});
  return std::nullopt;
}

Complaint IndexIgnoreReset(config::Builder&, Scope& scope, const Node&, const Words& words) {
  config::SettingsOf<AutoindexSettings>(scope).forget_ignored = config::SameIgnoringCase(words[0], "on");
  return std::nullopt;
}

template <std::string AutoindexSettings::*kMember>
Complaint SetText(config::Builder&, Scope& scope, const Node&, const Words& words) {
  config::SettingsOf<AutoindexSettings>(scope).*kMember = words[0];
  return std::nullopt;
}

Complaint IndexOrderDefault(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& settings = config::SettingsOf<AutoindexSettings>(scope);
  const std::string direction = config::LowerCase(words[0]);
  const std::string key = config::LowerCase(words[1]);
  if (direction != "ascending" && direction != "descending") {
    return "First keyword must be 'Ascending' or 'Descending'";
  }
  settings.direction = direction == "ascending" ? 'A' : 'D';
  constexpr std::pair<const char*, char> kKeys[] = {{"name", 'N'}, {"date", 'M'}, {"size", 'S'}, {"description", 'D'}};
  for (const auto& [name, letter] : kKeys) {
    if (key != name) continue;
    settings.order = letter;
    return std::nullopt;
  }
  return "Second keyword must be 'Name', 'Date', 'Size', or 'Description'";
}

Complaint FancyIndexing(config::Builder&, Scope&, const Node&, const Words&) {
  return "The FancyIndexing directive is no longer supported.  Use IndexOptions FancyIndexing.";
}

std::optional<int> Columns(std::string_view text) {
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

/// NameWidth and DescriptionWidth: `word` without its sign. nullopt: it is another option.
std::optional<Complaint> TakeWidth(const std::string& word, char action, const char* name, int least,
                                   AutoindexSettings::Width& out) {
  const std::string lower = config::LowerCase(word);
  const std::string key = config::LowerCase(name);
  if (lower == key) {
    if (action != '-') return std::string(name) + " with no value may only appear as '-" + name + "'";
    out = {AutoindexSettings::kDefaultWidth, false};
    return Complaint();
  }
  if (!lower.starts_with(key + "=")) return std::nullopt;
  if (action == '-') return "Cannot combine '-' with " + std::string(name) + "=n";
  const std::string value = word.substr(key.size() + 1);
  if (value.starts_with('*')) {
    out.adjust = true;
    return Complaint();
  }
  const auto columns = Columns(value);
  if (!columns || *columns < least) {
    return std::string(name) + " value must be greater than " + std::to_string(least);
  }
  if (*columns > kWidest) return std::string(name) + " value must not be greater than " + std::to_string(kWidest);
  out = {*columns, false};
  return Complaint();
}

/// IconWidth and IconHeight, with Apache's sizes for those that give none.
std::optional<Complaint> TakeIconSize(const std::string& word, char action, const char* name, int usual, int& out) {
  const std::string lower = config::LowerCase(word);
  const std::string key = config::LowerCase(name);
  if (lower == key) {
    out = action == '-' ? 0 : usual;
    return Complaint();
  }
  if (!lower.starts_with(key + "=")) return std::nullopt;
  if (action == '-') return "Cannot combine '-' with " + std::string(name) + "=n";
  const auto pixels = Columns(std::string_view(word).substr(key.size() + 1));
  if (!pixels || *pixels > 10000) return std::string(name) + " value must be a number of pixels";
  out = *pixels;
  return Complaint();
}

/// A word of IndexOptions that carries a value. nullopt: it is none of those.
std::optional<Complaint> TakeValue(const std::string& word, char action, AutoindexSettings& settings) {
  constexpr int kUsualIconWidth = 20;
  constexpr int kUsualIconHeight = 22;
  if (auto taken = TakeIconSize(word, action, "IconWidth", kUsualIconWidth, settings.icon_width)) return taken;
  if (auto taken = TakeIconSize(word, action, "IconHeight", kUsualIconHeight, settings.icon_height)) return taken;
  if (auto taken = TakeWidth(word, action, "NameWidth", 5, settings.name)) return taken;
  if (auto taken = TakeWidth(word, action, "DescriptionWidth", 12, settings.description)) return taken;
  const std::string lower = config::LowerCase(word);
  const bool is_type = lower.starts_with("type=");
  if (!is_type && !lower.starts_with("charset=")) return std::nullopt;
  const std::string value = word.substr(word.find('=') + 1);
  if (std::any_of(value.begin(), value.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; })) {
    return "Invalid directory indexing option";
  }
  if (is_type) {
    settings.type = value;
  } else {
    settings.charset = value;
  }
  return Complaint();
}

Complaint IndexOptions(config::Builder&, Scope& scope, const Node&, const Words& words) {
  constexpr std::pair<const char*, unsigned> kNames[] = {{"fancyindexing", kIndexFancy},
                                                         {"foldersfirst", kIndexFoldersFirst},
                                                         {"htmltable", kIndexTable},
                                                         {"iconsarelinks", kIndexIconsAreLinks},
                                                         {"ignorecase", kIndexIgnoreCase},
                                                         {"ignoreclient", kIndexIgnoreClient},
                                                         {"scanhtmltitles", kIndexScanTitles},
                                                         {"suppresscolumnsorting", kIndexNoSorting},
                                                         {"suppressdescription", kIndexNoDescription},
                                                         {"suppresshtmlpreamble", kIndexNoPreamble},
                                                         {"suppressicon", kIndexNoIcon},
                                                         {"suppresslastmodified", kIndexNoModified},
                                                         {"suppresssize", kIndexNoSize},
                                                         {"suppressrules", kIndexNoRules},
                                                         {"trackmodified", kIndexTrackModified},
                                                         {"versionsort", kIndexVersionSort},
                                                         {"xhtml", kIndexXhtml},
                                                         {"showforbidden", kIndexShowForbidden},
                                                         {"addaltclass", kIndexAltClass},
                                                         {"useolddateformat", kIndexOldDates}};
  auto& settings = config::SettingsOf<AutoindexSettings>(scope);
  unsigned options = settings.options;
  unsigned add = settings.add;
  unsigned remove = settings.remove;
  for (const std::string& given : words) {
    const char action = given.starts_with('+') || given.starts_with('-') ? given.front() : '\0';
    const std::string word = given.substr(action ? 1 : 0);
    const std::string lower = config::LowerCase(word);
    unsigned option = 0;
    if (lower == "none") {
      if (action) return "Cannot combine '+' or '-' with 'None' keyword";
      options = kIndexNone;
      add = remove = 0;
    } else if (auto taken = TakeValue(word, action, settings)) {
      if (*taken) return *taken;
    } else {
      for (const auto& [name, bit] : kNames) {
        if (lower == name) option = bit;
      }
      if (option == 0) return "Invalid directory indexing option";
    }
    if (action == '+') {
      add |= option;
      remove &= ~option;
    } else if (action == '-') {
      remove |= option;
      add &= ~option;
    } else {
      options |= option;
      add = remove = 0;  // a word without sign begins anew, whatever it is
    }
  }
  if ((options & kIndexNone) && (options & ~static_cast<unsigned>(kIndexNone))) {
    return "Cannot combine other IndexOptions keywords with 'None'";
  }
  settings.options = options;
  settings.add = add;
  settings.remove = remove;
  return std::nullopt;
}

template <class T>
void Append(std::vector<T>& to, const std::vector<T>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace

std::unique_ptr<config::ModuleSettings> AutoindexSettings::MergedWith(const ModuleSettings& other) const {
  const auto& inner = static_cast<const AutoindexSettings&>(other);
  auto out = std::make_unique<AutoindexSettings>(inner);
  for (auto member :
       {&AutoindexSettings::default_icon, &AutoindexSettings::style_sheet, &AutoindexSettings::head_insert,
        &AutoindexSettings::header, &AutoindexSettings::readme, &AutoindexSettings::type}) {
    if (((*out).*member).empty()) (*out).*member = this->*member;
  }
  if (!out->charset) out->charset = charset;
  if (out->icon_width == 0) out->icon_width = icon_width;
  if (out->icon_height == 0) out->icon_height = icon_height;
  if (!out->name.adjust) out->name = name;
  if (!out->description.adjust) out->description = description;
  // The innermost first: the first that fits wins.
  Append(out->icons, icons);
  Append(out->alts, alts);
  Append(out->descriptions, descriptions);
  if (!inner.forget_ignored) Append(out->ignored, ignored);
  if (!out->order) out->order = order;
  if (!out->direction) out->direction = direction;
  if (inner.options == kIndexNone) {
    out->add = out->remove = 0;
    return out;
  }
  if (inner.options == 0) {
    out->add = (add | inner.add) & ~inner.remove;
    out->remove = remove | inner.remove;
    out->options = options & ~static_cast<unsigned>(kIndexNone);
  }
  out->options = (out->options | out->add) & ~out->remove;
  return out;
}

bool AutoindexSettings::Ignores(std::string_view file) const {
  const std::string_view base = BaseName(file);
  return std::any_of(ignored.begin(), ignored.end(), [&](const Ignore& rule) {
    return http::WildcardMatch(BaseName(rule.pattern), base, false) &&
           (rule.path == "*" || http::WildcardMatch(rule.path, file, false));
  });
}

const std::string* AutoindexSettings::DescriptionOf(std::string_view file) const {
  for (const Description& entry : descriptions) {
    const std::string_view subject = entry.of_path ? file : BaseName(file);
    const bool fits = entry.is_wildcard ? http::WildcardMatch(entry.pattern, subject, false)
                                        : subject.find(entry.pattern) != std::string_view::npos;
    if (fits) return &entry.text;
  }
  return nullptr;
}

const std::string* AutoindexSettings::Find(const std::vector<Item>& items, std::string_view file, std::string_view type,
                                           std::string_view encoding, bool by_name_only) {
  const bool is_special = file.starts_with('^');
  for (const Item& item : items) {
    if (item.pattern.empty()) {
      if (is_special || StarMatch(item.path, file, false)) return &item.data;
      continue;
    }
    bool fits = false;
    if (item.by == Item::By::kName || is_special) {
      fits = StarMatch(item.pattern, file, false);
    } else if (by_name_only) {
      continue;
    } else if (encoding.empty()) {
      fits = item.by == Item::By::kType && !type.empty() && StarMatch(item.pattern, type, true);
    } else {
      fits = item.by == Item::By::kEncoding && StarMatch(item.pattern, encoding, true);
    }
    if (fits && (is_special || item.path == "*" || StarMatch(item.path, file, false))) return &item.data;
  }
  return nullptr;
}

const std::vector<config::Directive>& AutoindexDirectives() {
  using config::Arity;
  using config::OnRead;
  constexpr unsigned kWhere = config::kAnywhere | config::kOverrideIndexes;
  constexpr const char* kFile = "mod_autoindex.c";
  using By = Item::By;
  static const std::vector<config::Directive> table = {
      {"AddIcon", kFile, kWhere, Arity::kAtLeastTwo, "an icon URL followed by one or more filenames", OnRead::kNo,
       AddIcon<By::kName>, "icon name [name] ...", "",
       "The icon is a URL-path or (alt,URL-path). A name is an extension, a wildcard, a file name, ^^DIRECTORY^^ or "
       "^^BLANKICON^^. The first directive that fits wins, those of the innermost section first."},
      {"AddIconByType", kFile, kWhere, Arity::kAtLeastTwo, "an icon URL followed by one or more MIME types",
       OnRead::kNo, AddIcon<By::kType>, "icon MIME-type [MIME-type] ...", "",
       "Icon for files whose media type fits the wildcard, as long as they have no content coding."},
      {"AddIconByEncoding", kFile, kWhere, Arity::kAtLeastTwo, "an icon URL followed by one or more content encodings",
       OnRead::kNo, AddIcon<By::kEncoding>, "icon MIME-encoding [MIME-encoding] ...", "",
       "Icon for files that are coded so, \"x-gzip\" for example."},
      {"AddAlt", kFile, kWhere, Arity::kAtLeastTwo, "alternate descriptive text followed by one or more filenames",
       OnRead::kNo, AddAlt<By::kName>, "string file [file] ...", "",
       "What stands in the alt attribute of the icon, within brackets."},
      {"AddAltByType", kFile, kWhere, Arity::kAtLeastTwo,
       "alternate descriptive text followed by one or more MIME types", OnRead::kNo, AddAlt<By::kType>,
       "string MIME-type [MIME-type] ...", "", "AddAlt by media type."},
      {"AddAltByEncoding", kFile, kWhere, Arity::kAtLeastTwo,
       "alternate descriptive text followed by one or more content encodings", OnRead::kNo, AddAlt<By::kEncoding>,
       "string MIME-encoding [MIME-encoding] ...", "", "AddAlt by content coding."},
      {"IndexOptions", kFile, kWhere, Arity::kAtLeastOne, "one or more index options [+|-][]", OnRead::kNo,
       IndexOptions, "[+|-]option [[+|-]option] ...", "",
       "How a listing looks: None, FancyIndexing, HTMLTable, XHTML, AddAltClass, IconsAreLinks, IconHeight[=pixels], "
       "IconWidth[=pixels], NameWidth=[n|*], DescriptionWidth=[n|*], FoldersFirst, IgnoreCase, VersionSort, "
       "IgnoreClient, "
       "ScanHTMLTitles, ShowForbidden, TrackModified, UseOldDateFormat, Charset=, Type=, SuppressColumnSorting, "
       "SuppressDescription, SuppressHTMLPreamble, SuppressIcon, SuppressLastModified, SuppressRules, SuppressSize. "
       "Words without sign replace what an outer place said, + and - change it; + and - alone have no effect outside "
       "sections. Widths are at most 1000."},
      {"IndexOrderDefault", kFile, kWhere, Arity::kTwo, "{Ascending,Descending} {Name,Size,Description,Date}",
       OnRead::kNo, IndexOrderDefault, "Ascending|Descending Name|Date|Size|Description", "Ascending Name",
       "The order where the client does not ask for one with ?C= and O=."},
      {"IndexIgnore", kFile, kWhere, Arity::kAtLeastOne, "one or more file extensions", OnRead::kNo, IndexIgnore,
       "file [file] ...", "", "Names and wildcards that are left out of listings; sections add to the list."},
      {"IndexIgnoreReset", kFile, kWhere, Arity::kFlag, "Reset the inherited list of IndexIgnore filenames",
       OnRead::kNo, IndexIgnoreReset, "On|Off", "Off",
       "On: what outer places said with IndexIgnore does not hold here."},
      {"AddDescription", kFile, kWhere, Arity::kAtLeastTwo, "Descriptive text followed by one or more filenames",
       OnRead::kNo, AddDescription, "string file [file] ...", "",
       "Text of the description column; it is HTML and is cut to the width of the column. A name with a slash is "
       "compared with the end of the path."},
      {"HeaderName", kFile, kWhere, Arity::kOne, "a filename", OnRead::kNo, SetText<&AutoindexSettings::header>,
       "filename", "",
       "File put above the listing: HTML instead of the page's own head line, any other text in <pre>. Relative to the "
       "directory, or a URL-path. Files over 1 MiB are left out."},
      {"ReadmeName", kFile, kWhere, Arity::kOne, "a filename", OnRead::kNo, SetText<&AutoindexSettings::readme>,
       "filename", "", "As HeaderName, below the listing and instead of the server's signature."},
      {"FancyIndexing", kFile, config::kAnywhere | config::kOverrideAny, Arity::kAny,
       "The FancyIndexing directive is no longer supported.  Use IndexOptions FancyIndexing.", OnRead::kNo,
       FancyIndexing, "", "", "An error that names its successor."},
      {"DefaultIcon", kFile, kWhere, Arity::kOne, "an icon URL", OnRead::kNo, SetText<&AutoindexSettings::default_icon>,
       "url-path", "", "The icon of what no AddIcon... fits."},
      {"IndexStyleSheet", kFile, kWhere, Arity::kOne, "URL to style sheet", OnRead::kNo,
       SetText<&AutoindexSettings::style_sheet>, "url-path", "",
       "Linked in the page's head; the columns of a table then have class names."},
      {"IndexHeadInsert", kFile, kWhere, Arity::kOne, "String to insert in HTML HEAD section", OnRead::kNo,
       SetText<&AutoindexSettings::head_insert>, "\"markup\"", "", "Written into the page's head as it is."},
  };
  return table;
}

}  // namespace httpd::modules
