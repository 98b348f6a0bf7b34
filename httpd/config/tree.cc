#include "httpd/config/tree.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "httpd/config/directives.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

constexpr int kMaxIncludeDepth = 128;
constexpr size_t kMaxFiles = 10000;
constexpr size_t kMaxSections = 100;
constexpr size_t kMaxExpandedBytes = 16u << 20;

// What <IfVersion> compares with: the release of Apache whose behaviour this server follows.
constexpr std::array<int, 3> kVersion = {2, 4, 71};

constexpr char kCommandLineFile[] = "-c/-C directives";

using Failure = std::optional<os::Error>;

bool HasWildcard(std::string_view path) {
  return path.find_first_of("*?[") != std::string_view::npos;
}

class TreeReader {
 public:
  TreeReader(const ReadRequest& request, const FileSource& files) : request_(request), files_(files) {
    tree_.server_root = request.server_root.empty() ? kDefaultServerRoot : request.server_root;
    for (const std::string& name : request.defines) AddDefine(name);
  }

  os::Result<Tree> Run() {
    if (auto failure = ReadCommandLine(request_.directives_before)) return *failure;
    tree_.config_file =
        AbsolutePath(tree_.server_root, request_.config_file.empty() ? kDefaultConfigFile : request_.config_file);
    auto text = files_.read(tree_.config_file);
    if (!text) {
      const os::Error& error = text.error();
      return os::Error{error.kind, 0, "httpd: " + CannotOpen(tree_.config_file, error)};
    }
    tree_.includes.push_back({tree_.config_file, 0, 0});
    if (auto failure = ReadText(text.value(), tree_.config_file, tree_.nodes, 0)) return *failure;
    if (auto failure = ReadCommandLine(request_.directives_after)) return *failure;
    return std::move(tree_);
  }

  /// One text, with what the configuration around it has defined.
  os::Result<Tree> RunHtaccess(const std::string& text, const std::string& path, const ServerConfig& server) {
    in_htaccess_ = true;
    tree_.server_root = server.server_root;
    tree_.define_names = server.defines;
    tree_.define_values = server.define_values;
    if (auto failure = ReadText(text, path, tree_.nodes, 0)) return *failure;
    return std::move(tree_);
  }

 private:
  struct Frame {
    Node node;
    bool condition = false;  ///< <IfDefine> and friends: its children belong to the frame around it
  };

  static std::string CannotOpen(const std::string& path, const os::Error& error) {
    const std::string reason = error.kind == os::ErrorKind::kNotFound ? "No such file or directory"
                               : error.kind == os::ErrorKind::kDenied ? "Permission denied"
                                                                      : error.Text();
    return "Could not open configuration file " + path + ": " + reason;
  }

  Failure ReadCommandLine(const std::vector<std::string>& directives) {
    std::string text;
    for (const std::string& directive : directives) text += directive + "\n";
    return ReadText(text, kCommandLineFile, tree_.nodes, 0);
  }

  Failure ReadText(std::string_view text, const std::string& file, std::vector<Node>& out, int depth) {
    LineReader lines(text);
    std::vector<Frame> frames;
    while (auto line = lines.Next()) {
      const SourceLine where{file, lines.line()};
      if (auto complaint = Expand(*line, where)) return SyntaxError(where, *complaint);
      std::string_view rest = *line;
      std::string name = TakeWord(rest);
      if (name.empty()) continue;  // a line that holds only ""
      if (name.starts_with("</")) {
        if (auto complaint = Close(name, frames, out)) return SyntaxError(where, *complaint);
        continue;
      }
      std::string arguments(rest);
      const bool section = name.front() == '<';
      if (section) {
        if (name.back() == '>') {
          name.pop_back();
          arguments.insert(0, ">");
        }
        if (name.size() == 1) return SyntaxError(where, "Incomplete <Container> directive");
        if (arguments.find('>') == std::string::npos) {
          return SyntaxError(where, name + "> directive missing closing '>'");
        }
        if (frames.size() >= kMaxSections) return SyntaxError(where, "Sections are nested more than 100 deep");
      }
      Node node{std::move(name), std::move(arguments), where, {}};
      const Directive* directive = FindDirective(node.name);
      if (directive && directive->on_read != OnRead::kNo) {
        if (section) {
          bool holds = false;
          if (auto complaint = Evaluate(*directive, node, holds)) return SyntaxError(where, *complaint);
          if (holds) {
            frames.push_back({std::move(node), true});
          } else if (auto failure = Skip(lines, node, file)) {
            return failure;
          }
        } else if (auto failure = Act(*directive, node, frames, frames.empty() ? out : Children(frames, out), depth)) {
          return failure;
        }
        continue;
      }
      if (section) {
        frames.push_back({std::move(node), false});
      } else {
        Children(frames, out).push_back(std::move(node));
      }
    }
    if (frames.empty()) return std::nullopt;
    const Frame& open = frames.back();
    return SyntaxError(open.node.where, open.condition
                                            ? "Expected </" + open.node.name.substr(1) + "> before end of configuration"
                                            : open.node.name + "> was not closed.");
  }

