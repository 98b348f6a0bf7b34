// mod_authz_groupfile: AuthGroupFile, Require group, Require file-group.
// Source  httpd 2.4 manual, mod_authz_groupfile, mod_authz_owner
#include <algorithm>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "httpd/config/lexer.h"
#include "httpd/modules/auth_text.h"
#include "httpd/modules/authz.h"
#include "httpd/modules/file_owner.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/stat_file.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::LogLevel;
using config::Node;
using config::Scope;

/// "group: user user": as read from disk, for all loops.
class GroupFile {
 public:
  explicit GroupFile(std::string path) : file_(std::move(path)) {}

  /// Groups of `user`, in lower case: Apache compares their names without case.
  os::Result<std::set<std::string>> GroupsOf(std::string_view user) {
    const std::lock_guard lock(mutex_);
    if (auto fresh = file_.Refresh(); !fresh) return fresh.error();
    std::set<std::string> out;
    std::string_view rest = file_.text();
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      line.remove_prefix(std::min(line.find_first_not_of(" \t\r"), line.size()));
      const size_t colon = line.find(':');
      if (line.starts_with('#') || colon == std::string_view::npos) continue;
      std::string_view members = line.substr(colon + 1);
      if (members.find(user) == std::string_view::npos) continue;
      const std::vector<std::string> names = config::SplitWords(members);
      if (std::find(names.begin(), names.end(), user) != names.end()) {
        out.insert(config::LowerCase(line.substr(0, colon)));
      }
    }
    return out;
  }
  const std::string& path() const { return file_.path(); }

 private:
  std::mutex mutex_;
  StatFile file_;
};

struct GroupSettings final : config::ModuleSettings {
  std::shared_ptr<GroupFile> file;
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<GroupSettings>(static_cast<const GroupSettings&>(other));
    if (!out->file) out->file = file;
    return out;
  }
};

/// The numbers of Apache's messages, which are told apart by the provider.
struct Numbers {
  const char* no_file;
  const char* not_readable;
  const char* not_in_file;
};

/// nullopt: denied, and said why.
std::optional<std::set<std::string>> GroupsOf(RequestState& state, const config::ModuleSlots* alias,
                                              const Numbers& numbers) {
  auto log = [&state](const std::string& text) {
    state.engine->LogError(state, LogLevel::kError, "authz_groupfile", text);
  };
  const auto* settings = SettingsForRule<GroupSettings>(state, alias);
  if (!settings || !settings->file) {
    log(std::string(numbers.no_file) + ": No group file was specified in the configuration");
    return std::nullopt;
  }
  auto groups = settings->file->GroupsOf(state.user);
  if (!groups) {
    const std::string why = groups.error().sys == 0 ? " (" + groups.error().what + ")" : "";
    log(ErrnoPrefix(groups.error()) + numbers.not_readable + ": Could not open group file: " + settings->file->path() +
        why);
    return std::nullopt;
  }
  if (groups.value().empty()) {
    log(std::string(numbers.not_in_file) + ": Authorization of user " + state.user + " to access " + state.path +
        " failed, reason: user doesn't appear in group file (" + settings->file->path() + ").");
    return std::nullopt;
  }
  return std::move(groups).value();
}

struct GroupRule final : AuthzRule {
  AuthzStatus Check(RequestState& state, const config::ModuleSlots* alias) const override {
    if (state.user.empty()) return AuthzStatus::kDeniedNoUser;
    const auto groups = GroupsOf(state, alias, {"AH01664", "AH01665", "AH01666"});
    if (!groups) return AuthzStatus::kDenied;
    for (const std::string& word : config::SplitWords(names.For(state))) {
      if (groups->contains(config::LowerCase(word))) return AuthzStatus::kGranted;
    }
    state.engine->LogError(state, LogLevel::kDebug, "authz_groupfile",
                           "AH01667: Authorization of user " + state.user + " to access " + state.path +
                               " failed, reason: user is not part of the 'require'ed group(s).");
    return AuthzStatus::kDenied;
  }
  AuthText names;
};

Complaint ParseGroup(const Scope& scope, const Node& node, const std::string& arguments,
                     std::shared_ptr<const AuthzRule>& out) {
  auto rule = std::make_shared<GroupRule>();
  if (auto compiled = rule->names.Compile(scope, node, arguments); !compiled) {
    return "Cannot parse expression in require line: " + compiled.error().what;
  }
  out = std::move(rule);
  return std::nullopt;
}

struct FileGroupRule final : AuthzRule {
  AuthzStatus Check(RequestState& state, const config::ModuleSlots* alias) const override {
    if (state.user.empty()) return AuthzStatus::kDeniedNoUser;
    const auto groups = GroupsOf(state, alias, {"AH01668", "AH01669", "AH01670"});
    if (!groups) return AuthzStatus::kDenied;
    auto group = FileGroupName(state);
    if (!group) {
      state.engine->LogError(state, LogLevel::kError, "authz_owner",
                             "AH01640: Authorization of user " + state.user + " to access " + state.path +
                                 " failed, reason: " + group.error().what);
      return AuthzStatus::kDenied;
    }
    if (groups->contains(config::LowerCase(group.value()))) return AuthzStatus::kGranted;
    state.engine->LogError(state, LogLevel::kDebug, "authz_groupfile",
                           "AH01671: Authorization of user " + state.user + " to access " + state.path +
                               " failed, reason: user is not part of the 'require'ed file group.");
    return AuthzStatus::kDenied;
  }
};

Complaint ParseFileGroup(const Scope&, const Node&, const std::string&, std::shared_ptr<const AuthzRule>& out) {
  out = std::make_shared<FileGroupRule>();
  return std::nullopt;
}

Complaint SetGroupFile(config::Builder& builder, Scope& scope, const Node&, const std::vector<std::string>& words) {
  config::SettingsOf<GroupSettings>(scope).file = std::make_shared<GroupFile>(builder.Absolute(words[0]));
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using namespace config;
  static const std::vector<Directive> table = {
      {"AuthGroupFile", "mod_authz_groupfile.c", kInSection | kOverrideAuthConfig, Arity::kOne,
       "text file containing group names and member user IDs", OnRead::kNo, SetGroupFile, "file-path", "",
       "Lines \"group: user user\" for Require group. Below ServerRoot unless absolute. Read again when it changes; at "
       "most 16 MiB."},
  };
  return table;
}

}  // namespace

const AuthzProvider kRequireGroup{"group", ParseGroup};
const AuthzProvider kRequireFileGroup{"file-group", ParseFileGroup};

const Module kAuthzGroupFile = {.name = {"mod_authz_groupfile.c", "authz_groupfile_module"},
                                .directives = Directives,
                                .applies = HasSettings<GroupSettings>};

}  // namespace httpd::modules
