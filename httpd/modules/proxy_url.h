#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "httpd/modules/request_state.h"

namespace httpd::modules::proxy {

/// How many bytes of `path` a ProxyPass path covers: as text, but where it has slashes any number of them do, and it
/// ends at a slash or at the end. 0: it does not. Source  mod_proxy.c alias_match
size_t CoveredBy(std::string_view from, std::string_view path);

/// A decoded path as it goes to a backend: what may not stand in a path is percent-encoded, in capitals.
/// @param keeps_escapes  an escape in it is one that was not decoded (AllowEncodedSlashes NoDecode): it stays
/// @return nullopt: a '%' that begins no escape, with keeps_escapes
/// Source  proxy_util.c ap_proxy_canonenc_ex
std::optional<std::string> CanonicalPath(std::string_view path, bool keeps_escapes);

/// Whether it can stand in a request line: no control bytes, no blanks.
bool IsSendable(std::string_view target);

/// Pairs of what a backend says and what it is here.
using Pairs = std::vector<std::pair<std::string, std::string>>;

/// Path and domain of a Set-Cookie value as they are here; of several attributes of one name the last counts.
/// Source  proxy_util.c ap_proxy_cookie_reverse_map
std::string MapCookie(std::string_view cookie, const Pairs& paths, const Pairs& domains);

/// A URL that a backend has named, as it is here.
/// @param members  names of the backends behind a balancer URL ("balancer://name"); empty for what is none
/// @param origin   "http://host:port" of this server
/// @return nullopt: none of the pairs is about it, it stays
/// Source  proxy_util.c ap_proxy_location_reverse_map
std::optional<std::string> MapLocation(std::string_view url, const Pairs& reverse,
                                       const std::function<std::vector<std::string>(std::string_view)>& members,
                                       const std::function<std::string()>& origin);

/// RewriteRule with P: the request goes to `url`.
/// @param is_raw  it was escaped already (NE, or in a directory): it stays as it is, the query is put behind it
/// @return Done, or the status that refuses it
Verdict GoTo(RequestState& state, std::string url, bool is_raw);

}  // namespace httpd::modules::proxy
