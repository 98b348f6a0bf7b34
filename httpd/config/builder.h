#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/htaccess.h"
#include "httpd/config/method_set.h"
#include "httpd/config/tree.h"

namespace httpd::config {

/// A host while it is being read: what it said itself, and what can only be settled when all is read.
struct HostDraft {
  struct Log {
    AccessLog log;
    bool transfer = false;  ///< TransferLog: the default format of the host
  };
  Host host;
  std::set<std::string> said;                  ///< directives given, by name
  std::map<std::string, std::string> formats;  ///< LogFormat nicknames
  std::string transfer_format;                 ///< LogFormat without nickname; may be a nickname
  std::vector<Log> logs;
};

/// In which .htaccess file.
struct HtaccessScope {
  const Overrides& allowed;
  std::vector<std::string>& skipped;  ///< what Nonfatal let pass
};

/// Where a directive stands.
struct Scope {
  HostDraft& draft;
  bool in_virtual_host = false;
  Section* section = nullptr;               ///< innermost; null outside
  PerDirectory& settings;                   ///< of the section, or of the host
  const MethodSet* limited = nullptr;       ///< methods of the <Limit> around it; null: all
  const Node* parent = nullptr;             ///< section around it; null at top level
  const HtaccessScope* htaccess = nullptr;  ///< in an .htaccess file; null elsewhere

  /// The inside of a section that stands here.
  Scope InSection(Section& inner, const Node& node) const {
    return {draft, in_virtual_host, &inner, inner.settings, limited, &node, htaccess};
  }
};

/// What a directive of a module writes into: the module's settings in the place where the directive stands.
template <class T>
T& SettingsOf(Scope& scope) {
  return scope.settings.modules.Own<T>();
}

/// What the handler of a section returns when Builder::Failed() was true: the errors of the children are kept with
/// their own lines; this only stops the walk.
inline const Complaint kStop = "";

/// Second half of the reading: the tree into values.
class Builder {
 public:
  Builder(const Tree& tree, const ReadRequest& request, const FileSource& files);

  /// Applies every directive, then settles defaults, inheritance and limits. All mistakes make one error, those of the
  /// tree among them.
  os::Result<ServerConfig> Run();

  /// Applies directives in one scope, all of them. True when there were complaints, which are kept with their lines.
  bool Failed(const std::vector<Node>& nodes, Scope& scope);

  /// Applies the directives of an .htaccess file, which lies in `section.pattern`.
  /// @param server  what aliases and the like were defined in; must outlive the call
  os::Result<HtaccessFile> RunHtaccess(Section section, const Overrides& allowed, const ServerConfig& server);

  /// For handlers.
  ServerConfig& config() { return config_; }
  /// What modules were told outside any section and virtual host, as far as it was read: names that are the server's.
  const ModuleSlots& ServerModules() const {
    return server_ ? server_->main.settings.modules : main_.host.settings.modules;
  }
  std::vector<HostDraft>& virtual_hosts() { return virtual_hosts_; }
  std::string Absolute(const std::string& path) const { return AbsolutePath(tree_.server_root, path); }
  void Warn(const Node& node, const std::string& message) {
    config_.warnings.push_back(WarningText(node.where, message));
  }
  /// For the first line only that says this. `message` must not depend on the place.
  void WarnOnce(const Node& node, const std::string& message) {
    if (told_.insert(message).second) Warn(node, message);
  }
  bool Said(const std::string& directive) const { return main_.said.count(directive) > 0; }
  const FileSource& files() const { return files_; }
  const ReadRequest& request() const { return request_; }

 private:
  Complaint ApplyOne(const Node& node, Scope& scope);
  /// In .htaccess: not among what AllowOverride lets it say.
  static bool IsForbidden(const Directive& directive, const Scope& scope);
  Complaint Misplaced(const Directive& directive, const Node& node, const Scope& scope) const;
  void SettleHost(HostDraft& draft);
  std::optional<std::string> NicknameOf(const HostDraft& draft, const std::string& name) const;
  void InheritFromMain(HostDraft& draft) const;
  void SettleProcesses();
  void WarnAboutListeners();
  /// What one line alone may say, said twice in one place: the last one holds, and that is told.
  void WarnAboutRepetition(const Directive& directive, const Node& node, const Scope& scope);
  /// Hosts that can never answer: nothing listens on their port, or another host has their name.
  void WarnAboutHosts();

  const Tree& tree_;
  const ReadRequest& request_;
  const FileSource& files_;
  ServerConfig config_;
  HostDraft main_;
  std::vector<HostDraft> virtual_hosts_;
  std::vector<Mistake> mistakes_;
  std::set<std::string> told_;                                   ///< by WarnOnce
  std::map<std::pair<std::string, std::string>, Node> said_by_;  ///< for WarnAboutRepetition: host and directive
  const ServerConfig* server_ = nullptr;  ///< while an .htaccess file is read: the server's configuration
};

}  // namespace httpd::config
