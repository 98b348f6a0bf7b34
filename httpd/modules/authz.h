#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "httpd/config/builder.h"
#include "httpd/modules/module.h"

namespace httpd::modules {

/// What one rule says about a request.
enum class AuthzStatus {
  kDenied,
  kGranted,
  kNeutral,      ///< no opinion
  kError,        ///< it could not be found out; the reason is in the error log: status 500
  kDeniedNoUser  ///< denied as long as nobody is authenticated
};

/// One line of Require without its `not`, understood. Immutable, shared by all loops.
class AuthzRule {
 public:
  virtual ~AuthzRule() = default;

  /// @param alias  settings of the <AuthzProviderAlias> that the rule comes from, looked at before the request's;
  ///               nullptr: none
  virtual AuthzStatus Check(RequestState& state, const config::ModuleSlots* alias) const = 0;

  /// As Module::repeats.
  virtual void Repeats(Dependencies& on) const;
};

/// What `Require NAME ...` may name.
struct AuthzProvider {
  const char* name;
  /// @param arguments  the rest of the line, quotes and all
  config::Complaint (*parse)(const config::Scope& scope, const config::Node& node, const std::string& arguments,
                             std::shared_ptr<const AuthzRule>& out);
};

extern const AuthzProvider kRequireIp, kRequireHost, kRequireForwardDns, kRequireLocal;  // authz_host
extern const AuthzProvider kRequireUser, kRequireValidUser;                              // authz_user
extern const AuthzProvider kRequireGroup, kRequireFileGroup;                             // authz_groupfile
extern const AuthzProvider kRequireSsl, kRequireSslVerifyClient;                         // ssl
extern const AuthzProvider kRequireFileOwner;                                            // authz_owner

/// Settings T for a rule: its alias', or else the request's.
template <class T>
const T* SettingsForRule(const RequestState& state, const config::ModuleSlots* alias) {
  const T* own = alias ? alias->Find<T>() : nullptr;
  return own ? own : SettingsFor<T>(state);
}

/// Satisfy Any, for the request's method.
bool SatisfiesAny(const RequestState& state);

/// "/srv/www/f", or "uri /f" before a file is known: how Apache names what was refused.
std::string RefusedName(const RequestState& state);

}  // namespace httpd::modules
