#pragma once

#include "httpd/modules/module.h"

namespace httpd::modules {

extern const Module kEnv;       ///< SetEnv, PassEnv, UnsetEnv
extern const Module kExpires;   ///< Expires and Cache-Control: max-age by media type
extern const Module kHeaders;   ///< Header, RequestHeader
extern const Module kSetEnvIf;  ///< SetEnvIf, BrowserMatch

}  // namespace httpd::modules
