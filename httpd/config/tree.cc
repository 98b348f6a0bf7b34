#include "httpd/config/tree.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "httpd/config/directives.h"
#include "httpd/config/lexer.h"
#include "httpd/config/module_catalog.h"

namespace httpd::config {
namespace {

constexpr int kMaxIncludeDepth = 128;
constexpr size_t kMaxFiles = 10000;
constexpr size_t kMaxSections = 100;
constexpr size_t kMaxExpandedBytes = 16u << 20;

// What <IfVersion> compares with: the release of Apache whose behaviour this server follows.
constexpr std::array<int, 3> kVersion = {2, 4, 71};

constexpr char kCommandLineFile[] = "-c/-C directives";

constexpr size_t kMostMistakesTold = 100;

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
    if (ReadCommandLine(request_.directives_before) == Flow::kAllEnds) return std::move(tree_);
    tree_.config_file =
        AbsolutePath(tree_.server_root, request_.config_file.empty() ? kDefaultConfigFile : request_.config_file);
    auto text = files_.read(tree_.config_file);
    if (!text) {
      const os::Error& error = text.error();
      return os::Error{error.kind, 0, "httpd: " + CannotOpen(tree_.config_file, error)};
    }
    tree_.includes.push_back({tree_.config_file, 0, 0});
    if (ReadText(text.value(), tree_.config_file, tree_.nodes, 0) == Flow::kGoesOn) {
      ReadCommandLine(request_.directives_after);
    }
    return std::move(tree_);
  }

  /// One text, with what the configuration around it has defined.
  os::Result<Tree> RunHtaccess(const std::string& text, const std::string& path, const ServerConfig& server) {
    in_htaccess_ = true;
    tree_.server_root = server.server_root;
    tree_.define_names = server.defines;
    tree_.define_values = server.define_values;
    tree_.loaded_modules = server.loaded_modules;
    ReadText(text, path, tree_.nodes, 0);
    if (!tree_.mistakes.empty()) return tree_.mistakes.front().error;
    return std::move(tree_);
  }

 private:
  enum class Flow { kGoesOn, kAllEnds };
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

  Flow Note(const SourceLine& where, const std::string& message) {
    tree_.mistakes.push_back({order_, SyntaxError(where, message)});
    return Flow::kGoesOn;
  }

  // For what would only go on and on.
  Flow NoteAndEnd(const SourceLine& where, const std::string& message) {
    Note(where, message);
    tree_.complete = false;
    return Flow::kAllEnds;
  }

  Flow ReadCommandLine(const std::vector<std::string>& directives) {
    std::string text;
    for (const std::string& directive : directives) text += directive + "\n";
    return ReadText(text, kCommandLineFile, tree_.nodes, 0);
  }

  Flow ReadText(std::string_view text, const std::string& file, std::vector<Node>& out, int depth) {
    LineReader lines(text);
    std::vector<Frame> frames;
    while (auto line = lines.Next()) {
      ++order_;
      const SourceLine where{file, lines.line()};
      if (auto complaint = Expand(*line, where)) return NoteAndEnd(where, *complaint);
      std::string_view rest = *line;
      std::string name = TakeWord(rest);
      if (name.empty()) continue;  // a line that holds only ""
      if (name.starts_with("</")) {
        if (auto complaint = Close(name, frames, out)) return Broken(where, *complaint, frames, out);
        continue;
      }
      std::string arguments(rest);
      const bool section = name.front() == '<';
      if (section) {
        if (name.back() == '>') {
          name.pop_back();
          arguments.insert(0, ">");
        }
        if (name.size() == 1) return Broken(where, "Incomplete <Container> directive", frames, out);
        if (arguments.find('>') == std::string::npos) {
          return Broken(where, name + "> directive missing closing '>'", frames, out);
        }
        if (frames.size() >= kMaxSections) {
          return Broken(where, "Sections are nested more than 100 deep", frames, out);
        }
      }
      Node node{std::move(name), std::move(arguments), where, {}, order_};
      const Directive* directive = FindDirective(node.name);
      if (directive && directive->on_read != OnRead::kNo) {
        if (section) {
          bool holds = false;
          if (auto complaint = Evaluate(*directive, node, holds)) Note(where, *complaint);
          if (holds) {
            frames.push_back({std::move(node), true});
          } else if (auto mistake = Skip(lines, node, file)) {
            return Broken(mistake->where, mistake->message, frames, out);
          }
        } else if (Act(*directive, node, frames, frames.empty() ? out : Children(frames, out), depth) ==
                   Flow::kAllEnds) {
          return Flow::kAllEnds;
        }
        continue;
      }
      if (section) {
        frames.push_back({std::move(node), false});
      } else {
        Children(frames, out).push_back(std::move(node));
      }
    }
    if (frames.empty()) return Flow::kGoesOn;
    const Frame& open = frames.back();
    return Broken(open.node.where,
                  open.condition ? "Expected </" + open.node.name.substr(1) + "> before end of configuration"
                                 : open.node.name + "> was not closed.",
                  frames, out);
  }

