#include "httpd/modules/site.h"

#include <Poco/RegularExpression.h>

#include <algorithm>
#include <cctype>

#include "httpd/modules/expression.h"
#include "httpd/modules/module.h"
#include "httpd/modules/password.h"
#include "httpd/modules/section_walk.h"

namespace httpd::modules {

namespace {

std::string LowerHost(std::string_view authority) {
  if (!authority.empty() && authority.front() == '[') {
    const size_t end = authority.find(']');
    authority = authority.substr(1, end == std::string_view::npos ? std::string_view::npos : end - 1);
  } else {
    authority = authority.substr(0, authority.find(':'));
  }
  while (!authority.empty() && authority.back() == '.') authority.remove_suffix(1);
  std::string out(authority);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
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

os::Status Compile(CompiledHost& out, const config::Section& section, int enclosing) {
  auto made = CompileSection(section, enclosing);
  if (!made) return made.error();
  CompiledHost::Section compiled = std::move(made).value();
  switch (section.kind) {
    case config::Section::Kind::kDirectory:
      out.directories.push_back(compiled);
      break;
    case config::Section::Kind::kFiles:
      out.files.push_back(compiled);
      break;
    case config::Section::Kind::kIf:
      break;
    case config::Section::Kind::kLocation:
      out.locations.push_back(compiled);
      break;
  }
  return os::kDone;
}

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
  site->types_ = http::MimeTypes::BuiltIn();
  if (!types.empty()) site->types_.AddFile(types);
  site->server_name_ = ServerField(config.server_tokens);

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
    for (const config::Section& section : host.sections) {
      if (auto done = Compile(out, section, -1); !done) return done;
    }
    std::stable_sort(out.directories.begin(), out.directories.end(), [](const auto& a, const auto& b) {
      if (a.section->is_regex != b.section->is_regex) return b.section->is_regex;
      return !a.section->is_regex && Depth(a.section->pattern) < Depth(b.section->pattern);
    });
    for (size_t i = 0; i < out.directories.size(); ++i) {
      for (const config::Section& nested : out.directories[i].section->nested) {
        if (auto done = Compile(out, nested, static_cast<int>(i)); !done) return done;
      }
    }
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
      auto [found, is_new] = site->by_address_.try_emplace({address.host, address.port});
      Names& names = found->second;
      if (is_new) names.first = index;
      if (!host.server_path.empty()) names.paths.emplace_back(host.server_path, index);
      if (!host.server_name.empty()) names.exact.try_emplace(LowerHost(host.server_name), index);
      for (const std::string& alias : host.server_aliases) {
        if (alias.find_first_of("*?") != std::string::npos) {
          names.wildcards.emplace_back(alias, index);
        } else {
          names.exact.try_emplace(LowerHost(alias), index);
        }
      }
    }
  }
  return site;
}

int Site::Select(uint16_t local_port, std::string_view authority, const std::function<std::string()>& local_address,
                 std::string_view path) const {
  if (by_address_.empty()) return 0;
  const Names* names = nullptr;
  auto look = [&](const std::string& host, uint16_t port) {
    if (names) return;
    const auto found = by_address_.find({host, port});
    if (found != by_address_.end()) names = &found->second;
  };
  if (has_addresses_) {
    const std::string address = local_address();
    look(address, local_port);
    look(address, 0);
  }
  look("*", local_port);
  look("*", 0);
  if (!names) return 0;
  if (authority.empty()) {
    for (const auto& [prefix, index] : names->paths) {
      if (Covers(prefix, path)) return index;
    }
    return names->first;
  }
  const std::string host = LowerHost(authority);
  // The first host in the configuration wins, whether it says the name or a pattern.
  const auto exact = names->exact.find(host);
  const int named = exact == names->exact.end() ? static_cast<int>(hosts_.size()) : exact->second;
  for (const auto& [pattern, index] : names->wildcards) {
    if (index >= named) break;
    if (http::WildcardMatch(pattern, host, false)) return index;
  }
  return exact == names->exact.end() ? names->first : named;
}

std::string ServerField(std::string_view tokens) {
  if (tokens == "Prod" || tokens == "ProductOnly") return "Baton";
  if (tokens == "Major") return "Baton/0";
  if (tokens == "Minor") return "Baton/0.1";
  if (tokens == "Min" || tokens == "Minimal") return std::string(kProduct);
  return std::string(kProduct) + " (Unix)";
}

}  // namespace httpd::modules
