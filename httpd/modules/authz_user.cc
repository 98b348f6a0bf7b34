// mod_authz_user: Require user, valid-user. Source  httpd 2.4 manual, mod_authz_user
#include <algorithm>
#include <vector>

#include "httpd/config/lexer.h"
#include "httpd/modules/auth_text.h"
#include "httpd/modules/authz.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;

struct UserRule final : AuthzRule {
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    if (state.user.empty()) return AuthzStatus::kDeniedNoUser;
    const std::vector<std::string> allowed = config::SplitWords(names.For(state));
    if (std::find(allowed.begin(), allowed.end(), state.user) != allowed.end()) return AuthzStatus::kGranted;
    state.engine->LogError(state, config::LogLevel::kDebug, "authz_user",
                           "AH01663: access to " + state.path + " failed, reason: user '" + state.user +
                               "' does not meet 'require'ments for user to be allowed access");
    return AuthzStatus::kDenied;
  }
  AuthText names;
};

Complaint ParseUser(const Scope& scope, const Node& node, const std::string& arguments,
                    std::shared_ptr<const AuthzRule>& out) {
  auto rule = std::make_shared<UserRule>();
  if (auto compiled = rule->names.Compile(scope, node, arguments); !compiled) {
    return "Cannot parse expression in require line: " + compiled.error().what;
  }
  out = std::move(rule);
  return std::nullopt;
}

struct ValidUserRule final : AuthzRule {
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    return state.user.empty() ? AuthzStatus::kDeniedNoUser : AuthzStatus::kGranted;
  }
};

Complaint ParseValidUser(const Scope&, const Node&, const std::string&, std::shared_ptr<const AuthzRule>& out) {
  out = std::make_shared<ValidUserRule>();
  return std::nullopt;
}

}  // namespace

const AuthzProvider kRequireUser{"user", ParseUser};
const AuthzProvider kRequireValidUser{"valid-user", ParseValidUser};

const Module kAuthzUser = {.name = {"mod_authz_user.c", "authz_user_module"}};

}  // namespace httpd::modules
