#pragma once

#include <Poco/RegularExpression.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/module_slots.h"
#include "httpd/http/response.h"

/// mod_proxy, mod_proxy_http, mod_proxy_balancer, mod_proxy_wstunnel: what they were told.
/// Source  httpd 2.4 manual, mod_proxy, mod_proxy_http, mod_proxy_balancer
namespace httpd::modules::proxy {

/// What the children of a server tell each other about a backend. In memory that they share by fork(2).
struct WorkerShared {
  std::atomic<int64_t> balance{0};      ///< lbmethod=byrequests: who has the most is next
  std::atomic<int64_t> elected{0};      ///< requests that it was chosen for
  std::atomic<int64_t> busy{0};         ///< requests in progress
  std::atomic<int64_t> transferred{0};  ///< bytes sent to it
  std::atomic<int64_t> read{0};         ///< bytes it has sent
  std::atomic<int64_t> failed_ms{0};    ///< CLOCK_MONOTONIC, when it went into error; 0 = it is not
};

/// Allocates one in shared memory, zeroed.
std::shared_ptr<WorkerShared> MakeWorkerShared();

/// Bits of status=.
enum WorkerStatus : unsigned {
  kDisabled = 1,
  kStopped = 2,
  kIgnoreErrors = 4,
  kHotStandby = 8,
  kInError = 16,
  kDrained = 32,
  kHotSpare = 64
};

/// A backend: where it is, and what is said of connections to it. Immutable when the configuration is complete, but
/// for `shared`.
struct Worker {
  std::string name;  ///< "http://127.0.0.1:8080/app", lower-case host, default port left out
  std::string host;  ///< name or numeric address, without brackets; of a Unix socket what goes into Host
  uint16_t port = 80;
  std::string path;           ///< behind the authority, escaped as said; "" or "/..."
  std::string authority;      ///< what goes into Host: "127.0.0.1:8080"
  std::string unix_path;      ///< "" = TCP
  bool is_websocket = false;  ///< ws:, wss:
  bool is_tls = false;        ///< https:, wss:

  std::optional<int> timeout_ms;
  std::optional<int> connect_timeout_ms;
  std::optional<int> acquire_ms;
  std::optional<int> ttl_ms;
  std::optional<int> ping_ms;  ///< a backend says 100 Continue within it before it gets a body
  int retry_ms = 60000;
  int most = 0;                  ///< connections of one loop; 0 = no limit
  std::optional<int> soft_most;  ///< smax: idle ones above it go, when ttl is over or at once; nullopt: ttl is for all
  bool keep_alive = false;
  bool reuses = true;
  int receive_buffer = 0;  ///< bytes; 0 = ProxyReceiveBufferSize
  int io_buffer = 0;       ///< bytes; 0 = ProxyIOBufferSize
  int response_field = 0;  ///< bytes; 0 = 8192
  std::string upgrade;     ///< protocol that a request may change to; "" = none; "ANY"

  bool is_for_one = false;  ///< a request has named it: nobody will ask for it again

  // of members of a balancer
  bool is_member = false;
  int load_factor = 100;  ///< hundredths
  int set = 0;
  unsigned status = 0;
  std::string route;
  std::string redirect;
  std::shared_ptr<WorkerShared> shared;
};

enum class BalanceMethod { kRequests, kTraffic, kBusyness };

struct Balancer {
  std::string name;  ///< "balancer://cluster", lower case
  std::vector<std::shared_ptr<Worker>> members;
  BalanceMethod method = BalanceMethod::kRequests;
  std::string sticky_cookie;  ///< "" = not sticky
  std::string sticky_parameter;
  char sticky_separator = '.';
  bool semicolon_delimits = false;
  bool no_failover = false;
  bool force_recovery = true;
  bool fails_on_timeout = false;
  std::optional<int> most_attempts;
  std::vector<int> failing_statuses;
};

/// `ProxyPass path url`, ProxyPassMatch.
struct Mapping {
  std::string from;                                ///< URL-path, or the regular expression
  std::string to;                                  ///< "!" = not to be proxied
  std::shared_ptr<Poco::RegularExpression> regex;  ///< null: a prefix
  std::shared_ptr<const Worker> worker;            ///< null: a balancer, or the request decides
  bool keeps_encoding = false;                     ///< nocanon
  bool drops_query = false;                        ///< noquery
  bool is_exclusion() const { return to == "!"; }
};

enum class Via { kOff, kOn, kFull, kBlock };

/// Of the server or a virtual host; an inner place's come first.
struct HostSettings final : config::ModuleSettings {
  std::vector<Mapping> mappings;
  std::vector<std::shared_ptr<Worker>> workers;
  std::vector<std::shared_ptr<Balancer>> balancers;
  std::optional<bool> inherits;  ///< ProxyPassInherit: mappings of the main server
  std::optional<Via> via;
  std::optional<int> timeout_ms;
  std::optional<int> most_forwards;
  std::optional<int> receive_buffer;
  std::optional<int> io_buffer;
  std::optional<http::BadLine> bad_lines;
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& inner) const override;

  Worker* FindWorker(std::string_view name) const;
  Balancer* FindBalancer(std::string_view name) const;
};

/// Of any place.
struct PlaceSettings final : config::ModuleSettings {
  std::shared_ptr<const Mapping> mapping;  ///< ProxyPass in <Location>
  std::vector<std::pair<std::string, std::string>>
      reverse;  ///< ProxyPassReverse: what the backend says, what it is here
  std::vector<std::pair<std::string, std::string>> cookie_domains;
  std::vector<std::pair<std::string, std::string>> cookie_paths;
  std::optional<bool> preserves_host;
  std::optional<bool> adds_fields;
  std::optional<bool> overrides_errors;
  std::optional<bool> forwards_expect;  ///< Proxy100Continue
  std::vector<int> overridden;          ///< ProxyErrorOverride On 500 502; empty = all
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& inner) const override;
};

/// The directives of mod_proxy; those of its relatives are among them.
const std::vector<config::Directive>& Directives();

/// "http://host:8080/path", "https://...", "ws://...", "wss://...", "unix:/socket|http://host/path" as a worker.
/// @param out  left alone when something is wrong
/// @return what is wrong, as a sentence
config::Complaint ParseBackend(std::string_view url, Worker& out);

/// One `key=value` of ProxyPass, BalancerMember or ProxySet.
config::Complaint SetWorkerParameter(const std::string& key, const std::string& value, Worker& worker);
config::Complaint SetBalancerParameter(const std::string& key, const std::string& value, Balancer& balancer);

/// Why a parameter that is right changes nothing for the backends that are there; null: it does, or it says what is so.
/// Source  httpd 2.4 manual, mod_proxy: "in effect only for mod_proxy_ajp and mod_proxy_fcgi"; apr_reslist.c
const char* WhyMeaningless(const std::string& key, const std::string& value);

}  // namespace httpd::modules::proxy
