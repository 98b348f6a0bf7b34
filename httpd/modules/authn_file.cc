// mod_authn_file: AuthUserFile. Source  httpd 2.4 manual, mod_authn_file
#include <utility>
#include <vector>

#include "httpd/modules/authn.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/password_file.h"
#include "os/clock.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::LogLevel;
using config::Node;
using config::Scope;

struct FileSettings final : config::ModuleSettings {
  std::shared_ptr<PasswordFile> file;
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<FileSettings>(static_cast<const FileSettings&>(other));
    if (!out->file) out->file = file;
    return out;
  }
};

class FileProvider final : public AuthnProvider {
 public:
  explicit FileProvider(std::shared_ptr<const config::ModuleSlots> slots) : slots_(std::move(slots)) {}

  AuthnResult CheckPassword(RequestState& state, std::string_view user, std::string_view password) const override {
    PasswordFile* file = FileFor(state);
    if (!file) return NotConfigured(state, "AH01619");
    auto outcome = file->Check(user, std::string(password), os::SystemClock().SteadyNow());
    if (!outcome) return CannotRead(state, "AH01620", *file, outcome.error());
    switch (outcome.value()) {
      case PasswordFile::Outcome::kGranted:
        return AuthnResult::kGranted;
      case PasswordFile::Outcome::kUnknownUser:
        return AuthnResult::kUserNotFound;
      case PasswordFile::Outcome::kUnusable:
        Log(state, "user " + std::string(user) + ": what " + file->path() +
                       " holds for him is not a password hash of a kind and cost that is taken (htpasswd -B, -m, -s, "
                       "-2 or -5 make one)");
        return AuthnResult::kDenied;
      case PasswordFile::Outcome::kDenied:
        break;
    }
    return AuthnResult::kDenied;
  }

  AuthnResult FindHash(RequestState& state, std::string_view user, std::string_view realm,
                       std::string& hash) const override {
    PasswordFile* file = FileFor(state);
    if (!file) return NotConfigured(state, "AH01621");
    auto found = file->FindHash(user, realm);
    if (!found) return CannotRead(state, "AH01622", *file, found.error());
    if (!found.value()) return AuthnResult::kUserNotFound;
    hash = std::move(*found.value());
    return AuthnResult::kUserFound;
  }

 private:
  PasswordFile* FileFor(const RequestState& state) const {
    const FileSettings* settings = slots_ ? slots_->Find<FileSettings>() : nullptr;
    if (!settings) settings = SettingsFor<FileSettings>(state);
    return settings ? settings->file.get() : nullptr;
  }
  static void Log(RequestState& state, const std::string& text) {
    state.engine->LogError(state, LogLevel::kError, "authn_file", text);
  }
  static AuthnResult NotConfigured(RequestState& state, const std::string& number) {
    Log(state, number + ": AuthUserFile not specified in the configuration");
    return AuthnResult::kError;
  }
  static AuthnResult CannotRead(RequestState& state, const std::string& number, const PasswordFile& file,
                                const os::Error& error) {
    const std::string why = error.sys == 0 ? " (" + error.what + ")" : "";
    Log(state, ErrnoPrefix(error) + number + ": Could not open password file: " + file.path() + why);
    return AuthnResult::kError;
  }

  std::shared_ptr<const config::ModuleSlots> slots_;
};

Complaint SetUserFile(config::Builder& builder, Scope& scope, const Node&, const std::vector<std::string>& words) {
  config::SettingsOf<FileSettings>(scope).file = std::make_shared<PasswordFile>(builder.Absolute(words[0]));
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using namespace config;
  static const std::vector<Directive> table = {
      {"AuthUserFile", "mod_authn_file.c", kInSection | kOverrideAuthConfig, Arity::kOne,
       "text file containing user IDs and passwords", OnRead::kNo, SetUserFile, "file-path", "",
       "Users and the hashes of their passwords, as htpasswd and htdigest write them; below ServerRoot unless "
       "absolute. "
       "Taken: bcrypt (up to cost 14), $apr1$, {SHA}, and of crypt(3) DES, MD5, SHA-256, SHA-512 (up to 1,000,000 "
       "rounds) and yescrypt (up to cost 7); never passwords in clear. Read again when it changes; at most 16 MiB. "
       "The outcome of a slow check is remembered for 5 minutes, or until the file changes."},
  };
  return table;
}

}  // namespace

std::shared_ptr<const AuthnProvider> MakeFileProvider(std::shared_ptr<const config::ModuleSlots> slots) {
  return std::make_shared<const FileProvider>(std::move(slots));
}

const Module kAuthnFile = {
    .name = {"mod_authn_file.c", "authn_file_module"}, .directives = Directives, .applies = HasSettings<FileSettings>};

}  // namespace httpd::modules
