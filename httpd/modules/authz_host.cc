// mod_authz_host: Require ip, host, forward-dns, local. Source  httpd 2.4 manual, mod_authz_host
#include <algorithm>
#include <vector>

#include "httpd/config/lexer.h"
#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/authz.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/name_rules.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;

AuthzStatus GrantedIf(bool holds) {
  return holds ? AuthzStatus::kGranted : AuthzStatus::kDenied;
}

struct IpRule final : AuthzRule {
  // No line in the error log for a network that does not match: AH01630 says what came of it.
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    const std::string_view client = state.client_address();
    return GrantedIf(std::any_of(networks.begin(), networks.end(),
                                 [client](const http::Network& network) { return network.Holds(client); }));
  }
  void Repeats(Dependencies& on) const override { on.OnClientAddress(); }
  std::vector<http::Network> networks;
};

Complaint ParseIp(const Scope&, const Node&, const std::string& arguments, std::shared_ptr<const AuthzRule>& out) {
  auto rule = std::make_shared<IpRule>();
  for (const std::string& word : config::SplitWords(arguments)) {
    auto network = http::Network::Parse(word);
    if (!network) return "ip address '" + word + "' appears to be invalid";
    rule->networks.push_back(network.value());
  }
  if (rule->networks.empty()) return "'require ip' requires an argument";
  out = std::move(rule);
  return std::nullopt;
}

bool IsLoopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1" || address.starts_with("::ffff:127.");
}

struct LocalRule final : AuthzRule {
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    // The private socket is in a directory of mode 0700: who reaches it is on this machine, and the server's owner.
    if (state.request->is_private && state.user_agent_address.empty()) return AuthzStatus::kGranted;
    const std::string_view client = state.client_address();
    return GrantedIf(IsLoopback(client) || (!client.empty() && client == state.LocalAddress()));
  }
};

Complaint ParseLocal(const Scope&, const Node&, const std::string&, std::shared_ptr<const AuthzRule>& out) {
  out = std::make_shared<LocalRule>();
  return std::nullopt;
}

struct HostRule final : AuthzRule {
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    const std::string client = ClientName(state);
    if (client.empty()) {
      if (!state.response->deferred) {
        state.engine->LogError(state, config::LogLevel::kError, "authz_host",
                               "AH01753: access check of '" + line + "' to " + state.path +
                                   " failed, reason: unable to get the remote host name");
      }
      return AuthzStatus::kDenied;
    }
    return GrantedIf(std::any_of(domains.begin(), domains.end(),
                                 [&client](const std::string& domain) { return IsInDomain(domain, client); }));
  }
  std::string line;
  std::vector<std::string> domains;
};

/// Apache takes expressions here; a name that no client can have would only look as if it worked.
Complaint CheckName(const char* provider, const std::string& name) {
  if (name.find("%{") == std::string::npos) return std::nullopt;
  return "'Require " + std::string(provider) + " " + name + "': expressions are not supported here";
}

Complaint ParseHost(const Scope&, const Node&, const std::string& arguments, std::shared_ptr<const AuthzRule>& out) {
  auto rule = std::make_shared<HostRule>();
  rule->line = arguments;
  rule->domains = config::SplitWords(arguments);
  if (rule->domains.empty()) return "'require host' requires an argument";
  for (const std::string& domain : rule->domains) {
    if (auto complaint = CheckName("host", domain)) return complaint;
  }
  out = std::move(rule);
  return std::nullopt;
}

struct ForwardDnsRule final : AuthzRule {
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    bool holds = false;
    for (const std::string& name : names) holds = HasClientsAddress(state, name) || holds;  // all are asked at once
    return GrantedIf(holds);
  }
  std::vector<std::string> names;
};

Complaint ParseForwardDns(const Scope&, const Node&, const std::string& arguments,
                          std::shared_ptr<const AuthzRule>& out) {
  auto rule = std::make_shared<ForwardDnsRule>();
  for (std::string& word : config::SplitWords(arguments)) {
    word.resize(std::min(word.find('#'), word.size()));
    if (word.empty()) break;  // a comment, as in Apache
    if (auto complaint = CheckName("forward-dns", word)) return complaint;
    std::transform(word.begin(), word.end(), word.begin(), http::Lower);
    rule->names.push_back(std::move(word));
  }
  if (rule->names.empty()) return "'require forward-dns' requires an argument";
  out = std::move(rule);
  return std::nullopt;
}

}  // namespace

const AuthzProvider kRequireIp{"ip", ParseIp};
const AuthzProvider kRequireHost{"host", ParseHost};
const AuthzProvider kRequireForwardDns{"forward-dns", ParseForwardDns};
const AuthzProvider kRequireLocal{"local", ParseLocal};

const Module kAuthzHost = {.name = {"mod_authz_host.c", "authz_host_module"}};

}  // namespace httpd::modules
