#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "httpd/config/directives.h"
#include "httpd/modules/request_state.h"
#include "httpd/net/exchange.h"

namespace httpd::modules {

/// Where a filter stands: lower ones see the content first. Source  httpd util_filter.h, ap_filter_type
enum class FilterType {
  kBeforeResource = 9,  ///< undoes the coding that a resource came with
  kResource = 10,       ///< changes the content
  kContentSet = 20,     ///< applies a content coding
  kProtocol = 30,
  kTranscode = 40,
  kConnection = 50,
  kNetwork = 60
};

/// The answer as far as it is known when filters decide: before it is made (`content`) and after (`filter`).
struct FilterView {
  std::string_view media_type;   ///< without parameters; "" = unknown
  std::string_view coding;       ///< Content-Encoding; "" = none
  std::optional<uint64_t> size;  ///< of the body before any filter; nullopt: not known
  bool is_final = false;         ///< in `filter`

  bool is_coded() const;  ///< with something else than identity, 7bit, 8bit and binary
};

/// What becomes of the entity tag when a filter changes the content. Source  DeflateAlterETag
enum class EtagChange { kAddSuffix, kNoChange, kRemove };

/// A filter that SetOutputFilter and the others name. It is made once and knows of no request.
struct OutputFilter {
  const char* name;  ///< "DEFLATE"; case does not count
  FilterType type = FilterType::kResource;
  /// "gzip": the content coding it applies. Of those in a chain the one that the client likes best acts, of equals the
  /// first one, and only where the client likes it as much as no coding at all. "" = it applies none.
  const char* coding = "";
  const char* forced_by = "";  ///< variable that makes it act though the client did not ask for the coding
  bool undoes_coding = false;  ///< what comes out has no coding
  bool changes_content = true;
  const char* etag_suffix = "";  ///< "-gzip"
  /// Whether it would act on this answer; null: always. Accept-Encoding is not its business.
  bool (*applies)(const RequestState& state, const FilterView& view) = nullptr;
  EtagChange (*etag)(const RequestState& state) = nullptr;  ///< null: kNoChange
  /// Changes to the answer besides its body and the fields that a coding changes; null: none
  void (*prepare)(RequestState& state) = nullptr;
  /// The body with the filter on it, never null. `state` lives until the answer was sent. null: the body stays as it is
  std::unique_ptr<net::BodySource> (*wrap)(RequestState& state, std::unique_ptr<net::BodySource> body) = nullptr;
};

/// All of them.
std::span<const OutputFilter* const> OutputFilters();
/// nullptr: there is none of that name.
const OutputFilter* FindOutputFilter(std::string_view name);

/// For directives that name filters: what is wrong with "A;B", nothing when all are known.
config::Complaint CheckOutputFilters(std::string_view directive, std::string_view names);

/// Vary gets `name`, once.
void VaryOn(std::string& fields, std::string_view name);

/// Lines for the host's error log from a body that is being sent, when RequestState::request is gone already.
class LaterLog {
 public:
  /// @param module  static
  LaterLog(const RequestState& state, std::string_view module);
  void Write(config::LogLevel level, const std::string& text) const;

 private:
  const CompiledHost& host_;
  std::string_view module_;
  std::string client_;
};

/// The value of Accept-Encoding as the modules left it, several fields joined into `storage`.
std::string_view AcceptEncoding(const RequestState& state, std::string& storage);

extern const OutputFilter kDeflateFilter;
extern const OutputFilter kInflateFilter;
extern const OutputFilter kBrotliFilter;
extern const OutputFilter kZstdFilter;
extern const OutputFilter kSubstituteFilter;
extern const OutputFilter kRateLimitFilter;

}  // namespace httpd::modules
