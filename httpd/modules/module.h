#pragma once

#include <Poco/RegularExpression.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/modules/request_state.h"
#include "httpd/modules/site.h"
#include "httpd/net/exchange.h"

namespace httpd::modules {

/// A module: its name, its directives, and what it does at each station of a request. A hook that is null is not
/// called; `early` and `translate` are called where `applies` finds settings of the host (or `always` is true), the
/// others where it finds settings of the file, so that a module costs nothing where it is not used.
///
/// The stations, in their order; an internal redirect begins again at `translate`:
///   early         the host is known; settings are the host's. Once per request, before <Location> is looked at
///   translate     path -> file (and root). First one that is not Declined wins; the last is DocumentRoot
///                 (then the machinery walks <Directory>, .htaccess, <Files>, <Location>, <If>: settings are the
///                 file's)
///   headers       all settings are known, nobody has been let in yet: the request's fields may still be changed
///   access        may this client ask at all? Status(403) refuses, Declined and Done go on
///   authenticate  who is it? Done: `user` is set; Status(401) asks for it. Only where something requires a user
///   authorize     may this user have it?
///   type          media_type, encodings, languages, handler. All are called until one says Done
///   fixup         last changes before an answer is made; all are called until one says Status or Restart
///   content       a file is about to be answered: who will change its bytes says so (etag_suffix, ignore_ranges)
///   handle        makes the answer; the first that is not Declined. The last is the file itself. An answer that takes
///                 time is deferred (DeferredAnswer)
///   filter        the answer stands, its fields and body may be changed. For successes only
///   output        last chance for fields, for every answer, error pages too
///   log           the answer was sent or given up
struct Module {
  config::ModuleName name;
  const std::vector<config::Directive>& (*directives)() = nullptr;
  bool (*applies)(const config::ModuleSlots& slots) = nullptr;  ///< null: where `always` says
  bool always = false;                                          ///< called though nothing was configured

  void (*early)(RequestState& state) = nullptr;
  Verdict (*translate)(RequestState& state) = nullptr;
  void (*headers)(RequestState& state) = nullptr;
  Verdict (*access)(RequestState& state) = nullptr;
  Verdict (*authenticate)(RequestState& state) = nullptr;
  Verdict (*authorize)(RequestState& state) = nullptr;
  Verdict (*type)(RequestState& state) = nullptr;
  Verdict (*fixup)(RequestState& state) = nullptr;
  void (*content)(RequestState& state) = nullptr;
  Verdict (*handle)(RequestState& state) = nullptr;
  void (*filter)(RequestState& state) = nullptr;
  void (*output)(RequestState& state) = nullptr;
  void (*log)(const RequestState& state, const net::Outcome& outcome) = nullptr;

