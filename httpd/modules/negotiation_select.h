#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/modules/request_state.h"

namespace httpd::modules::negotiation {

/// One element of an Accept... field, or a media type with parameters: lower case.
struct AcceptItem {
  std::string name;
  float quality = 1.0F;
  float level = 0.0F;
  std::string charset;
};

/// `text` as a list of them; nullopt when the field is missing (data() == nullptr). At most 200 are looked at.
/// Source  RFC 9110 12.4.2, 12.5
std::optional<std::vector<AcceptItem>> ParseAccept(std::string_view text);
/// The first element alone: of a Content-Type.
AcceptItem ParseType(std::string_view text);

/// One representation of the resource.
struct Variant {
  std::string file_name;
  std::string media_type;  ///< lower case, without parameters
  std::string charset;
  std::string encoding;
  std::vector<std::string> languages;
  std::string description;
  float source_quality = 1.0F;
  float level = 0.0F;
  std::optional<int64_t> bytes;  ///< known length
  bool has_handler = false;      ///< made by a handler: its length says nothing
  bool has_body = false;         ///< in the type map itself, `bytes` from body_offset
  uint64_t body_offset = 0;
  std::unique_ptr<RequestState> found;  ///< what looking it up found; null: not looked up yet

  // What the client's fields make of it.
  float lang_quality = 1.0F;
  float encoding_quality = 1.0F;
  float charset_quality = 1.0F;
  float type_quality = 1.0F;
  int lang_index = -1;  ///< in LanguagePriority
  int stars = 0;        ///< 3: the type itself was named, 2: type/*, 1: */*
  float level_matched = 0.0F;
  bool is_definite = true;

  bool is_html() const;                         ///< text/html, or what is sent as it
  void SetType(std::string_view content_type);  ///< media_type, charset, level and qs of a Content-Type
};

enum ForcePriority : unsigned { kForceNone = 1, kForcePrefer = 2, kForceFallback = 4 };

/// Chooses as Apache does. Values in, values out.
/// Source  httpd 2.4 manual, content-negotiation.html "The Negotiation Methods"; RFC 2295, RFC 2296
class Negotiation {
 public:
  struct Fields {
    std::string_view accept, language, encoding, charset;  ///< data() == nullptr: missing
    std::string_view negotiate, user_agent;
  };
  /// @param fields  views are not kept
  explicit Negotiation(const Fields& fields);

  std::vector<Variant> variants;
  std::vector<std::string> priority;  ///< LanguagePriority
  unsigned force = kForcePrefer;
  std::string preferred_language;  ///< the variable prefer-language; "" = not set

  /// @param is_get          transparent negotiation is for GET and HEAD
  /// @param prefer_scripts  something was sent to it: a program is wanted
  /// @return the chosen one; null: none can be accepted, or the client wants to choose (wants_list)
  Variant* Choose(bool is_get, bool has_path_info, bool prefer_scripts);

  // After Choose():
  bool is_transparent() const { return is_transparent_; }
  bool wants_list() const { return is_transparent_ && supports_transparent_; }  ///< 300 instead of 406
  std::string Vary() const;                                                     ///< "" = nothing
  std::string Alternates() const;                                               ///< "" = not asked for
  std::string ListHtml() const;                                                 ///< for the pages of 300 and 406

 private:
  void ReadNegotiate();
  void AddDefaultAccepts(bool prefer_scripts);
  Variant* BestMatch(const std::string* language);
  void RateType(Variant& variant) const;
  void RateLanguage(Variant& variant) const;
  void ForceLanguage(Variant& variant) const;
  void RateEncoding(Variant& variant) const;
  void RateCharset(Variant& variant) const;
  bool IsBetter(const Variant& variant, const Variant* best, float& best_quality) const;
  bool IsBetterRemotely(const Variant& variant, const Variant* best, float& best_quality) const;

  std::optional<std::vector<AcceptItem>> accept_, language_, encoding_, charset_;
  std::string negotiate_, user_agent_;
  bool has_negotiate_ = false;
  bool says_quality_ = false;  ///< Accept holds a q below 1: wildcards mean what they say
  bool is_transparent_ = false;
  bool supports_transparent_ = false;
  bool send_alternates_ = false;
  bool may_choose_ = true;
  bool remote_rules_ = false;     ///< RVSA/1.0
  bool takes_literally_ = false;  ///< no help for what browsers leave out
  float no_language_quality_ = 1.0F;
};

/// The variants of a type map. @return nullopt: it cannot be read, `problem` says why
/// @param name  of the map itself: what a variant with a Body is called
std::optional<std::vector<Variant>> ParseTypeMap(std::string_view text, std::string_view name, std::string& problem);

}  // namespace httpd::modules::negotiation
