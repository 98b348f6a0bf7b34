#pragma once

#include "httpd/modules/module.h"

namespace httpd::modules {

extern const Module kAlias;       ///< Alias, Redirect
extern const Module kRewrite;     ///< RewriteRule
extern const Module kSpeling;     ///< CheckSpelling
extern const Module kUserDir;     ///< UserDir
extern const Module kVhostAlias;  ///< VirtualDocumentRoot
extern const Module kAuthzCore;   ///< Require
extern const Module kAutoindex;   ///< listings
extern const Module kCore;        ///< files
extern const Module kDir;         ///< DirectoryIndex, the missing slash
extern const Module kStatus;      ///< server-status
extern const Module kEnv;         ///< SetEnv, PassEnv, UnsetEnv
extern const Module kExpires;     ///< Expires and Cache-Control: max-age by media type
extern const Module kHeaders;     ///< Header, RequestHeader
extern const Module kSetEnvIf;    ///< SetEnvIf, BrowserMatch

}  // namespace httpd::modules
