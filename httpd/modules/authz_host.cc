// mod_authz_host: Require ip, local. Source  httpd 2.4 manual, mod_authz_host
#include <algorithm>
#include <vector>

#include "httpd/config/lexer.h"
#include "httpd/http/values.h"
#include "httpd/modules/authz.h"
#include "httpd/modules/module_list.h"

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

// Both ask a name server while the client waits, and one loop serves many clients.
Complaint RefuseHost(const Scope&, const Node&, const std::string& arguments, std::shared_ptr<const AuthzRule>& out) {
  const std::vector<std::string> words = config::SplitWords(arguments);
  if (words.empty()) return "'require host' requires an argument";
  if (words.size() == 1 && config::SameIgnoringCase(words[0], "localhost")) {
    auto rule = std::make_shared<IpRule>();
    for (const char* loopback : {"127.0.0.0/8", "::1"})
      rule->networks.push_back(http::Network::Parse(loopback).value());
    out = std::move(rule);
    return std::nullopt;
  }
  return "'Require host " + words[0] +
         "' is not supported: a name server must not delay requests. Use 'Require ip' with the addresses of that name";
}

Complaint RefuseForwardDns(const Scope&, const Node&, const std::string& arguments, std::shared_ptr<const AuthzRule>&) {
  return "'Require forward-dns" + arguments +
         "' is not supported: a name server must not delay requests. Use 'Require ip' with the addresses of that name";
}

}  // namespace

const AuthzProvider kRequireIp{"ip", ParseIp};
const AuthzProvider kRequireHost{"host", RefuseHost};
const AuthzProvider kRequireForwardDns{"forward-dns", RefuseForwardDns};
const AuthzProvider kRequireLocal{"local", ParseLocal};

const Module kAuthzHost = {.name = {"mod_authz_host.c", "authz_host_module"}};

}  // namespace httpd::modules
