#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/module_slots.h"

namespace httpd::modules {

/// Bits of IndexOptions.
enum IndexOption : unsigned {
  kIndexNone = 1U << 0,  ///< `IndexOptions None` was said
  kIndexFancy = 1U << 1,
  kIndexTable = 1U << 2,
  kIndexFoldersFirst = 1U << 3,
  kIndexIconsAreLinks = 1U << 4,
  kIndexIgnoreCase = 1U << 5,
  kIndexIgnoreClient = 1U << 6,
  kIndexScanTitles = 1U << 7,
  kIndexNoSorting = 1U << 8,
  kIndexNoDescription = 1U << 9,
  kIndexNoPreamble = 1U << 10,
  kIndexNoIcon = 1U << 11,
  kIndexNoModified = 1U << 12,
  kIndexNoSize = 1U << 13,
  kIndexNoRules = 1U << 14,
  kIndexTrackModified = 1U << 15,
  kIndexVersionSort = 1U << 16,
  kIndexXhtml = 1U << 17,
  kIndexShowForbidden = 1U << 18,
  kIndexAltClass = 1U << 19,
  kIndexOldDates = 1U << 20,
};

/// What IndexOptions and the other directives of mod_autoindex say in one place. Source  httpd 2.4 manual,
/// mod_autoindex
struct AutoindexSettings final : config::ModuleSettings {
  /// AddIcon..., AddAlt...: what the entry must be like, and what it gets.
  struct Item {
    enum class By { kName, kType, kEncoding };
    By by = By::kName;
    std::string pattern;  ///< * and ?; of kEncoding lower case
    std::string path;     ///< the section's directory and a star
    std::string data;
  };
  struct Description {
    std::string pattern;  ///< a wildcard when `is_wildcard`, otherwise a part of the name
    std::string text;     ///< HTML
    bool is_wildcard = false;
    bool of_path = false;  ///< against the whole file name
  };
  struct Ignore {
    std::string pattern;
    std::string path;
  };
  /// `NameWidth`, `DescriptionWidth`: nothing said is not the same as the default.
  struct Width {
    int columns = kDefaultWidth;
    std::optional<bool> adjust;  ///< true: as wide as the widest entry
  };
  static constexpr int kDefaultWidth = 23;

  std::string default_icon, style_sheet, head_insert, header, readme, type;
  std::optional<std::string> charset;  ///< "": the field has none
  int icon_width = 0;                  ///< 0: not written
  int icon_height = 0;
  Width name, description;
  std::vector<Item> icons, alts;
  std::vector<Description> descriptions;
  std::vector<Ignore> ignored;
  bool forget_ignored = false;  ///< IndexIgnoreReset
  unsigned options = 0;
  unsigned add = 0;       ///< +Option
  unsigned remove = 0;    ///< -Option
  char order = '\0';      ///< N M S D; '\0': nothing said
  char direction = '\0';  ///< A D

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override;

  /// IndexIgnore. @param file  whole file name
  bool Ignores(std::string_view file) const;
  /// AddDescription; nullptr: none
  const std::string* DescriptionOf(std::string_view file) const;
  /// First item that fits; nullptr: none. A `file` that begins with '^' is one of ^^DIRECTORY^^ and ^^BLANKICON^^.
  /// @param type      media type without parameters
  /// @param encoding  content codings, "a, b"; "" = none
  /// @param by_name_only  only AddIcon and AddAlt are asked: directories
  static const std::string* Find(const std::vector<Item>& items, std::string_view file, std::string_view type,
                                 std::string_view encoding, bool by_name_only);
};

/// The directives of mod_autoindex.
const std::vector<config::Directive>& AutoindexDirectives();

}  // namespace httpd::modules