  // The sections of a file are out of order: it ends here, and what it said until now is kept to be checked.
  Flow Broken(const SourceLine& where, const std::string& message, std::vector<Frame>& frames, std::vector<Node>& out) {
    Note(where, message);
    tree_.complete = false;
    while (!frames.empty()) {
      Frame frame = std::move(frames.back());
      frames.pop_back();
      if (!frame.condition) Children(frames, out).push_back(std::move(frame.node));
    }
    return Flow::kGoesOn;
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
  struct SkipMistake {
    SourceLine where;
    std::string message;
  };
  static std::optional<SkipMistake> Skip(LineReader& lines, const Node& condition, const std::string& file) {
    std::vector<std::string> open = {condition.name.substr(1)};
    while (auto line = lines.Next()) {
      if (line->front() != '<') continue;
      const SourceLine where{file, lines.line()};
      std::string_view rest = *line;
      std::string name = TakeWord(rest);
      if (name.starts_with("</")) {
        if (name.back() != '>') return SkipMistake{where, name + "> directive missing closing '>'"};
        if (!SameIgnoringCase(name.substr(2, name.size() - 3), open.back())) {
          return SkipMistake{where, "Expected </" + open.back() + "> but saw " + name};
        }
        open.pop_back();
        if (open.empty()) return std::nullopt;
        continue;
      }
      if (name.back() == '>') name.pop_back();
      open.push_back(name.substr(1));
    }
    return SkipMistake{condition.where, "Expected </" + open.back() + "> before end of configuration"};
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

  // A directive of a module that is not there is not there either.
  bool IsThere(const std::string& directive_name) const {
    const Directive* directive = FindDirective(directive_name);
    return directive && IsModuleThere(directive->module, tree_.loaded_modules);
  }

  bool Exists(const std::string& path) const { return files_.exists && files_.exists(path); }

  Complaint Evaluate(const Directive& directive, const Node& node, bool& holds) const {
    if (in_htaccess_ && !(directive.contexts & kOverrideAny)) return node.name + "> not allowed here";
    std::vector<std::string> words = SplitWords(SectionArguments(node));
    if (words.empty() || words[0].empty()) return node.name + "> directive requires additional arguments";
    const bool negated = words[0].front() == '!';
    if (negated) words[0].erase(0, 1);
    switch (directive.on_read) {
      case OnRead::kIfDefine: {
        const auto& names = tree_.define_names;
        holds = std::find(names.begin(), names.end(), words[0]) != names.end();
        break;
      }
      case OnRead::kIfModule:
        holds = IsModuleThere(words[0], tree_.loaded_modules);
        break;
      case OnRead::kIfDirective:
        holds = IsThere(words[0]);
        break;
      case OnRead::kIfSection:
        holds = IsThere("<" + words[0]);
        break;
      case OnRead::kIfFile:
        holds = Exists(AbsolutePath(tree_.server_root, words[0]));
        break;
      default:
        if (auto complaint = CompareVersion(words, holds)) return complaint;
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

  Flow Act(const Directive& directive, const Node& node, const std::vector<Frame>& frames, std::vector<Node>& out,
           int depth) {
    if (in_htaccess_) return Note(node.where, node.name + " not allowed here");
    const auto parent = std::find_if(frames.rbegin(), frames.rend(), [](const Frame& f) { return !f.condition; });
    if (parent != frames.rend()) {
      const unsigned here = SameIgnoringCase(parent->node.name, "<VirtualHost") ? kInHost : kInSection;
      if (!(directive.contexts & here)) {
        return Note(node.where, std::string(directive.name) + " not allowed in " + parent->node.name + "> context");
      }
    }
    const std::vector<std::string> words = SplitWords(node.arguments);
    if (auto complaint = CheckArity(directive, words)) return Note(node.where, *complaint);
    switch (directive.on_read) {
      case OnRead::kServerRoot: {
        std::string root = words[0];
        while (root.size() > 1 && root.back() == '/') root.pop_back();
        if (root.front() != '/' || !files_.is_directory(root)) {
          return Note(node.where, "ServerRoot must be a valid directory");
        }
        tree_.server_root = root;
        return Flow::kGoesOn;
      }
      case OnRead::kDefine:
        if (words[0].find(':') != std::string::npos) {
          return Note(node.where, "Variable name must not contain ':'");
        }
        AddDefine(words[0]);
        if (words.size() > 1) tree_.define_values[words[0]] = words[1];
        return Flow::kGoesOn;
      case OnRead::kUnDefine:
        if (words[0].find(':') != std::string::npos) {
          return Note(node.where, "Variable name must not contain ':'");
        }
        std::erase(tree_.define_names, words[0]);
        tree_.define_values.erase(words[0]);
        return Flow::kGoesOn;
      case OnRead::kLoadModule: {
        const ModuleRole role = RoleOf(words[0]);
        if (role == ModuleRole::kMissing || role == ModuleRole::kUnknown) {
          return Note(node.where, CannotLoad(words[0], words[1]));
        }
        auto& loaded = tree_.loaded_modules;
        if (std::find(loaded.begin(), loaded.end(), words[0]) != loaded.end()) {
          // Source  mod_so.c
          tree_.warnings.push_back(
              WarningText(node.where, "AH01574: module " + words[0] + " is already loaded, skipping"));
          return Flow::kGoesOn;
        }
        if (const std::string notice = NoticeOf(words[0]); !notice.empty()) {
          tree_.warnings.push_back(WarningText(node.where, notice));
        }
        loaded.push_back(words[0]);
        return Flow::kGoesOn;
      }
      case OnRead::kInclude:
      case OnRead::kIncludeOptional:
        for (const std::string& word : words) {
          const bool optional = directive.on_read == OnRead::kIncludeOptional;
          if (Include(word, optional, node.where, out, depth) == Flow::kAllEnds) return Flow::kAllEnds;
        }
        return Flow::kGoesOn;
      default:
        return Flow::kGoesOn;
    }
  }

  Flow Include(const std::string& word, bool optional, const SourceLine& where, std::vector<Node>& out, int depth) {
    if (depth >= kMaxIncludeDepth) {
      return NoteAndEnd(where, "Exceeded maximum include depth of 128, There appears to be a recursion.");
    }
    const std::string path = AbsolutePath(tree_.server_root, word);
    if (!HasWildcard(path) && !files_.is_directory(path)) return IncludeFile(path, optional, where, out, depth);
    auto matches = files_.expand(path);
    if (!matches) {
      if (optional && matches.error().kind == os::ErrorKind::kNotFound) return Flow::kGoesOn;
      return Note(where, CannotOpen(path, matches.error()));
    }
    if (matches.value().empty() && !optional && HasWildcard(path)) {
      const size_t slash = path.rfind('/');
      return Note(where, "Include/IncludeOptional: No matches for the wildcard '" + path.substr(slash + 1) + "' in '" +
                             path.substr(0, slash) + "', failing");
    }
    for (const std::string& match : matches.value()) {
      if (IncludeFile(match, false, where, out, depth) == Flow::kAllEnds) return Flow::kAllEnds;
    }
    return Flow::kGoesOn;
  }

  Flow IncludeFile(const std::string& path, bool optional, const SourceLine& where, std::vector<Node>& out, int depth) {
    auto text = files_.read(path);
    if (!text) {
      if (optional && text.error().kind == os::ErrorKind::kNotFound) return Flow::kGoesOn;
      return Note(where, CannotOpen(path, text.error()));
    }
    if (tree_.includes.size() >= kMaxFiles) {
      return NoteAndEnd(where, "More than 10000 files are included. There appears to be a recursion.");
    }
    tree_.includes.push_back({path, depth + 1, where.line});
    return ReadText(text.value(), path, out, depth + 1);
  }

  const ReadRequest& request_;
  const FileSource& files_;
  Tree tree_;
  size_t expanded_bytes_ = 0;
  size_t order_ = 0;
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

os::Error AllMistakes(std::vector<Mistake> mistakes) {
  std::stable_sort(mistakes.begin(), mistakes.end(), [](const auto& a, const auto& b) { return a.order < b.order; });
  os::Error all = mistakes.front().error;
  const size_t told = std::min(mistakes.size(), kMostMistakesTold);
  for (size_t i = 1; i < told; ++i) all.what += "\n" + mistakes[i].error.what;
  if (told < mistakes.size()) {
    all.what += "\nAnd " + std::to_string(mistakes.size() - told) + " more errors.";
  }
  return all;
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
