#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "httpd/modules/coders.h"
#include "httpd/net/exchange.h"

namespace httpd::modules {

/// Input that a filter takes in one call of Read(), so that no call holds up the loop for long.
inline constexpr size_t kSlice = 64U << 10;
inline constexpr size_t kUsualSlice = 32U << 10;  ///< what a coder takes at once unless it is told otherwise

/// Called once, when all of a body went through a filter: bytes that went in and came out.
using AtEnd = std::function<void(uint64_t in, uint64_t out)>;

/// `inner`, coded. A pause of `inner` (kWait) flushes, so that what a program has written so far reaches the client.
/// @param coder   null (there was no memory for it): the source fails
/// @param slice   bytes of input that one call of Read() takes at most (kSlice is the most that makes sense)
/// @param at_end  may be null
std::unique_ptr<net::BodySource> CodedSource(std::unique_ptr<net::BodySource> inner, std::unique_ptr<Coder> coder,
                                             size_t slice, AtEnd at_end);

/// `inner`, which is gzip, as it was before. Fails when it is not, is cut short, or exceeds `limits`.
/// @param complain  called once, with why, before it fails; may be null
std::unique_ptr<net::BodySource> InflatedSource(std::unique_ptr<net::BodySource> inner, const InflateLimits& limits,
                                                std::function<void(const std::string&)> complain);

/// Puts `source` into the answer as its body. Where at most kSlice bytes go into it (`size`, which may be unknown) and
/// nobody has to be waited for, the body is made at once: it has a Content-Length and needs no memory of the filters
/// while it is sent. What a filter blows up beyond a few slices is not.
void SetBody(net::Response& response, std::unique_ptr<net::BodySource> source, std::optional<uint64_t> size);

}  // namespace httpd::modules
