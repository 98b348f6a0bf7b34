#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "httpd/config/server_config.h"
#include "httpd/modules/environment.h"
#include "httpd/modules/site.h"
#include "httpd/net/exchange.h"
#include "httpd/net/scoreboard.h"

namespace httpd::modules {

class Dependencies;
class RequestState;

/// What a module's hook says about a request.
class Verdict {
 public:
  enum class Kind {
    kDeclined,  ///< not mine: the next module is asked
    kDone,      ///< mine, and done: nobody else is asked at this station; a handler has filled the answer
    kStatus,    ///< the request ends with this status: its error page, or with a Location field a redirect
    kRestart    ///< `path` and `query` were changed: an internal redirect, the request starts again at `translate`
  };
  static Verdict Declined() { return {Kind::kDeclined, 0}; }
  static Verdict Done() { return {Kind::kDone, 0}; }
  static Verdict Restart() { return {Kind::kRestart, 0}; }
  static Verdict Status(int status) { return {Kind::kStatus, status}; }

  Kind kind() const { return kind_; }
  int status() const { return status_; }
  bool is(Kind kind) const { return kind_ == kind; }

 private:
  Verdict(Kind kind, int status) : kind_(kind), status_(status) {}
  Kind kind_;
  int status_;
};

/// What modules ask of the machinery that drives them. One per loop.
class Engine {
 public:
  virtual ~Engine() = default;

  /// Where `uri` would lead from here, without answering it: translated, mapped, authorized, typed; never a handler.
  /// Apache's sub-request. `uri` is a decoded URL-path, perhaps with ?query; without a leading slash it is a name in
  /// the directory of `from`. `status` of the result says how it would end: 200, 403, 404...
  /// Limits  10 look-ups deep, then status 500 and a line in the error log
  virtual std::unique_ptr<RequestState> LookUp(RequestState& from, std::string_view uri) = 0;

  /// As LookUp(), for a file of the file system: no translation. Absolute, or a name in the directory of `from`.
  virtual std::unique_ptr<RequestState> LookUpFile(RequestState& from, std::string_view file) = 0;

  /// `state` goes on as what was looked up: file, settings, type and the rest are taken over (DirectoryIndex,
  /// MultiViews), the URL that the client asked for stays. To be followed by Verdict::Done().
  virtual void Become(RequestState& state, std::unique_ptr<RequestState> found) = 0;

  /// A line for the host's error log, with the client's address. `module` without "mod_": "core", "rewrite".
  virtual void LogError(const RequestState& state, config::LogLevel level, std::string_view module,
                        std::string text) = 0;

  /// <address>...</address> as ServerSignature wants it; "" = none
  virtual std::string Signature(const RequestState& state) = 0;

  /// Where to note the files that the answer will depend on; null: it will not be given again.
  virtual Dependencies* dependencies() = 0;

  virtual const Site& site() const = 0;
  virtual const net::Scoreboard& board() const = 0;
};

/// Request states that are not in use: a request allocates none once there are enough.
class StatePool;

/// One request on its way through the modules. An internal redirect goes on in the same object. It lives until the
/// answer was sent and logged.
class RequestState final : public net::HandlerNote {
 public:
  RequestState() = default;
  RequestState(const RequestState&) = delete;
  RequestState& operator=(const RequestState&) = delete;

  void Release() override;

  /// The same request, whose head has moved to another buffer.
  void Rebind(const net::Request& request, net::Response& response);

  /// Takes over the request fields of another state as its modules left them.
  void CopyHeaders(const RequestState& other);

  /// Begins with a request; `response` may hold fields already.
  void Start(Engine* engine, const net::Request& request, const CompiledHost& host, net::Response& response);

  // ---- what was asked -------------------------------------------------------------------------------------------
  const http::RequestHead& head() const { return is_edited_ ? edited_ : *request->head; }
  /// First value of a request field, as the modules left it; data() == nullptr: missing.
  std::string_view Header(std::string_view name) const { return head().Find(name); }

  // Changes to the request's fields: what later modules, conditions and logs see.
  void SetHeader(std::string_view name, std::string_view value);  ///< replaces all of that name
  void AddHeader(std::string_view name, std::string_view value);  ///< one more
  void RemoveHeader(std::string_view name);
  bool is_edited() const { return is_edited_; }

  /// numeric address this connection came in on; asked from the kernel once per request that wants it
  const std::string& LocalAddress();
  /// numeric address of the client: the connection's, or what mod_remoteip made of it
  std::string_view client_address() const {
    return user_agent_address.empty() ? request->client_address : std::string_view(user_agent_address);
  }

  Engine* engine = nullptr;
  const net::Request* request = nullptr;  ///< valid while a hook runs: asynchronous work must not keep it
  net::Response* response = nullptr;
  const CompiledHost* host = nullptr;
  int host_index = 0;
  std::string user_agent_address;  ///< set by mod_remoteip; "" = the connection's

