#pragma once

#include <string>
#include <string_view>

namespace httpd::modules {

/// What a client would make of coded bytes, by the libraries; "<broken>" when they are not complete and right.
std::string Gunzip(std::string_view coded);
std::string UnBrotli(std::string_view coded);
std::string UnZstd(std::string_view coded);
std::string Gzip(std::string_view text);

/// Text that compresses as pages do; always the same.
std::string SampleText(size_t size);

}  // namespace httpd::modules
