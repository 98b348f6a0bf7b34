#include "httpd/config/module_catalog.h"

#include <algorithm>
#include <array>

namespace httpd::config {
namespace {

struct Known {
  const char* name;  ///< of NAME_module
  ModuleRole role;
  const char* text;  ///< kByTheCore: the notice, "" = none; kMissing: what to do
};

constexpr ModuleRole kCore = ModuleRole::kByTheCore;
constexpr ModuleRole kNot = ModuleRole::kMissing;

constexpr char kOneWorkingModel[] =
    "there is one way of working, that of mpm_event; StartServers, ServerLimit and MaxRequestWorkers hold for it";
constexpr char kNoProxy[] = "this server is a reverse proxy for http://, https://, ws:// and wss:// backends only";
constexpr char kNoMd[] =
    "certificates are made and renewed by a program such as certbot; httpd -k graceful takes over what it wrote";
constexpr char kNoGnuTls[] = "ssl_module does it; its directives are SSL...";
constexpr char kNoDav[] = "this server does not write to its documents";
constexpr char kNoCache[] = "this server does not store answers of others; Expires and Header tell caches what to keep";
constexpr char kNoDatabase[] = "users and groups come from text files here: AuthUserFile and AuthGroupFile";
constexpr char kNoSession[] = "this server keeps no sessions; the application must";
constexpr char kNoContent[] = "this server does not change documents in this way";
constexpr char kNoUse[] = "leave the line out; nothing else needs it";

// Source  the list of modules of Apache 2.4 (manual, mod/)
constexpr Known kKnown[] = {
    {"mpm_event", kCore, ""},
    {"mpm_worker", kCore, kOneWorkingModel},
    {"mpm_prefork", kCore, kOneWorkingModel},
    {"so", kCore, ""},
    {"watchdog", kCore, ""},
    {"unixd", kCore, ""},
    {"slotmem_shm", kCore, ""},
    {"slotmem_plain", kCore, ""},
    {"socache_shmcb", kCore, ""},
    {"socache_dbm", kCore, ""},
    {"socache_memcache", kCore, ""},
    {"socache_redis", kCore, ""},
    {"systemd", kCore, ""},
    {"md", kNot, kNoMd},
    {"gnutls", kNot, kNoGnuTls},
    {"proxy_ajp", kNot, kNoProxy},
    {"proxy_connect", kNot, kNoProxy},
    {"proxy_express", kNot, kNoProxy},
    {"proxy_fcgi", kNot, kNoProxy},
    {"proxy_fdpass", kNot, kNoProxy},
    {"proxy_ftp", kNot, kNoProxy},
    {"proxy_hcheck", kNot, kNoProxy},
    {"proxy_html", kNot, kNoProxy},
    {"proxy_http2", kNot, kNoProxy},
    {"proxy_scgi", kNot, kNoProxy},
    {"proxy_uwsgi", kNot, kNoProxy},
    {"lbmethod_heartbeat", kNot, kNoProxy},
    {"heartbeat", kNot, kNoProxy},
    {"heartmonitor", kNot, kNoProxy},
    {"xml2enc", kNot, kNoProxy},
    {"dav", kNot, kNoDav},
    {"dav_fs", kNot, kNoDav},
    {"dav_lock", kNot, kNoDav},
    {"cache", kNot, kNoCache},
    {"cache_disk", kNot, kNoCache},
    {"cache_socache", kNot, kNoCache},
    {"file_cache", kNot, kNoCache},
    {"ldap", kNot, kNoDatabase},
    {"authnz_ldap", kNot, kNoDatabase},
    {"dbd", kNot, kNoDatabase},
    {"authn_dbd", kNot, kNoDatabase},
    {"authz_dbd", kNot, kNoDatabase},
    {"authn_dbm", kNot, kNoDatabase},
    {"authz_dbm", kNot, kNoDatabase},
    {"authn_anon", kNot, kNoDatabase},
    {"authn_socache", kNot,
     "files of users are read once and kept as long as they do not change: no cache is needed; "
     "leave the line and AuthnCache* out"},
    {"authnz_fcgi", kNot, kNoDatabase},
    {"auth_form", kNot, kNoSession},
    {"session", kNot, kNoSession},
    {"session_cookie", kNot, kNoSession},
    {"session_crypto", kNot, kNoSession},
    {"session_dbd", kNot, kNoSession},
    {"usertrack", kNot, kNoSession},
    {"authz_owner", kNot, "a file's owner decides nothing here; name users and groups with Require"},
    {"lua", kNot, "this server runs no scripts within itself"},
    {"include", kNot, "server-side includes are not expanded here"},
    {"cgi", kNot, "this server runs no programs for requests"},
    {"cgid", kNot, "this server runs no programs for requests"},
    {"suexec", kNot, "this server runs no programs under other accounts"},
    {"ext_filter", kNot, kNoContent},
    {"charset_lite", kNot, kNoContent},
    {"sed", kNot, "substitute_module changes text in answers"},
    {"data", kNot, kNoContent},
    {"reflector", kNot, kNoContent},
    {"imagemap", kNot, "maps of images are a matter of HTML since long"},
    {"buffer", kNot, kNoUse},
    {"request", kNot, kNoUse},
    {"echo", kNot, kNoUse},
    {"bucketeer", kNot, kNoUse},
    {"case_filter", kNot, kNoUse},
    {"case_filter_in", kNot, kNoUse},
    {"cern_meta", kNot, "Header in a <Files> section or in .htaccess sets the fields of a file"},
    {"dialup", kNot, "ratelimit_module limits how fast answers go"},
    {"dumpio", kNot, "LogLevel debug tells what the server does; for the bytes use tcpdump"},
    {"ident", kNot, "%l in logs stays '-'; leave the line and IdentityCheck out"},
    {"log_debug", kNot, "LogLevel debug tells what the server does"},
    {"log_forensic", kNot, "%{UNIQUE_ID}e in CustomLog and ErrorLogFormat ties the lines of a request together"},
    {"macro", kNot, "write the sections out, or Include one file after several Define lines"},
    {"mime_magic", kNot, "types come from names: TypesConfig, AddType, ForceType"},
    {"policy", kNot, kNoUse},
};

std::string_view WithoutSuffix(std::string_view identifier) {
  constexpr std::string_view kSuffix = "_module";
  if (identifier.ends_with(kSuffix)) identifier.remove_suffix(kSuffix.size());
  return identifier;
}

const Known* Find(std::string_view identifier) {
  if (!identifier.ends_with("_module")) return nullptr;
  const auto found =
      std::find_if(std::begin(kKnown), std::end(kKnown),
                   [name = WithoutSuffix(identifier)](const Known& known) { return name == known.name; });
  return found == std::end(kKnown) ? nullptr : found;
}

bool IsBuiltIn(std::string_view identifier) {
  const auto& modules = BuiltInModules();
  return std::any_of(modules.begin(), modules.end(),
                     [&](const ModuleName& module) { return identifier == module.identifier; });
}

/// "mod_headers.c", "event.c" and "headers_module" are all "headers_module".
std::string IdentifierOf(std::string_view name) {
  for (const ModuleName& module : BuiltInModules()) {
    if (name == module.file) return module.identifier;
  }
  if (name == "event.c" || name == "worker.c" || name == "prefork.c") {
    return "mpm_" + std::string(name.substr(0, name.size() - 2)) + "_module";
  }
  if (name.starts_with("mod_") && name.ends_with(".c")) {
    return std::string(name.substr(4, name.size() - 6)) + "_module";
  }
  return std::string(name);
}

}  // namespace

ModuleRole RoleOf(std::string_view identifier) {
  if (IsBuiltIn(identifier)) return ModuleRole::kBuiltIn;
  const Known* known = Find(identifier);
  return known ? known->role : ModuleRole::kUnknown;
}

std::string CannotLoad(const std::string& identifier, const std::string& file) {
  const std::string text = "Cannot load " + file + " into server: ";
  if (const Known* known = Find(identifier)) {
    return text + identifier + " is a module of Apache that this server does not have: " + known->text +
           ". Remove the line and the directives of the module, or put them into <IfModule " + identifier + ">";
  }
  return text + identifier + " is not one of the modules of this server (httpd -M lists them)";
}

std::string NoticeOf(std::string_view identifier) {
  const Known* known = Find(identifier);
  if (!known || known->role != ModuleRole::kByTheCore || *known->text == '\0') return "";
  return "WARNING: LoadModule " + std::string(identifier) + " has no meaning here: " + known->text;
}

bool IsModuleThere(std::string_view name, const std::vector<std::string>& loaded) {
  // Debian's static modules and, unless another one is loaded, the only way of working.
  static constexpr std::array<std::string_view, 9> kStatic = {"core_module",    "so_module",         "watchdog_module",
                                                              "http_module",    "log_config_module", "logio_module",
                                                              "version_module", "unixd_module",      "systemd_module"};
  const std::string identifier = IdentifierOf(name);
  if (std::find(loaded.begin(), loaded.end(), identifier) != loaded.end()) return true;
  if (std::find(kStatic.begin(), kStatic.end(), identifier) != kStatic.end()) return true;
  if (identifier == "mpm_event_module") {
    return std::none_of(loaded.begin(), loaded.end(), [](const auto& other) { return other.starts_with("mpm_"); });
  }
  return loaded.empty() && IsBuiltIn(identifier);
}

}  // namespace httpd::config
