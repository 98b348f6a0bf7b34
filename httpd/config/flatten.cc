#include "httpd/config/flatten.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace httpd::config {
namespace {

constexpr char kModulesDirectory[] = "modules/";

std::string Quoted(std::string_view word) {
  std::string out = "\"";
  for (const char c : word) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

bool IsBlankOrBackslash(char c) {
  return c == '\\' || c == ' ' || (c >= '\t' && c <= '\r');
}

bool MayBeDefined(const std::string& name) {
  return name.find(':') == std::string::npos;  // with a colon it can only come from -D, which is given again
}

class Writer {
 public:
  Writer(const Tree& tree, const ReadRequest& request) : tree_(tree), request_(request) {
    dollar_ = Unused("BATON_DOLLAR");
    nothing_ = Unused("BATON_NOTHING");
  }

  os::Result<std::string> Run(bool root_is_there) {
    if (root_is_there) Line("ServerRoot " + Quoted(tree_.server_root), "");  // otherwise nothing is below it
    for (const std::string& module : tree_.loaded_modules) {
      Line("LoadModule " + Quoted(module) + " " + Quoted(kModulesDirectory + module + ".so"), "");
    }
    Nodes(tree_.nodes, "");
    // Behind everything else: a ${NAME} that was left as it is because nothing had defined NAME yet must stay so.
    for (const std::string& name : request_.defines) {
      const auto& now = tree_.define_names;
      if (MayBeDefined(name) && std::find(now.begin(), now.end(), name) == now.end()) {
        Line("UnDefine " + Quoted(name), "");
      }
    }
    for (const std::string& name : tree_.define_names) {
      const auto value = tree_.define_values.find(name);
      const bool valued = value != tree_.define_values.end();
      const auto& given_names = request_.defines;
      const bool typed = std::find(given_names.begin(), given_names.end(), name) != given_names.end();
      if (!MayBeDefined(name) || (typed && !valued)) continue;
      Line("Define " + Quoted(name) + (valued ? " " + Quoted(value->second) : ""), "");
    }
    if (error_) return *error_;
    std::string head =
        "# What one instance of httpd was started from: a copy, made by the server. Changing it changes nothing.\n";
    // Both are gone again at the end, so that nothing inside and nothing that asks for the defines sees them.
    if (uses_dollar_) head += "Define " + dollar_ + " \"$\"\n";
    if (uses_nothing_) head += "Define " + nothing_ + " \"\"\n";
    std::string tail;
    if (uses_dollar_) tail += "UnDefine " + dollar_ + "\n";
    if (uses_nothing_) tail += "UnDefine " + nothing_ + "\n";
    return head + text_ + tail;
  }

 private:
  std::string Unused(std::string name) const {
    const auto& names = tree_.define_names;
    while (std::find(names.begin(), names.end(), name) != names.end() ||
           std::find(request_.defines.begin(), request_.defines.end(), name) != request_.defines.end()) {
      name += '_';
    }
    return name;
  }

  void Nodes(const std::vector<Node>& nodes, const std::string& indent) {
    for (const Node& node : nodes) {
      Where(node.where, indent);
      const bool section = node.name.front() == '<';
      std::string line = node.name;
      if (!node.arguments.empty()) line += " " + node.arguments;  // "<Name >" is read as "<Name>" is
      Line(line, indent, &node.where);
      if (!section) continue;
      Nodes(node.children, indent + "  ");
      Line("</" + node.name.substr(1) + ">", indent);
      last_ = {};
    }
  }

  /// A comment where the reader of the text would not guess the line.
  void Where(const SourceLine& where, const std::string& indent) {
    if (where.file != last_.file || where.line != last_.line + 1) {
      std::string file = where.file;
      std::replace_if(
          file.begin(), file.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, '?');
      text_ += indent + "# " + file + ":" + std::to_string(where.line) + "\n";
    }
    last_ = where;
  }

  void Line(const std::string& line, const std::string& indent, const SourceLine* where = nullptr) {
    if (line.find('\n') != std::string::npos && !error_) {
      error_ = os::Error{os::ErrorKind::kInvalid, 0,
                         (where ? where->file + ":" + std::to_string(where->line) + ": the directive " : "a Define ") +
                             "holds a newline, which cannot be written into a file"};
    }
    text_ += indent;
    size_t at = 0;
    for (size_t found; (found = line.find("${", at)) != std::string::npos; at = found + 1) {
      uses_dollar_ = true;  // expanding is done; what still looks like a variable is meant to look so
      text_.append(line, at, found - at).append("${" + dollar_ + "}");
    }
    text_.append(line, at);
    if (!line.empty() && IsBlankOrBackslash(line.back())) {
      uses_nothing_ = true;  // trimming and continuing look at the line before its variables are expanded
      text_ += "${" + nothing_ + "}";
    }
    text_ += '\n';
  }

  const Tree& tree_;
  const ReadRequest& request_;
  std::string dollar_;
  std::string nothing_;
  std::string text_;
  SourceLine last_;
  bool uses_dollar_ = false;
  bool uses_nothing_ = false;
  std::optional<os::Error> error_;
};

}  // namespace

os::Result<std::string> Flatten(const Tree& tree, const ReadRequest& request, const FileSource& files) {
  return Writer(tree, request).Run(files.is_directory(tree.server_root));
}

}  // namespace httpd::config
