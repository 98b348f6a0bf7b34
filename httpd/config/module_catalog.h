#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/directives.h"

namespace httpd::config {

/// What `LoadModule` of a module means here.
enum class ModuleRole {
  kBuiltIn,    ///< one of BuiltInModules()
  kByTheCore,  ///< Apache needs a module for what this server does by itself, or does not need at all: accepted
  kMissing,    ///< a module of Apache 2.4 that this server does not have
  kUnknown     ///< nobody's
};

/// @param identifier  as in LoadModule: "headers_module"
ModuleRole RoleOf(std::string_view identifier);

/// "Cannot load FILE into server: ...", with what to do instead. For kMissing and kUnknown.
std::string CannotLoad(const std::string& identifier, const std::string& file);

/// What is to be said about a module that is accepted; "" = nothing.
std::string NoticeOf(std::string_view identifier);

/// Whether <IfModule NAME> holds, by Apache's rule: a module is there when LoadModule has loaded it, or when it needs
/// no loading. Every module of this server is compiled in, but a configuration that loads modules means that the others
/// are off (its <IfModule mod_cgi.c> must not begin to run programs). So all of them are there as long as nothing was
/// loaded; after that the loaded ones and those that Apache's usual builds have compiled in.
/// @param name    "headers_module" or "mod_headers.c"
/// @param loaded  identifiers, as LoadModule named them
bool IsModuleThere(std::string_view name, const std::vector<std::string>& loaded);

}  // namespace httpd::config
