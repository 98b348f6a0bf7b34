#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/directives.h"

namespace httpd::config {

/// A decimal number with an optional sign, and nothing around it.
std::optional<long long> Number(std::string_view text);

/// Any int from `least` up, for numbers that are corrected when all is read; beyond int they are as wrong as letters.
Complaint TakeInt(const Node& node, const std::string& word, int least, int& out);

/// 5, 5s, 500ms, 2min, 1h. Source  server/util.c ap_timeout_parameter_parse
std::optional<int> Milliseconds(const std::string& text);

/// Numeric addresses without brackets.
bool IsIpv4(const std::string& text);
bool IsIpv6(const std::string& text);

/// 1..65535
std::optional<uint16_t> Port(std::string_view text);

/// On or Off.
Complaint TakeFlag(const Node& node, const std::string& word, bool& out);

/// "/a/b//" is "/a/b"; "/" stays.
std::string WithoutTrailingSlash(std::string path);

/// Number of a facility of syslog(3), not shifted: "daemon" is 3, "local7" is 23.
std::optional<int> SyslogFacility(std::string_view name);

/// For directives that have nothing to set here: accepted, and the first of each name is told about, with what the
/// directive's `about` says.
Complaint SetMeaningless(Builder& builder, Scope& scope, const Node& node, const std::vector<std::string>& words);

/// What ErrorLog and CustomLog write to: a file, a program or syslog.
Complaint TakeLogTarget(Builder& builder, const Node& node, const std::string& word, LogTarget& out);

}  // namespace httpd::config
