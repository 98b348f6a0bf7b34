// mod_alias: Alias, Redirect. Source  httpd 2.4 manual, mod_alias
#include "httpd/http/values.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/section_walk.h"

namespace httpd::modules {

namespace {

Verdict Translate(RequestState& state) {
  using config::UrlRule;
  for (const UrlRule& rule : state.host->host->url_rules) {
    if (rule.kind != UrlRule::Kind::kRedirect || !Covers(rule.from, state.path)) continue;
    if (rule.status < 300 || rule.status > 399) return Verdict::Status(rule.status);
    std::string location = rule.to + http::EscapePath(std::string_view(state.path).substr(rule.from.size()));
    if (state.has_query) location += "?" + state.query;
    return RedirectTo(state, rule.status, location);
  }
  for (const UrlRule& rule : state.host->host->url_rules) {
    if (rule.kind != UrlRule::Kind::kAlias || !Covers(rule.from, state.path)) continue;
    state.root = rule.to;
    state.url_root = rule.from;
    state.file = rule.to + state.path.substr(rule.from.size());
    return Verdict::Done();
  }
  return Verdict::Declined();
}

}  // namespace

const Module kAlias = {.name = {"mod_alias.c", "alias_module"}, .always = true, .translate = Translate};

}  // namespace httpd::modules
