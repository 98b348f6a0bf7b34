#include "httpd/modules/site.h"

#include <Poco/RegularExpression.h>

#include <algorithm>
#include <array>

#include "httpd/http/ascii.h"
#include "httpd/modules/expression.h"
#include "httpd/modules/module.h"
#include "httpd/modules/password.h"
#include "httpd/modules/proxy_tls.h"
#include "httpd/modules/remoteip.h"
#include "httpd/modules/section_walk.h"
#include "httpd/modules/ssl_context.h"

namespace httpd::modules {

namespace {

/// The name in an authority: without port, brackets and dots at its end.
std::string_view NameOf(std::string_view authority) {
  if (!authority.empty() && authority.front() == '[') {
    const size_t end = authority.find(']');
    authority = authority.substr(1, end == std::string_view::npos ? std::string_view::npos : end - 1);
  } else {
    authority = authority.substr(0, authority.find(':'));
  }
  while (!authority.empty() && authority.back() == '.') authority.remove_suffix(1);
  return authority;
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), http::Lower);
  return out;
}

os::Error At(const config::SourceLine& where, std::string what) {
  return os::Error{
      os::ErrorKind::kInvalid, 0,
      "AH00526: Syntax error on line " + std::to_string(where.line) + " of " + where.file + ":\n" + std::move(what)};
}

size_t Depth(const std::string& path) {
  return path == "/" ? 0 : static_cast<size_t>(std::count(path.begin(), path.end(), '/'));
}

/// Makes the sections of one host after the other ready; what hosts have in common is made once.
class SectionCompiler {
 public:
  os::Result<std::shared_ptr<const CompiledHost::Sections>> Compile(const config::Host& host) {
    // A virtual host's list begins with that of the main server: one that is not longer is the same.
    if (main_ && host.sections.size() == main_size_) return main_;
    CompiledHost::Sections out;
    for (const auto& section : host.sections) {
      if (auto done = Add(out, *section, -1); !done) return done.error();
    }
    auto& directories = out.directories.all;
    std::stable_sort(directories.begin(), directories.end(), [](const auto& a, const auto& b) {
      if (a.section->is_regex != b.section->is_regex) return b.section->is_regex;
      return !a.section->is_regex && Depth(a.section->pattern) < Depth(b.section->pattern);
    });
    while (out.first_regex < directories.size() && !directories[out.first_regex].regex) ++out.first_regex;
    for (size_t i = 0; i < directories.size(); ++i) {
      for (const config::Section& nested : directories[i].section->nested) {
        if (auto done = Add(out, nested, static_cast<int>(i)); !done) return done.error();
      }
    }
    for (CompiledHost::SectionList* list : {&out.directories, &out.files, &out.locations, &out.proxies})
      list->IndexAll();
    auto made = std::make_shared<const CompiledHost::Sections>(std::move(out));
    if (!main_) {
      main_ = made;
      main_size_ = host.sections.size();
    }
    return made;
  }

 private:
  os::Status Add(CompiledHost::Sections& out, const config::Section& section, int enclosing) {
    using Kind = config::Section::Kind;
    if (section.kind == Kind::kIf) return os::kDone;
    CompiledHost::Section compiled{&section, nullptr, enclosing};
    auto& list = section.kind == Kind::kDirectory ? out.directories
                 : section.kind == Kind::kFiles   ? out.files
                 : section.kind == Kind::kProxy   ? out.proxies
                                                  : out.locations;
    if (const auto known = regexes_.find(&section); known != regexes_.end()) {
      compiled.regex = known->second;
    } else {
      auto made = CompileSection(section, enclosing);
      if (!made) return made.error();
      compiled = std::move(made).value();
      if (compiled.regex) regexes_.emplace(&section, compiled.regex);
    }
    list.all.push_back(std::move(compiled));
    return os::kDone;
  }

  std::shared_ptr<const CompiledHost::Sections> main_;
  size_t main_size_ = 0;
  std::unordered_map<const config::Section*, std::shared_ptr<Poco::RegularExpression>> regexes_;
};

}  // namespace

