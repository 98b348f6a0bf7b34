#pragma once

#include "httpd/modules/module.h"

namespace httpd::modules {

extern const Module kAlias;       ///< Alias, Redirect
extern const Module kAuthzCore;   ///< Require
extern const Module kAutoindex;   ///< listings
extern const Module kCore;        ///< files
extern const Module kDir;         ///< DirectoryIndex, the missing slash
extern const Module kStatus;      ///< server-status
extern const Module kEnv;         ///< SetEnv, PassEnv, UnsetEnv
extern const Module kExpires;     ///< Expires and Cache-Control: max-age by media type
extern const Module kHeaders;     ///< Header, RequestHeader
extern const Module kReqTimeout;  ///< RequestReadTimeout
extern const Module kSetEnvIf;    ///< SetEnvIf, BrowserMatch

extern const Module kAsIs;         ///< files with their own header fields
extern const Module kMime;         ///< what a file's extensions say
extern const Module kNegotiation;  ///< MultiViews, type maps

}  // namespace httpd::modules
