#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "httpd/config/reader.h"
#include "httpd/config/server_config.h"
#include "os/error.h"

namespace httpd::config {

/// One directive or section as read: variables expanded, includes and conditions gone.
struct Node {
  std::string name;       ///< as written; sections with '<' and without '>': "<Directory"
  std::string arguments;  ///< rest of the line, still quoted; of a section with its '>'
  SourceLine where;
  std::vector<Node> children;
  size_t order = 0;  ///< counts the lines that were read, through all files
};

/// One error of a configuration.
struct Mistake {
  size_t order = 0;  ///< of the line where it was seen
  os::Error error;
};

/// All of them as one error, in the order of the lines; at most 100 are told. `mistakes` must hold one.
os::Error AllMistakes(std::vector<Mistake> mistakes);

/// What reading the files brings.
struct Tree {
  std::vector<Node> nodes;
  std::string server_root;
  std::string config_file;
  std::vector<IncludedFile> includes;
  std::vector<std::string> define_names;  ///< in order
  std::map<std::string, std::string> define_values;
  std::vector<std::string> loaded_modules;
  std::vector<std::string> warnings;
  std::vector<Mistake> mistakes;  ///< the tree holds what could be read nevertheless
  bool complete = true;           ///< false: a mistake kept part of a file from being read
};

/// First half of the reading: files into a tree. Obeys ServerRoot, Include, Define, LoadModule, <IfDefine>, <IfModule>,
/// <IfVersion>, <IfDirective>, <IfFile>, <IfSection>; checks that sections open and close in order. Nothing else is
/// looked at. A section that does not close in order ends its file, since what follows could belong anywhere; any other
/// mistake is noted and reading goes on.
/// @return kNotFound and the like for the main file only
///
/// Limits  128 nested includes (Apache's), 10,000 files, 100 nested sections, 16 MiB of expanded lines: more than that
/// is
///         a loop, and said to be one.
os::Result<Tree> ReadTree(const ReadRequest& request, const FileSource& files);

/// The text of an .htaccess file: as ReadTree(), but what is read can neither include nor define.
os::Result<Tree> ReadHtaccessTree(const std::string& text, const std::string& path, const ServerConfig& server,
                                  const FileSource& files);

/// "AH00526: Syntax error on line N of FILE:\nMESSAGE"
os::Error SyntaxError(const SourceLine& where, const std::string& message);

/// "MESSAGE (FILE:LINE)"
std::string WarningText(const SourceLine& where, const std::string& message);

/// `path` as it is when absolute, otherwise below `server_root`.
std::string AbsolutePath(const std::string& server_root, const std::string& path);

}  // namespace httpd::config
