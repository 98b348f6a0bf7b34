#pragma once

#include <string>
#include <string_view>

namespace httpd::modules {

/// `media_type` with the charset in place of its own, its parameters written "; name=value". An empty charset leaves it
/// as it is, and so does a media type that cannot be read.
std::string WithCharset(std::string_view media_type, std::string_view charset);

}  // namespace httpd::modules
