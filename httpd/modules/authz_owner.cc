// mod_authz_owner: Require file-owner. Source  httpd 2.4 manual, mod_authz_owner
#include <grp.h>
#include <pwd.h>

#include <array>
#include <vector>

#include "httpd/modules/authz.h"
#include "httpd/modules/file_owner.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;

struct FileOwnerRule final : AuthzRule {
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    if (state.user.empty()) return AuthzStatus::kDeniedNoUser;
    auto owner = FileOwnerName(state);
    if (owner && owner.value() == state.user) return AuthzStatus::kGranted;
    const std::string reason = owner ? "AH01637: Authorization of user " + state.user + " to access " + state.path +
                                           " failed, reason: file owner " + owner.value() + " does not match."
                                     : "AH01635: Authorization of user " + state.user + " to access " + state.path +
                                           " failed, reason: " + owner.error().what;
    state.engine->LogError(state, config::LogLevel::kError, "authz_owner", reason);
    return AuthzStatus::kDenied;
  }
};

Complaint ParseFileOwner(const Scope&, const Node&, const std::string&, std::shared_ptr<const AuthzRule>& out) {
  out = std::make_shared<FileOwnerRule>();
  return std::nullopt;
}

os::Error Missing(const char* what) {
  return {os::ErrorKind::kNotFound, 0, what};
}

}  // namespace

os::Result<std::string> FileOwnerName(const RequestState& state) {
  if (!state.exists()) return Missing("no file owner information available");
  std::array<char, 16384> memory{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(state.info.st_uid, &entry, memory.data(), memory.size(), &found) != 0 || !found) {
    return Missing("could not get name of file owner");
  }
  return std::string(entry.pw_name);
}

os::Result<std::string> FileGroupName(const RequestState& state) {
  if (!state.exists()) return Missing("no file group information available");
  std::array<char, 65536> memory{};
  group entry{};
  group* found = nullptr;
  if (::getgrgid_r(state.info.st_gid, &entry, memory.data(), memory.size(), &found) != 0 || !found) {
    return Missing("could not get name of file group");
  }
  return std::string(entry.gr_name);
}

const AuthzProvider kRequireFileOwner{"file-owner", ParseFileOwner};

const Module kAuthzOwner = {.name = {"mod_authz_owner.c", "authz_owner_module"}};

}  // namespace httpd::modules