os::Result<CompiledHost::Section> CompileSection(const config::Section& section, int enclosing) {
  CompiledHost::Section compiled{&section, nullptr, enclosing};
  if (section.is_regex) {
    auto regex = CompileRegex(section.pattern);
    if (!regex) return At(section.where, "Regex could not be compiled: " + regex.error().what);
    compiled.regex = std::move(regex).value();
  }
  return compiled;
}

void CompiledHost::SectionList::IndexAll() {
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string& pattern = all[i].section->pattern;
    by_prefix.Add(i, all[i].regex                  ? LiteralPrefix(pattern)
                     : all[i].section->is_wildcard ? std::string(WildcardPrefix(pattern))
                                                   : pattern);
  }
}

void Effective::Merge(const config::PerDirectory& s) {
  if (s.options) options = *s.options;
  options |= s.options_add;
  options &= ~s.options_remove;
  for (const auto& [status, document] : s.error_documents) error_documents[status] = document;
  error_texts.insert(s.error_texts.begin(), s.error_texts.end());
  conditional.insert(conditional.end(), s.conditional.begin(), s.conditional.end());
  log_levels.Merge(s.log_levels);
  modules.Merge(s.modules);
}

os::Result<std::unique_ptr<Site>> Site::Build(const config::ServerConfig& config, const log::LogSet* logs,
                                              std::string_view types) {
  auto site = std::make_unique<Site>();
  site->config_ = &config;
  site->secret_ = RandomBytes(32);
  // Somebody who names a file knows what is in it: an extension that it leaves out has no type, as in Apache.
  if (config.types_config.empty()) site->types_ = http::MimeTypes::BuiltIn();
  site->types_.AddFile(types);
  site->server_name_ = ServerField(config.server_tokens);

  SectionCompiler sections;
  auto compile_host = [&](const config::Host& host) -> os::Status {
    CompiledHost out;
    out.host = &host;
    for (const config::AccessLog& access : host.access_logs) {
      auto format = http::LogFormat::Compile(access.format);
      if (!format) return At(access.target.where, format.error().what);
      CompiledHost::Log log;
      log.sink = logs ? logs->Find(access.target) : nullptr;
      log.format = std::move(format).value();
      log.env = access.env;
      log.env_negated = access.env_negated;
      log.condition = AsExpression(access.condition);
      out.logs.push_back(std::move(log));
    }
    out.error_log = std::make_unique<log::ErrorLog>(logs ? logs->Find(host.error_log) : nullptr, host);
    auto compiled = sections.Compile(host);
    if (!compiled) return compiled.error();
    out.sections = std::move(compiled).value();
    out.hooks = ModulesWith(host.settings.modules);
    site->hosts_.push_back(std::move(out));
    return os::kDone;
  };

  if (auto done = compile_host(config.main); !done) return done.error();
  for (const config::Host& host : config.virtual_hosts) {
    if (auto done = compile_host(host); !done) return done.error();
    const int index = static_cast<int>(site->hosts_.size()) - 1;
    for (const config::Host::Address& address : host.addresses) {
      if (address.host != "*") site->has_addresses_ = true;
      auto& by_port = address.host == "*" ? site->by_port_ : site->by_address_[address.host];
      const auto [found, is_new] = by_port.try_emplace(address.port, site->names_.size());
      if (is_new) site->names_.emplace_back().first = index;
      site->names_[found->second].Add(host, index);
    }
  }
  auto ssl = SslSite::Build(*site);
  if (!ssl) return ssl.error();
  site->ssl_ = std::move(ssl).value();
  site->proxied_ = ProxiedConnections::Of(*site);
  auto backend_tls = proxy::TlsContexts::Build(*site);
  if (!backend_tls) return backend_tls.error();
  site->backend_tls_ = std::move(backend_tls).value();
  return site;
}

bool Site::SharesAddress(int host) const {
  for (const config::Host::Address& address : hosts_[static_cast<size_t>(host)].host->addresses) {
    const Names* names = address.host == "*" ? NamesAt(address.port) : NamesAt(address.host, address.port);
    if (names && names->hosts > 1) return true;
  }
  return false;
}

size_t Site::AnyCaseHash::operator()(std::string_view name) const {
  uint64_t hash = 14695981039346656037U;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(http::Lower(c))) * 1099511628211U;
  return hash;
}

