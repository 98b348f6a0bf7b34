#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/modules/module.h"

namespace httpd::modules {

/// What a provider says about a user.
enum class AuthnResult {
  kGranted,
  kDenied,        ///< another password
  kUserFound,     ///< FindHash() only
  kUserNotFound,  ///< the next provider may know him
  kError          ///< could not be found out; the reason is in the error log: status 500
};

/// Where users and passwords are known: what AuthBasicProvider and AuthDigestProvider name. Immutable, shared by loops.
class AuthnProvider {
 public:
  virtual ~AuthnProvider() = default;
  /// Is it his password? Costs what the hash costs, the first time: see password_file.h.
  virtual AuthnResult CheckPassword(RequestState& state, std::string_view user, std::string_view password) const = 0;
  /// The hex MD5 of user:realm:password, for digests.
  virtual AuthnResult FindHash(RequestState& state, std::string_view user, std::string_view realm,
                               std::string& hash) const = 0;
};

/// "file", with the settings of the request or, of an alias, with `slots`. Null slots: the request's.
std::shared_ptr<const AuthnProvider> MakeFileProvider(std::shared_ptr<const config::ModuleSlots> slots);

/// A provider by name, aliases too. @return nullptr: there is none
std::shared_ptr<const AuthnProvider> FindAuthnProvider(const config::Builder& builder, const std::string& name);

/// Providers in the order in which they are asked; none named: file.
class AuthnProviders {
 public:
  /// The words of AuthBasicProvider or AuthDigestProvider; those of a directive that comes again are added.
  config::Complaint Add(const config::Builder& builder, const std::vector<std::string>& names);
  bool empty() const { return named_.empty(); }
  /// What the first one says that knows the user; `ask` takes a provider. @return kUserNotFound: nobody knows him
  AuthnResult Ask(const std::function<AuthnResult(const AuthnProvider&)>& ask) const;

 private:
  std::vector<std::shared_ptr<const AuthnProvider>> named_;
};

/// AuthType; nullptr: none, or None.
const std::string* AuthType(const RequestState& state);
/// AuthName; nullopt: none.
std::optional<std::string> AuthName(RequestState& state);
/// AuthType is this one, in whatever case.
bool IsAuthType(const RequestState& state, std::string_view type);

/// `text` for a quoted string of a challenge: quotes and backslashes are escaped, control bytes are left out.
std::string Quotable(std::string_view text);

/// Adds the challenge of the AuthType that is in force to the answer: a 401 is about to be given.
void AskForCredentials(RequestState& state);
void AskForBasic(RequestState& state);
void AskForDigest(RequestState& state);

}  // namespace httpd::modules