  static std::vector<Node>& Children(std::vector<Frame>& frames, std::vector<Node>& out) {
    for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame) {
      if (!frame->condition) return frame->node.children;
    }
    return out;
  }

  static Complaint Close(const std::string& tag, std::vector<Frame>& frames, std::vector<Node>& out) {
    if (tag.back() != '>') return tag + "> directive missing closing '>'";
    const std::string name = tag.substr(2, tag.size() - 3);
    if (frames.empty()) return tag + " without matching <" + name + "> section";
    const std::string open = frames.back().node.name.substr(1);
    if (!SameIgnoringCase(name, open)) return "Expected </" + open + "> but saw " + tag;
    Frame frame = std::move(frames.back());
    frames.pop_back();
    if (!frame.condition) Children(frames, out).push_back(std::move(frame.node));
    return std::nullopt;
  }

  // Nothing inside a condition that does not hold is looked at, but for the order of its sections.
  static Failure Skip(LineReader& lines, const Node& condition, const std::string& file) {
    std::vector<std::string> open = {condition.name.substr(1)};
    while (auto line = lines.Next()) {
      if (line->front() != '<') continue;
      const SourceLine where{file, lines.line()};
      std::string_view rest = *line;
      std::string name = TakeWord(rest);
      if (name.starts_with("</")) {
        if (name.back() != '>') return SyntaxError(where, name + "> directive missing closing '>'");
        if (!SameIgnoringCase(name.substr(2, name.size() - 3), open.back())) {
          return SyntaxError(where, "Expected </" + open.back() + "> but saw " + name);
        }
        open.pop_back();
        if (open.empty()) return std::nullopt;
        continue;
      }
      if (name.back() == '>') name.pop_back();
      open.push_back(name.substr(1));
    }
    return SyntaxError(condition.where, "Expected </" + open.back() + "> before end of configuration");
  }

  // ${NAME}: what Define gave, then the environment, otherwise left as it is.
  Complaint Expand(std::string& line, const SourceLine& where) {
    size_t at = line.find("${");
    if (at == std::string::npos) return std::nullopt;
    std::string out = line.substr(0, at);
    while (at != std::string::npos) {
      const size_t end = line.find('}', at);
      if (end == std::string::npos) break;
      const std::string name = line.substr(at + 2, end - at - 2);
      const auto known = tree_.define_values.find(name);
      if (known != tree_.define_values.end()) {
        out += known->second;
      } else if (auto value = files_.environment(name)) {
        out += *value;
      } else {
        out.append(line, at, end + 1 - at);
        // With a colon it is a map of mod_rewrite: no name of a variable has one.
        if (name.find(':') == std::string::npos) {
          tree_.warnings.push_back(WarningText(where, "AH00111: Config variable ${" + name + "} is not defined"));
        }
      }
      const size_t next = line.find("${", end + 1);
      out.append(line, end + 1, next == std::string::npos ? next : next - end - 1);
      at = next;
      if (out.size() > kMaxExpandedBytes - expanded_bytes_) {
        return "Variables expand to more than 16 MiB. There appears to be a recursion.";
      }
    }
    if (at != std::string::npos) out.append(line, at);
    expanded_bytes_ += out.size();
    line = std::move(out);
    return std::nullopt;
  }

  void AddDefine(const std::string& name) {
    auto& names = tree_.define_names;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }

  static bool IsModule(std::string_view name) {
    return std::any_of(BuiltInModules().begin(), BuiltInModules().end(),
                       [&](const ModuleName& module) { return name == module.file || name == module.identifier; });
  }

  Complaint Evaluate(const Directive& directive, const Node& node, bool& holds) const {
    std::vector<std::string> words = SplitWords(SectionArguments(node));
    if (words.empty() || words[0].empty()) return node.name + "> directive requires additional arguments";
    const bool negated = words[0].front() == '!';
    if (negated) words[0].erase(0, 1);
    if (directive.on_read == OnRead::kIfDefine) {
      const auto& names = tree_.define_names;
      holds = std::find(names.begin(), names.end(), words[0]) != names.end();
    } else if (directive.on_read == OnRead::kIfModule) {
      holds = IsModule(words[0]);
    } else if (directive.on_read == OnRead::kIfDirective) {
      holds = FindDirective(words[0]) != nullptr;
    } else if (directive.on_read == OnRead::kIfSection) {
      holds = FindDirective("<" + words[0]) != nullptr;
    } else if (directive.on_read == OnRead::kIfFile) {
      // In an .htaccess file nothing asks the file system.
      if (in_htaccess_) return node.name + " not allowed here";
      const std::string path = AbsolutePath(tree_.server_root, words[0]);
      holds = files_.is_directory(path) || (files_.exists && files_.exists(path));
    } else if (auto complaint = CompareVersion(words, holds)) {
      return complaint;
    }
    if (negated) holds = !holds;
    return std::nullopt;
  }

  static Complaint CompareVersion(const std::vector<std::string>& words, bool& holds) {
    // `<IfVersion 2.4>` is `<IfVersion = 2.4>`
    const std::string operation = words.size() > 1 ? words[0] : "=";
    const std::string& version = words.size() > 1 ? words[1] : words[0];
    if (words.size() > 2 || operation == "~" || version.starts_with('/')) {
      return "<IfVersion> takes an operator (=, ==, !=, <, <=, >, >=) and a version MAJOR[.MINOR[.PATCH]]";
    }
    int order = 0;
    std::string_view rest = version;
    for (size_t part = 0; part < kVersion.size() && !rest.empty(); ++part) {
      const std::string digits(rest.substr(0, rest.find('.')));
      if (digits.empty() || digits.size() > 6 || digits.find_first_not_of("0123456789") != std::string::npos) {
        return "invalid version '" + version + "' in <IfVersion>";
      }
      rest.remove_prefix(std::min(rest.size(), digits.size() + 1));
      if (order == 0) order = kVersion[part] - std::atoi(digits.c_str());
    }
    if (!rest.empty()) return "invalid version '" + version + "' in <IfVersion>";
    if (operation == "=" || operation == "==") {
      holds = order == 0;
    } else if (operation == "!=" || (operation.empty())) {
      holds = operation.empty() ? order == 0 : order != 0;  // "! 2.4": the caller turns it round
    } else if (operation == "<") {
      holds = order < 0;
    } else if (operation == "<=") {
      holds = order <= 0;
    } else if (operation == ">") {
      holds = order > 0;
    } else if (operation == ">=") {
      holds = order >= 0;
    } else {
      return "unrecognized operator '" + operation + "' in <IfVersion>";
    }
    return std::nullopt;
  }

  Failure Act(const Directive& directive, const Node& node, const std::vector<Frame>& frames, std::vector<Node>& out,
              int depth) {
    if (in_htaccess_) return SyntaxError(node.where, node.name + " not allowed here");
    const auto parent = std::find_if(frames.rbegin(), frames.rend(), [](const Frame& f) { return !f.condition; });
    if (parent != frames.rend()) {
      const unsigned here = SameIgnoringCase(parent->node.name, "<VirtualHost") ? kInHost : kInSection;
      if (!(directive.contexts & here)) {
        return SyntaxError(node.where,
                           std::string(directive.name) + " not allowed in " + parent->node.name + "> context");
      }
    }
    const std::vector<std::string> words = SplitWords(node.arguments);
    if (auto complaint = CheckArity(directive, words)) return SyntaxError(node.where, *complaint);
    switch (directive.on_read) {
      case OnRead::kServerRoot: {
        std::string root = words[0];
        while (root.size() > 1 && root.back() == '/') root.pop_back();
        if (root.front() != '/' || !files_.is_directory(root)) {
          return SyntaxError(node.where, "ServerRoot must be a valid directory");
        }
        tree_.server_root = root;
        return std::nullopt;
      }
      case OnRead::kDefine:
        if (words[0].find(':') != std::string::npos) {
          return SyntaxError(node.where, "Variable name must not contain ':'");
        }
        AddDefine(words[0]);
        if (words.size() > 1) tree_.define_values[words[0]] = words[1];
        return std::nullopt;
      case OnRead::kUnDefine:
        if (words[0].find(':') != std::string::npos) {
          return SyntaxError(node.where, "Variable name must not contain ':'");
        }
        std::erase(tree_.define_names, words[0]);
        tree_.define_values.erase(words[0]);
        return std::nullopt;
      case OnRead::kLoadModule: {
        const auto& modules = BuiltInModules();
        if (std::none_of(modules.begin(), modules.end(), [&](const auto& m) { return words[0] == m.identifier; })) {
          return SyntaxError(node.where, "Cannot load " + words[1] + " into server: " + words[0] +
                                             " is not one of the modules of this server (httpd -M lists them)");
        }
        auto& loaded = tree_.loaded_modules;
        if (std::find(loaded.begin(), loaded.end(), words[0]) == loaded.end()) loaded.push_back(words[0]);
        return std::nullopt;
      }
      case OnRead::kInclude:
      case OnRead::kIncludeOptional:
        for (const std::string& word : words) {
          if (auto failure = Include(word, directive.on_read == OnRead::kIncludeOptional, node.where, out, depth)) {
            return failure;
          }
        }
        return std::nullopt;
      default:
        return std::nullopt;
    }
  }

  Failure Include(const std::string& word, bool optional, const SourceLine& where, std::vector<Node>& out, int depth) {
    if (depth >= kMaxIncludeDepth) {
      return SyntaxError(where, "Exceeded maximum include depth of 128, There appears to be a recursion.");
    }
    const std::string path = AbsolutePath(tree_.server_root, word);
    if (!HasWildcard(path) && !files_.is_directory(path)) return IncludeFile(path, optional, where, out, depth);
    auto matches = files_.expand(path);
    if (!matches) {
      if (optional && matches.error().kind == os::ErrorKind::kNotFound) return std::nullopt;
      return SyntaxError(where, CannotOpen(path, matches.error()));
    }
    if (matches.value().empty() && !optional && HasWildcard(path)) {
      const size_t slash = path.rfind('/');
      return SyntaxError(where, "Include/IncludeOptional: No matches for the wildcard '" + path.substr(slash + 1) +
                                    "' in '" + path.substr(0, slash) + "', failing");
    }
    for (const std::string& match : matches.value()) {
      if (auto failure = IncludeFile(match, false, where, out, depth)) return failure;
    }
    return std::nullopt;
  }

  Failure IncludeFile(const std::string& path, bool optional, const SourceLine& where, std::vector<Node>& out,
                      int depth) {
    auto text = files_.read(path);
    if (!text) {
      if (optional && text.error().kind == os::ErrorKind::kNotFound) return std::nullopt;
      return SyntaxError(where, CannotOpen(path, text.error()));
    }
    if (tree_.includes.size() >= kMaxFiles) {
      return SyntaxError(where, "More than 10000 files are included. There appears to be a recursion.");
    }
    tree_.includes.push_back({path, depth + 1, where.line});
    return ReadText(text.value(), path, out, depth + 1);
  }

  const ReadRequest& request_;
  const FileSource& files_;
  Tree tree_;
  size_t expanded_bytes_ = 0;
  bool in_htaccess_ = false;
};

}  // namespace

os::Result<Tree> ReadTree(const ReadRequest& request, const FileSource& files) {
  return TreeReader(request, files).Run();
}

os::Result<Tree> ReadHtaccessTree(const std::string& text, const std::string& path, const ServerConfig& server,
                                  const FileSource& files) {
  const ReadRequest request;
  return TreeReader(request, files).RunHtaccess(text, path, server);
}

os::Error SyntaxError(const SourceLine& where, const std::string& message) {
  return {os::ErrorKind::kInvalid, 0,
          "AH00526: Syntax error on line " + std::to_string(where.line) + " of " + where.file + ":\n" + message};
}

std::string WarningText(const SourceLine& where, const std::string& message) {
  return message + " (" + where.file + ":" + std::to_string(where.line) + ")";
}

std::string AbsolutePath(const std::string& server_root, const std::string& path) {
  if (path.starts_with('/')) return path;
  return server_root.ends_with('/') ? server_root + path : server_root + "/" + path;
}

}  // namespace httpd::config
