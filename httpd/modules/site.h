#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "httpd/config/server_config.h"
#include "httpd/http/log_format.h"
#include "httpd/http/values.h"
#include "httpd/log/error_log.h"
#include "httpd/log/log_set.h"
#include "httpd/modules/prefix_index.h"
#include "httpd/net/proxied.h"
#include "os/error.h"

namespace Poco {
class RegularExpression;
}

namespace httpd::modules {

struct Module;
class Expression;
class SslSite;
namespace proxy {
class TlsContexts;
}

/// Settings that hold for one file, after every matching section was merged.
struct Effective {
  unsigned options = config::kOptFollowSymLinks;  ///< Apache's default
  std::map<int, std::string> error_documents;
  std::map<std::string, std::shared_ptr<const config::CompiledExpression>> error_texts;
  std::vector<config::ConditionalSettings> conditional;  ///< <If> sections that may apply here, still to be asked
  config::LogLevels log_levels;                          ///< of the sections
  config::ModuleSlots modules;
  std::vector<const Module*> hooks;  ///< modules that have settings here, in their order

  void Merge(const config::PerDirectory& settings);
};

/// A host of the configuration, ready to serve.
struct CompiledHost {
  struct Log {
    const log::LogSink* sink = nullptr;
    http::LogFormat format;
    std::string env;
    bool env_negated = false;
    const Expression* condition = nullptr;  ///< expr=; the configuration's
  };
  struct Section {
    const config::Section* section = nullptr;
    std::shared_ptr<Poco::RegularExpression> regex;  ///< for is_regex
    int enclosing = -1;                              ///< <Files> in <Directory>: index of the directory, or -1
  };
  /// Those of one kind and which of them a text is worth holding against: Matches() has the last word.
  struct SectionList {
    std::vector<Section> all;
    PrefixIndex by_prefix;  ///< numbers are indices of `all`
    void IndexAll();
  };
  struct Sections {
    SectionList directories;  ///< in the order of merging: shortest path first, regular expressions last
    size_t first_regex = 0;   ///< of directories
    SectionList files;
    SectionList locations;
    SectionList proxies;
  };
  const config::Host* host = nullptr;
  std::vector<Log> logs;
  std::unique_ptr<log::ErrorLog> error_log;
  std::shared_ptr<const Sections> sections;  ///< never null; shared with the main server by hosts that add none
  std::vector<const Module*> hooks;          ///< modules that have settings for the whole host
};

/// A section ready to match. It keeps a pointer to `section`.
/// @param enclosing  index of the <Directory> around it, or -1
/// @return kInvalid with the line: a bad regular expression or network
os::Result<CompiledHost::Section> CompileSection(const config::Section& section, int enclosing);

/// A configuration compiled for serving: patterns, log formats, name tables. Immutable, shared by the loops of a child.
class Site {
 public:
  /// @param config    must outlive the site
  /// @param logs      open logs; nullptr when only checking (-t): nothing will be written
  /// @param types     text of the TypesConfig file; without TypesConfig it adds to the built-in table
  /// @return kInvalid with a sentence and the line: a bad regular expression, LogFormat or network
  static os::Result<std::unique_ptr<Site>> Build(const config::ServerConfig& config, const log::LogSet* logs,
                                                 std::string_view types);

  const config::ServerConfig& config() const { return *config_; }
  const std::vector<CompiledHost>& hosts() const { return hosts_; }  ///< [0] is the main server
  const http::MimeTypes& types() const { return types_; }
  const std::string& server_name() const { return server_name_; }  ///< Server field, as ServerTokens wants it

  /// 32 random bytes for signatures that other processes of this server check; its instances share them where the
  /// configuration asks for it (ServerConfig::wants_secret), otherwise each site has its own.
  const std::string& secret() const { return secret_; }
  void set_secret(std::string secret) { secret_ = std::move(secret); }

  /// TLS of the hosts; null: none of them speaks it.
  const SslSite* ssl() const { return ssl_.get(); }
  SslSite* ssl() { return ssl_.get(); }
  /// TLS to backends.
  const proxy::TlsContexts& backend_tls() const { return *backend_tls_; }

  /// Which connections begin with a header of the PROXY protocol; null: none.
  const net::ProxyHeaderService* proxied() const { return proxied_.get(); }

  /// Whether the host is one of several at an address of its own, which only names tell apart.
  bool SharesAddress(int host) const;

  /// Index of the host that answers. Source  httpd manual, vhosts/details: best address first, then the name, then the
  /// first host of that address. The cost does not depend on the number of hosts; nothing is allocated.
  /// @param local_address  returns the address that the client has reached, a std::string; asked only when some
  ///                       <VirtualHost> names an address
  /// @param path           of a request that names no host: the first host whose ServerPath it begins with answers
  template <class Address>
  int Select(uint16_t local_port, std::string_view authority, const Address& local_address,
             std::string_view path = {}) const {
    if (names_.empty()) return 0;
    const Names* names = has_addresses_ ? NamesAt(local_address(), local_port) : NamesAt(local_port);
    return names ? SelectByName(*names, authority, path) : 0;
  }

 private:
  /// Of names in lower case; what is looked up may be in any.
  struct AnyCaseHash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const;
  };
  struct AnyCaseEqual {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const;
  };
  /// What the hosts of one address are called.
  struct Names {
    std::unordered_map<std::string, int, AnyCaseHash, AnyCaseEqual> exact;
    std::vector<std::pair<std::string, int>> wildcards;
    PrefixIndex by_prefix;                           ///< of wildcards, those that end in one
    PrefixIndex by_suffix;                           ///< ... the others, backwards
    std::vector<std::pair<std::string, int>> paths;  ///< ServerPath
    PrefixIndex by_path;                             ///< of paths
    int first = 0;
    int hosts = 0;

    void Add(const config::Host& host, int index);
    void AddWildcard(const std::string& pattern, int index);
    /// The first of `wildcards` that `name` matches and whose host comes before `before`; otherwise `before`.
    int FindWildcard(std::string_view name, int before) const;
  };
  const Names* NamesAt(uint16_t port) const;
  const Names* NamesAt(std::string_view address, uint16_t port) const;
  int SelectByName(const Names& names, std::string_view authority, std::string_view path) const;

  const config::ServerConfig* config_ = nullptr;
  std::vector<CompiledHost> hosts_;
  http::MimeTypes types_;
  std::string server_name_;
  std::string secret_;
  std::shared_ptr<SslSite> ssl_;
  std::unique_ptr<const net::ProxyHeaderService> proxied_;
  std::shared_ptr<const proxy::TlsContexts> backend_tls_;  ///< never null when the site is complete
  std::vector<Names> names_;
  std::unordered_map<uint16_t, size_t> by_port_;                                         ///< "*": index of names_
  std::map<std::string, std::unordered_map<uint16_t, size_t>, std::less<>> by_address_;  ///< others
  bool has_addresses_ = false;
};

/// Server field of Apache's ServerTokens, with our name: "Baton/0.1.0 (Unix)".
std::string ServerField(std::string_view tokens);
/// "Baton/0.1.0".
inline constexpr std::string_view kProduct = "Baton/0.1.0";
inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace httpd::modules
