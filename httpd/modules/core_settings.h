#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/module_slots.h"
#include "httpd/http/values.h"
#include "httpd/modules/request_state.h"

namespace httpd::modules {

/// LimitRequestBody where none is said, as Apache's.
inline constexpr uint64_t kDefaultBodyLimit = 1U << 30;

/// What the core is told in one place, about files and about how this server speaks of itself.
struct CoreSettings final : config::ModuleSettings {
  enum class CanonicalName { kOff, kOn, kDns };
  enum class EncodedSlashes { kOff, kOn, kNoDecode };

  std::optional<std::string> media_type;       ///< ForceType; "" after None
  std::optional<std::string> handler;          ///< SetHandler; "" after None
  std::optional<std::string> default_charset;  ///< AddDefaultCharset; "" = Off
  std::optional<unsigned> etag;                ///< FileETag: EtagBit, without what + and - change
  unsigned etag_add = 0;
  unsigned etag_remove = 0;
  std::optional<size_t> ranges;  ///< MaxRanges, MaxRangeOverlaps, MaxRangeReversals: as in http::RangeLimits
  std::optional<size_t> overlaps;
  std::optional<size_t> reversals;
  std::optional<bool> use_sendfile;
  std::optional<bool> content_digest;
  std::optional<std::optional<bool>> path_info;   ///< AcceptPathInfo; inner nullopt: Default
  std::optional<unsigned long long> body_limit;   ///< LimitRequestBody, bytes; 0 = none
  std::optional<std::string> signature;           ///< ServerSignature: Off, On, EMail
  std::optional<CanonicalName> canonical_name;    ///< UseCanonicalName
  std::optional<bool> canonical_physical_port;    ///< UseCanonicalPhysicalPort
  std::optional<bool> qualify_redirect_url;       ///< QualifyRedirectURL
  std::optional<EncodedSlashes> encoded_slashes;  ///< AllowEncodedSlashes; of the host
  std::optional<bool> merge_slashes;              ///< MergeSlashes; of the host

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override;
  unsigned EtagBits() const;  ///< default: MTime Size
  http::RangeLimits Limits() const;
};

/// Directives of the core that CoreSettings holds.
const std::vector<config::Directive>& CoreDirectives();

}  // namespace httpd::modules
