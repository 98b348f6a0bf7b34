#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "httpd/config/htaccess.h"
#include "httpd/modules/request_state.h"

namespace httpd::modules {

/// Finds the settings that hold for a request, in Apache's order: the host, <Directory> from the top down with the
/// .htaccess files between them, <DirectoryMatch>, <Files>, <Location>, <If>. Results are shared: requests with the
/// same sections have the same object. One per loop. Source  httpd 2.4 manual, sections.html "How the sections are
/// merged"
class SectionWalk {
 public:
  explicit SectionWalk(const Site& site);
  ~SectionWalk();

  /// What can be known before the file is: host and <Location>.
  std::shared_ptr<const Effective> ForUrl(RequestState& state);

  /// For `state.proxy_url`: host, <Proxy>, <Location>.
  std::shared_ptr<const Effective> ForProxy(RequestState& state);

  struct Found {
    std::shared_ptr<const Effective> settings;  ///< never null
    int status = 0;                             ///< 403 or 500: an .htaccess file cannot be read or is wrong
    std::string trouble;                        ///< ... and why, for the error log
    std::string notice;                         ///< something to note that is not fatal; "" = nothing
  };
  /// For `state.file` as it was split: path_info is no longer in it.
  Found ForFile(RequestState& state);

  /// How many .htaccess files were read so far; for tests: an unchanged file is read once.
  uint64_t files_read() const { return files_read_; }

 private:
  struct Htaccess;
  enum Kind : char { kHost = 'h', kDirectory = 'd', kHtaccess = 'a', kFiles = 'f', kLocation = 'l', kProxy = 'p' };

  void Begin(const RequestState& state);
  void Add(Kind kind, size_t index, const config::PerDirectory& settings);
  void AddLocations(RequestState& state);
  void AddProxies(RequestState& state);
  void AddDirectories(RequestState& state, Found& found);
  void AddFiles(RequestState& state);
  std::shared_ptr<const Effective> Merged();
  /// `base` and what its <If> sections add for this request.
  std::shared_ptr<const Effective> WithConditions(RequestState& state, std::shared_ptr<const Effective> base);
  std::shared_ptr<const Effective> Remember(const std::string& key, std::shared_ptr<Effective> made);
  /// Overrides that hold after `settings`.
  static void TakeOverrides(const config::PerDirectory& settings, config::Overrides& overrides);
  /// The .htaccess file of a directory. @return false: `found` says why
  bool AddHtaccess(Engine& engine, const std::string& directory, const config::Overrides& overrides, Found& found);
  std::shared_ptr<const Htaccess> Read(const std::string& path, const struct stat& status,
                                       const config::Overrides& overrides, Found& found);

  const Site& site_;
  std::unordered_map<std::string, std::shared_ptr<const Effective>> merged_;
  std::unordered_map<std::string, std::shared_ptr<const Htaccess>> htaccess_;  ///< by path
  std::string key_;  ///< list of the sections: two requests with the same list have the same settings
  std::string level_;
  std::vector<size_t> candidates_;  ///< <Directory> sections without regular expression that may cover the file
  std::vector<bool> in_directory_;  ///< of the host's <Directory> sections: covers the file
  std::vector<const config::PerDirectory*> parts_;
  std::vector<std::shared_ptr<const Htaccess>> in_force_;  ///< of the request that is being looked at
  uint32_t next_id_ = 0;
  uint64_t files_read_ = 0;
};

/// Whether a section covers a URL-path, file or (whole_name) a name.
bool Matches(RequestState& state, const CompiledHost::Section& section, const std::string& text, bool whole_name);

/// Whether a URL-path prefix of Alias, <Location> or a directory covers `path`: at a segment boundary.
bool Covers(std::string_view prefix, std::string_view path);

}  // namespace httpd::modules
