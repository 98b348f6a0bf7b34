#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "httpd/modules/autoindex_settings.h"

namespace httpd::modules {

/// One line of a listing.
struct IndexEntry {
  std::string name;                   ///< as on disk, directories with a slash at the end; of the parent its URL-path
  const std::string* icon = nullptr;  ///< of the settings; nullptr: DefaultIcon
  const std::string* alt = nullptr;   ///< of the settings; nullptr: none
  std::optional<std::string> description;  ///< HTML
  int64_t size = -1;                       ///< bytes; -1: a directory
  int64_t modified_us = -1;                ///< since 1970; -1: not shown
  bool is_parent = false;
  bool goes_first = false;  ///< a directory, with FoldersFirst
};

/// How one request wants its listing: the settings, and what the client's query changed of them.
struct IndexView {
  unsigned options = 0;
  char key = 'N';                      ///< N M S D
  char direction = 'A';                ///< A D
  std::optional<std::string> pattern;  ///< P=: a wildcard for names; what it is not is left out
  std::string column_arguments;        ///< ";F=1;V=1;P=...": kept in the links of the columns, safe in HTML
};

/// The query is read strictly, as Apache does: `C=N|M|S|D`, `O=A|D`, `F=0|1|2`, `V=0|1`, `P=pattern`, separated by & or
/// ; and the first thing that is none of these ends it.
IndexView MakeIndexView(const AutoindexSettings& settings, std::string_view query);

/// Whether a name fits P=: * ? [set], a leading dot has to be said, a backslash is a backslash.
bool FitsIndexPattern(std::string_view pattern, std::string_view name);

/// Whether `a` stands before `b`. A strict order for entries of different names; the parent is always first.
bool IndexOrder(const IndexView& view, const IndexEntry& a, const IndexEntry& b);

/// Compares as people do: numbers in names by their value. <0, 0, >0. Source  APR's apr_strnatcmp
int NaturalCompare(std::string_view a, std::string_view b, bool no_case);

/// "  - " (-1), "973 ", "9.9K", " 12M": always four columns, as APR's apr_strfsize.
std::string IndexSize(int64_t bytes);

/// The text of the first <title> of a page's beginning, up to the next '<', in one line; nullopt: none.
std::optional<std::string> HtmlTitle(std::string_view text);

/// Longest texts of a listing, for columns as wide as what is in them.
struct IndexWidths {
  size_t name = 0;
  size_t description = 0;
  void Add(const IndexEntry& entry);
};

/// Writes a listing piece by piece: Preamble, (a header), Heading, TableHead, Row by row, TableFoot.
/// As Apache's mod_autoindex byte for byte; names are escaped always, descriptions are the configuration's HTML.
class IndexPage {
 public:
  /// @param settings, view  must outlive the page
  /// @param path            decoded URL-path of the directory
  IndexPage(const AutoindexSettings& settings, const IndexView& view, std::string_view path);

  void Preamble(std::string& out) const;
  void Heading(std::string& out) const;
  /// @param widest  of all entries
  void TableHead(const IndexWidths& widest, std::string& out);
  void Row(size_t index, const IndexEntry& entry, std::string& out) const;
  void TableFoot(std::string& out) const;

 private:
  bool Has(unsigned option) const { return (view_.options & option) != 0; }
  void Link(std::string_view text, char column, std::string& out) const;
  void Column(std::string_view text, char column, std::string_view css, std::string& out) const;
  void Image(const std::string& url, std::string_view alt, std::string& out) const;
  std::string Cut(std::string_view description) const;
  std::string Shown(std::string_view name) const;
  std::string Time(int64_t modified_us) const;
  void TableRow(size_t index, const IndexEntry& entry, const std::string& anchor, std::string& out) const;
  void FancyRow(const IndexEntry& entry, const std::string& anchor, std::string& out) const;

  const AutoindexSettings& settings_;
  const IndexView& view_;
  std::string title_;
  std::string rule_;  ///< of a table
  bool has_style_;
  const char* close_;  ///< of an empty element
  size_t name_width_;
  int description_width_;
};

/// Text as it stands in <pre>.
void AppendPlain(std::string_view text, std::string& out);

}  // namespace httpd::modules