bool Site::AnyCaseEqual::operator()(std::string_view a, std::string_view b) const {
  return http::EqualsIgnoreCase(a, b);
}

void Site::Names::Add(const config::Host& host, int index) {
  ++hosts;
  if (!host.server_path.empty()) {
    by_path.Add(paths.size(), host.server_path);
    paths.emplace_back(host.server_path, index);
  }
  if (!host.server_name.empty()) exact.try_emplace(Lower(NameOf(host.server_name)), index);
  for (const std::string& alias : host.server_aliases) {
    if (alias.find_first_of("*?") != std::string::npos) {
      AddWildcard(alias, index);
    } else {
      exact.try_emplace(Lower(NameOf(alias)), index);
    }
  }
}

void Site::Names::AddWildcard(const std::string& pattern, int index) {
  const size_t number = wildcards.size();
  wildcards.emplace_back(pattern, index);
  const std::string_view suffix = WildcardSuffix(pattern);
  if (suffix.empty()) {
    by_prefix.Add(number, WildcardPrefix(pattern));
  } else {
    by_suffix.Add(number, std::string(suffix.rbegin(), suffix.rend()));
  }
}

int Site::Names::FindWildcard(std::string_view name, int before) const {
  constexpr size_t kMostInPlace = 256;  // longer than any name of a host
  std::array<char, 2 * kMostInPlace> in_place;
  std::string on_heap;
  char* lower = in_place.data();
  if (name.size() > kMostInPlace) {
    on_heap.resize(2 * name.size());
    lower = on_heap.data();
  }
  char* backwards = std::transform(name.begin(), name.end(), lower, http::Lower);
  std::reverse_copy(lower, lower + name.size(), backwards);
  const std::string_view text(lower, name.size());
  PrefixIndex::Candidates begin, end;
  by_prefix.Find(text, begin);
  by_suffix.Find(std::string_view(backwards, name.size()), end);
  for (size_t i = 0;; ++i) {
    i = std::min(begin.Next(i), end.Next(i));
    if (i == PrefixIndex::kNone || wildcards[i].second >= before) return before;
    if (http::WildcardMatch(wildcards[i].first, text, false)) return wildcards[i].second;
  }
}

const Site::Names* Site::NamesAt(uint16_t port) const {
  for (const uint16_t wanted : {port, uint16_t{0}}) {
    if (const auto found = by_port_.find(wanted); found != by_port_.end()) return &names_[found->second];
  }
  return nullptr;
}

const Site::Names* Site::NamesAt(std::string_view address, uint16_t port) const {
  if (const auto known = by_address_.find(address); known != by_address_.end()) {
    for (const uint16_t wanted : {port, uint16_t{0}}) {
      if (const auto found = known->second.find(wanted); found != known->second.end()) return &names_[found->second];
    }
  }
  return NamesAt(port);
}

int Site::SelectByName(const Names& names, std::string_view authority, std::string_view path) const {
  if (authority.empty()) {
    PrefixIndex::Candidates candidates;
    names.by_path.Find(path, candidates);
    for (size_t i = candidates.Next(0); i != PrefixIndex::kNone; i = candidates.Next(i + 1)) {
      if (Covers(names.paths[i].first, path)) return names.paths[i].second;
    }
    return names.first;
  }
  const std::string_view name = NameOf(authority);
  // The first host in the configuration wins, whether it says the name or a pattern.
  const auto exact = names.exact.find(name);
  const int nobody = static_cast<int>(hosts_.size());
  int found = exact == names.exact.end() ? nobody : exact->second;
  if (!names.wildcards.empty()) found = names.FindWildcard(name, found);
  return found == nobody ? names.first : found;
}

std::string ServerField(std::string_view tokens) {
  if (tokens == "Prod" || tokens == "ProductOnly") return "Baton";
  if (tokens == "Major") return "Baton/0";
  if (tokens == "Minor") return "Baton/0.1";
  if (tokens == "Min" || tokens == "Minimal") return std::string(kProduct);
  return std::string(kProduct) + " (Unix)";
}

}  // namespace httpd::modules
