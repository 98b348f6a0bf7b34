#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "httpd/modules/site.h"
#include "httpd/net/exchange.h"
#include "os/error.h"
#include "os/fd.h"

namespace httpd::modules {

/// A file opened for serving.
struct OpenedFile {
  os::Fd fd;
  struct stat status {};
};

/// Opens `file` below `root` as `options` allow: without FollowSymLinks no component below `root` may be a link
/// (openat2 RESOLVE_NO_SYMLINKS, so there is no race), with SymLinksIfOwnerMatch a link must belong to its target's
/// owner.
/// @return kNotFound, kDenied (permissions, or a link that may not be followed), kIo
os::Result<OpenedFile> OpenForServing(const std::string& root, const std::string& file, unsigned options);

/// Media type of a file: ForceType, AddType, mime.types, in this order; "" = unknown. With AddDefaultCharset for
/// text/plain and text/html.
std::string MediaType(const Site& site, const Effective& settings, std::string_view file_name);

/// Fills the answer to GET, HEAD or POST of a regular file: validators, preconditions, ranges, body.
/// @param whole  as an ErrorDocument: what the client said about another resource (validators, ranges) is not looked at
/// Source  RFC 9110 13, 14
void ServeOpenedFile(const net::Request& request, OpenedFile file, const std::string& media_type, bool use_sendfile,
                     bool whole, const std::string& etag_suffix, bool ignore_ranges, net::Response& response);

}  // namespace httpd::modules