  /// Asked when an answer from a file stands: what the module's part in it depended on besides the target and the files
  /// that were looked at (answer_cache.h). Whatever it leaves out, others will get wrong answers by.
  /// Null: on more than can be said; no answer is given again where this module is called.
  void (*repeats)(const RequestState& state, Dependencies& on) = nullptr;
};

/// For `repeats` of a module whose part depends on nothing else.
void DependsOnNothing(const RequestState& state, Dependencies& on);

/// For who finds the user: nothing, where nobody had to say who they are.
void DependsOnUser(const RequestState& state, Dependencies& on);

/// What a module says its part depended on.
void NotePart(const Module& module, const RequestState& state, Dependencies& on);

/// What the modules of `hooks` that are called at all say their parts depended on.
void NoteParts(const std::vector<const Module*>& hooks, const RequestState& state, Dependencies& on);

/// Every module, in the order in which each hook is called.
std::span<const Module* const> Modules();

/// Those of Modules() that have something to do where `slots` holds.
std::vector<const Module*> ModulesWith(const config::ModuleSlots& slots);

/// Makes the modules and their directives known to the configuration reader. Once, at the start of the program.
void RegisterModules();

/// Settings in force in a hook: of the host in `early`, of the file after `translate`. Null: nothing was said.
template <class T>
const T* SettingsFor(const RequestState& state) {
  return state.settings ? state.settings->modules.Find<T>() : state.host->host->settings.modules.Find<T>();
}

/// Settings of the host, whatever the file is.
template <class T>
const T* HostSettingsFor(const RequestState& state) {
  return state.host->host->settings.modules.Find<T>();
}

/// Whether T was said anything in a place: what most modules apply by.
template <class T>
bool HasSettings(const config::ModuleSlots& slots) {
  return slots.Find<T>() != nullptr;
}

/// "https" where the request came over TLS, otherwise "http".
const char* SchemeOf(const RequestState& state);
/// 443 or 80.
uint16_t DefaultPortOf(const RequestState& state);

/// Ends a request with a redirect; a location that starts with '/' gets this server's origin in front.
Verdict RedirectTo(RequestState& state, int status, std::string_view location);

/// "http://host[:port]", or "https://...": this server as the client has named it, or else as ServerName does. Lower
/// case.
std::string OriginOf(const RequestState& state);

/// The port in such URLs, digits: the client's, or ServerName's, or with UseCanonicalPhysicalPort the connection's; the
/// scheme's. Source  server/core.c ap_get_server_port
std::string PortOf(const RequestState& state);

/// An absolute path with its "." and ".." resolved as text and its slashes made single; a slash at the end stays.
/// nullopt: it leads above the root. What is not resolved would lead past <Directory> sections.
std::optional<std::string> NormalPath(std::string_view path);

/// Allow field of a resource without methods of its own, with its line end.
std::string AllowField(const CompiledHost& host);

/// Whether a method is one that Apache knows, or that RegisterHttpMethod named: 405 and not 501 where nobody answers
/// it.
bool IsRegisteredMethod(const config::ServerConfig& config, std::string_view method);

/// Numeric address that the connection came in on, from the kernel; "" on the private socket.
std::string LocalAddressOf(const net::Request& request);

/// For texts that a client chooses: what the expression may spend on one text is bounded.
///
/// Options  a dot matches line ends, a $ the very end only (Apache's RegexDefaultOptions)
/// Limits   100,000 steps and a depth of 5,000 for one text, 20 groups; one that needs more gives up: see Finds()
/// @return kInvalid with Poco's words
os::Result<std::shared_ptr<Poco::RegularExpression>> CompileRegex(const std::string& text, bool no_case = false);

/// Whether `regex` is found in `subject`. One that gives up was not found, but nobody knows what it would have
/// protected: `state.gave_up` is set, the request is refused, and no other expression of it is looked at.
/// @param groups  gets what was found; [0] is all of it. Null: nobody asks
bool Finds(RequestState& state, const Poco::RegularExpression& regex, const std::string& subject,
           std::vector<Poco::RegularExpression::Match>* groups = nullptr);

/// The same where there is no request at hand.
/// @param gave_up  set when it gave up; when it is set already nothing is looked at
bool Finds(bool& gave_up, const Poco::RegularExpression& regex, const std::string& subject,
           std::vector<Poco::RegularExpression::Match>* groups = nullptr);

/// `value` with $0 to $9 replaced by groups of `subject`, empty for one that took no part; a backslash protects $ and
/// &. Source  server/util.c ap_pregsub
std::string ExpandGroups(const std::string& value, const std::string& subject,
                         const std::vector<Poco::RegularExpression::Match>& groups);

/// Values of all request fields of that name as one list: "a, b". "" = none
std::string Joined(const http::RequestHead& head, std::string_view name);

// ---- fields of an answer: net::Response::fields is a list of "Name: value\r\n" -----------------------------------

/// Value of the first field of that name; data() == nullptr: missing.
std::string_view FindField(std::string_view fields, std::string_view name);
void RemoveField(std::string& fields, std::string_view name);
void AppendField(std::string& fields, std::string_view name, std::string_view value);
/// Every value of that name through `change`, in place.
void ChangeFields(std::string& fields, std::string_view name,
                  const std::function<std::string(const std::string&)>& change);

}  // namespace httpd::modules
