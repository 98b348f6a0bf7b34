#include "httpd/config/directive_tables.h"

#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

Complaint SetTypesConfig(Builder& builder, Scope&, const Node&, const Words& words) {
  builder.config().types_config = builder.Absolute(words[0]);
  return kFine;
}

Complaint AddTypes(Builder&, Scope& scope, const Node&, const Words& words) {
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string extension = LowerCase(words[i].starts_with('.') ? words[i].substr(1) : words[i]);
    if (!extension.empty()) scope.settings.types[extension] = words[0];
  }
  return kFine;
}

Complaint SetDirectoryIndex(Builder&, Scope& scope, const Node&, const Words& words) {
  if (words.size() == 1 && SameIgnoringCase(words[0], "disabled")) {
    scope.settings.directory_index = Words{};
    return kFine;
  }
  // Apache: several lines of one section add up.
  auto& index = scope.settings.directory_index;
  if (!index) index.emplace();
  index->insert(index->end(), words.begin(), words.end());
  return kFine;
}

constexpr OnRead kNo = OnRead::kNo;

using Arity::kAtLeastOne;
using Arity::kAtLeastTwo;
using Arity::kOne;

}  // namespace

// clang-format off
std::vector<Directive> MappingDirectives() {
  return {
    {"TypesConfig", "mod_mime.c", kInServer, kOne, "the MIME types config file", kNo, SetTypesConfig},
    {"AddType", "mod_mime.c", kAnywhere | kOverrideFileInfo, kAtLeastTwo, "a mime type followed by one or more file extensions", kNo, AddTypes},
    {"DirectoryIndex", "mod_dir.c", kAnywhere | kOverrideIndexes, kAtLeastOne, "a list of file names", kNo, SetDirectoryIndex},
  };
}
// clang-format on

}  // namespace httpd::config
