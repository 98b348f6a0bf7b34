#pragma once

#include <functional>
#include <string>
#include <vector>

#include "httpd/modules/static_file.h"
#include "os/error.h"

namespace httpd::modules {

/// One line of a listing.
struct IndexEntry {
  std::string name;  ///< as on disk
  bool is_directory = false;
};

/// What a listing of `directory` shows, sorted by name: no hidden files, only what can be stat'ed (through links where
/// `options` allow them) and what `is_visible` lets pass.
/// @param is_visible  whether the client could get the entry; called with its bare name
os::Result<std::vector<IndexEntry>> ListForIndex(OpenedFile directory, unsigned options,
                                                 const std::function<bool(const std::string& name)>& is_visible);

/// Apache's simple listing (mod_autoindex without FancyIndexing), everything escaped.
/// @param path       decoded URL-path, ends with '/'
/// @param signature  HTML, "" = none
std::string RenderIndex(const std::string& path, const std::vector<IndexEntry>& entries, const std::string& signature);

}  // namespace httpd::modules