  // ---- where it is ----------------------------------------------------------------------------------------------
  std::shared_ptr<const Effective> settings_owner;  ///< keeps `settings`
  const Effective* settings = nullptr;  ///< of the file, or before `translate` of the host and its <Location>s
  std::string path;                     ///< decoded URL-path; starts with '/' (or is "*")
  std::string pass_path;                ///< `path` when this pass began: after Restart, what led here
  std::string query;                    ///< without '?'
  bool has_query = false;
  std::string file;       ///< in the file system, without path_info; set by `translate`
  std::string path_info;  ///< what of the path is left behind `file`
  std::string root;       ///< DocumentRoot or an Alias' target: symbolic links are judged below it
  std::string url_root;   ///< the URL-path that `root` answers for ("" = all): CONTEXT_PREFIX
  struct stat info {};    ///< of `file`; st_mode == 0: it does not exist
  bool exists() const { return info.st_mode != 0; }

  // ---- what it is -----------------------------------------------------------------------------------------------
  std::string media_type;              ///< of the content, with a charset= only if a module put it there; "" = unknown
  std::string charset;                 ///< AddCharset; "" = none
  std::vector<std::string> encodings;  ///< content codings of the file, innermost first
  std::vector<std::string> languages;
  /// of a look-up: the parts of the file's name that say nothing about its content; empty: none says anything
  std::vector<std::string> name_parts;
  std::vector<std::string> input_filters;   ///< AddInputFilter, by extension
  std::vector<std::string> output_filters;  ///< AddOutputFilter, by extension
  std::string handler;                      ///< SetHandler, AddHandler, ScriptAlias...; "" = by the kind of file

  // ---- to whom it goes ------------------------------------------------------------------------------------------
  /// What a backend is asked for instead of a file, path and query as they will be sent: "http://10.0.0.1:8080/a?b".
  /// Set in `translate` or `fixup`; "" = nobody
  std::string proxy_url;
  std::shared_ptr<const void> proxy_worker;  ///< whom mod_proxy has chosen already; null: the URL says it

  // ---- who asks -------------------------------------------------------------------------------------------------
  std::string user;         ///< authenticated; "" = nobody
  std::string auth_type;    ///< "Basic", "Digest"; "" = none
  bool needs_user = false;  ///< set in `access`: only a user can be let in, so `authenticate` and `authorize` are asked
  bool is_admitted = false;  ///< access was granted under `settings`

  // ---- what modules note ----------------------------------------------------------------------------------------
  Environment environment;
  std::optional<Environment> first_environment;  ///< after an internal redirect: what was set before it
  std::map<std::string, std::string> notes;      ///< %{name}n
  std::string request_id;                        ///< %L, UNIQUE_ID; "" = nobody has asked for one yet
  std::string connection_id;                     ///< %{c}L; "" = no message was logged
  bool is_noted = false;                         ///< a message about this request was logged

  // ---- how it stands --------------------------------------------------------------------------------------------
  const RequestState* parent = nullptr;  ///< of a look-up: who asked
  bool is_subrequest() const { return parent != nullptr; }
  int status = 200;                             ///< of a look-up: how it would end
  std::unique_ptr<net::Response> own_response;  ///< of a look-up: what hooks write into
  int redirects = 0;                            ///< internal redirects so far; more than 10 is a loop
  int error_status = 0;                         ///< while an ErrorDocument is looked for: the status it stands for
  std::string original_path;                    ///< before the first internal redirect; "" = there was none
  /// The answer is what was asked for (304 and 206 too), not an error page or a redirect that the server wrote.
  bool is_success = false;
  bool is_from_file = false;  ///< the core has answered with the file itself
  /// Appended to the entity tag, before the closing quote, by who will change the content ("-gzip"); set in `content`.
  std::string etag_suffix;
  /// What the variants that were chosen among were at that time: part of the entity tag; "" = nothing was negotiated.
  std::string list_validator;
  /// Set in `content` by who will change the content: ranges would be of other bytes, so Range is not looked at.
  bool ignore_ranges = false;
  /// A regular expression has reached its limits: what it decides is not known, so the request is refused.
  bool gave_up = false;

 private:
  friend class StatePool;
  void Edit();
  std::weak_ptr<StatePool> pool_;
  http::RequestHead edited_;
  std::deque<std::string> texts_;  ///< what edited fields point into
  std::string local_address_;
  bool is_edited_ = false;
};

/// An answer that a `handle` hook has begun and somebody else will finish: a program. The hook sets it as
/// response.deferred and says Done; the filters and the last stations come when Resume() has an answer. Destroyed when
/// the client leaves. One that an access or authorize hook has set says Declined: the request is gone through again.
///
/// Between the hook and Resume() nothing of the request may be used but what the module copied: not the state, its
/// response or its views. The connection is woken through Reactor::WakerOf(*state.request), asked for in the hook.
class DeferredAnswer : public net::Deferred {
 public:
  /// The connection was woken, perhaps for another reason.
  /// @param is_late  response.wait_timeout_ms has passed: this is the last call
  /// @return nullopt: not yet; otherwise what the `handle` hook would have said
  virtual std::optional<Verdict> Resume(RequestState& state, bool is_late) = 0;
};

class StatePool : public std::enable_shared_from_this<StatePool> {
 public:
  /// A state for a new request. Ownership goes to whoever calls Release().
  RequestState* Take();

 private:
  friend class RequestState;
  static constexpr size_t kMostKept = 256;
  std::vector<std::unique_ptr<RequestState>> free_;
};

}  // namespace httpd::modules
