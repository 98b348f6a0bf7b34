#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "httpd/http/values.h"
#include "httpd/modules/request_state.h"
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

/// Opens `file` below `root` as `options` allow: without FollowSymLinks no component below `root` may be a link, with
/// SymLinksIfOwnerMatch a link must belong to the owner of what it points to. Both are judged on what was opened, one
/// descriptor after the other: a link that is exchanged meanwhile cannot lead anywhere else.
/// @return kNotFound, kDenied (permissions, or a link that may not be followed: sys is 0), kIo
/// Source  openat2(2) RESOLVE_NO_SYMLINKS; open(2) O_PATH, O_NOFOLLOW
os::Result<OpenedFile> OpenForServing(const std::string& root, const std::string& file, unsigned options);

/// FileETag: what an entity tag is made of.
enum EtagBit : unsigned { kEtagInode = 1, kEtagMtime = 2, kEtagSize = 4, kEtagDigest = 8 };

/// Entity tag of a file, quoted; W/ in front while the file may still change within the second of its last change.
/// "" = none. kEtagDigest is not looked at: FileDigest() is.
std::string EtagOf(const struct stat& status, unsigned bits, std::chrono::system_clock::time_point now);

/// Digests of a file, base64, remembered per thread by what stat(2) says. nullopt: it cannot be read, or it is larger
/// than 32 MiB: hashing more would keep other requests waiting.
struct FileDigests {
  std::string sha1;
  std::string md5;
};
std::optional<FileDigests> DigestsOf(const OpenedFile& file);

/// Content-Language and Content-Encoding, where the name of the file says something about them.
void AppendContentFields(const RequestState& state, std::string& fields);

/// How a file is to be answered.
struct FileRules {
  std::string media_type;   ///< "" = no Content-Type
  std::string etag;         ///< "" = none
  std::string content_md5;  ///< "" = none
  http::RangeLimits ranges;
  bool use_sendfile = true;
  bool whole = false;  ///< as an ErrorDocument: validators and ranges of the request are about something else
  bool ignore_ranges = false;
};

/// Fills the answer to GET, HEAD or POST of a regular file: validators, preconditions, ranges, body. Statuses 412 and
/// 416 are left for the caller to write a page for.
/// Source  RFC 9110 13, 14
void ServeOpenedFile(const RequestState& state, OpenedFile file, const FileRules& rules, net::Response& response);

}  // namespace httpd::modules
