#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/modules/environment.h"
#include "httpd/modules/site.h"
#include "httpd/net/exchange.h"

namespace httpd::modules {

/// One request on its way through the modules. One object per loop, reused.
class RequestState {
 public:
  /// Begins with a request; `response` may hold fields already.
  void Start(const net::Request& request, const CompiledHost& host, net::Response& response);

  const http::RequestHead& head() const { return is_edited_ ? edited_ : *request->head; }
  /// First value of a request field, as the modules left it; data() == nullptr: missing.
  std::string_view Header(std::string_view name) const { return head().Find(name); }

  // Changes to the request's fields: what later modules, conditions and logs see.
  void SetHeader(std::string_view name, std::string_view value);  ///< replaces all of that name
  void AddHeader(std::string_view name, std::string_view value);  ///< one more
  void RemoveHeader(std::string_view name);

  /// numeric address this connection came in on; asked from the kernel once per request that wants it
  const std::string& LocalAddress();

  const net::Request* request = nullptr;
  net::Response* response = nullptr;
  const CompiledHost* host = nullptr;
  const Effective* settings = nullptr;  ///< of the file that was asked for; null in the first hook
  std::string_view path;                ///< decoded, as asked for; "" before it was decoded
  Environment environment;
  std::optional<Environment> first_environment;  ///< after an internal redirect: what was set before it
  /// The answer is what was asked for (304 and 206 too), not an error page or a redirect that the server wrote.
  bool is_success = false;
  std::string media_type;  ///< of the answer, without parameters; "" = none. Set for the last hook

 private:
  void Edit();
  http::RequestHead edited_;
  std::deque<std::string> texts_;  ///< what edited fields point into
  std::string local_address_;
  bool is_edited_ = false;
};

/// A module: its name, its directives, and what it does at each station of a request. A hook that is null is not
/// called; the others only where `applies` finds settings, so that a module costs nothing where it is not used.
struct Module {
  config::ModuleName name;
  const std::vector<config::Directive>& (*directives)();
  bool (*applies)(const config::ModuleSlots& slots);

  void (*early)(RequestState& state);   ///< the host is known, the path is not yet mapped; settings of the host
  void (*fixup)(RequestState& state);   ///< all settings are known; nothing is opened yet
  void (*output)(RequestState& state);  ///< the answer stands; its head has not been written. Last chance for fields
};

/// Every module, in the order in which each hook is called.
std::span<const Module* const> Modules();

/// Those of Modules() that have something to do where `slots` holds.
std::vector<const Module*> ModulesWith(const config::ModuleSlots& slots);

/// Makes the modules and their directives known to the configuration reader. Once, at the start of the program.
void RegisterModules();

/// Settings in force in a hook: of the host in `early`, of the file afterwards. Null: nothing was said.
template <class T>
const T* SettingsFor(const RequestState& state) {
  return state.settings ? state.settings->modules.Find<T>() : state.host->host->settings.modules.Find<T>();
}

/// Whether T was said anything in a place: what most modules apply by.
template <class T>
bool HasSettings(const config::ModuleSlots& slots) {
  return slots.Find<T>() != nullptr;
}

/// Numeric address that the connection came in on, from the kernel; "" on the private socket.
std::string LocalAddressOf(const net::Request& request);

/// @return kInvalid with Poco's words
os::Result<std::shared_ptr<Poco::RegularExpression>> CompileRegex(const std::string& text, bool no_case = false);

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
