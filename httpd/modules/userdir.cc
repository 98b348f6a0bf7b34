// mod_userdir: /~user. Source  httpd 2.4 manual, mod_userdir
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/http/values.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::SameIgnoringCase;
using config::Scope;
using Words = std::vector<std::string>;

/// Home directories that were asked for: who answers may be a network away. Shared by all loops.
class Homes {
 public:
  /// "" = there is no such user. What was found is good for a minute.
  std::string Of(const std::string& user) {
    const auto now = std::chrono::steady_clock::now();
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(user); found != known_.end() && now - found->second.when < kGoodFor) {
      return found->second.home;
    }
    std::array<char, 16384> buffer{};
    struct passwd entry {};
    struct passwd* result = nullptr;
    std::string home;
    if (::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &result) == 0 && result) home = result->pw_dir;
    if (known_.size() >= kMost) known_.clear();
    known_[user] = {home, now};
    return home;
  }

 private:
  static constexpr size_t kMost = 1024;
  static constexpr std::chrono::seconds kGoodFor{60};
  struct Entry {
    std::string home;
    std::chrono::steady_clock::time_point when;
  };
  std::mutex mutex_;
  std::map<std::string, Entry> known_;
};

struct UserDirSettings final : config::ModuleSettings {
  Words places;                ///< empty: none was given
  bool said_disabled = false;  ///< "disabled" without names
  std::set<std::string> disabled;
  std::set<std::string> enabled;
  std::shared_ptr<Homes> homes = std::make_shared<Homes>();

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<UserDirSettings>(static_cast<const UserDirSettings&>(other));
    if (out->places.empty()) out->places = places;
    out->said_disabled = out->said_disabled || said_disabled;
    return out;
  }
};

Complaint SetUserDir(config::Builder&, Scope& scope, const Node&, const Words& words) {
  if (words.empty() || words[0].empty()) return "UserDir requires an argument.";
  auto& settings = config::SettingsOf<UserDirSettings>(scope);
  const std::string& first = words[0];
  if (SameIgnoringCase(first, "disable") || SameIgnoringCase(first, "disabled")) {
    if (words.size() == 1) settings.said_disabled = true;
    settings.disabled.insert(words.begin() + 1, words.end());
  } else if (SameIgnoringCase(first, "enable") || SameIgnoringCase(first, "enabled")) {
    if (words.size() == 1) return "UserDir \"enable\" keyword requires a list of usernames";
    settings.enabled.insert(words.begin() + 1, words.end());
  } else {
    settings.places = words;
  }
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  static const std::vector<config::Directive> table = {
      {"UserDir", "mod_userdir.c", config::kInHosts, config::Arity::kAny,
       "the public subdirectory in users' home directories, or 'disabled', or 'disabled username username...', or "
       "'enabled username username...'",
       config::OnRead::kNo, SetUserDir, "directory... | disabled [user...] | enabled user...", "",
       "What /~user stands for: a directory in the user's home, an absolute one with the name behind it or in the "
       "place "
       "of a *, or a URL to redirect to. Home directories are remembered for a minute."},
  };
  return table;
}

Verdict Translate(RequestState& state) {
  const auto* settings = HostSettingsFor<UserDirSettings>(state);
  if (!settings || settings->places.empty() || !state.path.starts_with("/~")) return Verdict::Declined();
  const size_t end = std::min(state.path.find('/', 2), state.path.size());
  const std::string user = state.path.substr(2, end - 2);
  const std::string rest = state.path.substr(end);
  if (user.empty() || user.starts_with('.') || user.find('\0') != std::string::npos) return Verdict::Declined();
  if (settings->disabled.count(user) != 0) return Verdict::Declined();
  if (settings->said_disabled && settings->enabled.count(user) == 0) return Verdict::Declined();
  for (size_t i = 0; i < settings->places.size(); ++i) {
    const std::string& place = settings->places[i];
    const size_t star = place.find('*');
    std::string directory;
    if (place.find(':') != std::string::npos) {
      std::string target = star == std::string::npos ? place + http::EscapePath("/" + user) : place;
      if (star != std::string::npos) target.replace(star, 1, http::EscapePath("/" + user).substr(1));
      target += http::EscapePath(rest);
      return RedirectTo(state, 302, target);
    }
    if (place.starts_with('/')) {
      directory = star == std::string::npos ? place + "/" + user : place;
      if (star != std::string::npos) directory.replace(star, 1, user);
    } else if (star != std::string::npos) {
      return Verdict::Declined();
    } else if (const std::string home = settings->homes->Of(user); !home.empty()) {
      directory = home + "/" + place;
    }
    if (directory.empty()) continue;
    struct stat info {};
    if (i + 1 < settings->places.size() && ::stat(directory.c_str(), &info) != 0) continue;
    const auto root = NormalPath(directory);
    const auto file = NormalPath(directory + rest);
    if (!root || !file) return Verdict::Status(403);
    state.root = *root;
    state.file = *file;
    state.url_root = state.path.substr(0, end);
    return Verdict::Done();
  }
  return Verdict::Declined();
}

/// Who is a user, and where at home, is asked once a second.
void Repeats(const RequestState&, Dependencies& on) {
  on.OnTime();
}

}  // namespace

const Module kUserDir = {.name = {"mod_userdir.c", "userdir_module"},
                         .directives = Directives,
                         .applies = HasSettings<UserDirSettings>,
                         .translate = Translate,
                         .repeats = Repeats};

}  // namespace httpd::modules
