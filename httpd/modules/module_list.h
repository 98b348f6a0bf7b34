#pragma once

#include "httpd/modules/module.h"

namespace httpd::modules {

extern const Module kAccessCompat;    ///< Order, Allow, Deny, Satisfy
extern const Module kActions;         ///< Action, Script
extern const Module kAlias;           ///< Alias, Redirect
extern const Module kAllowMethods;    ///< AllowMethods
extern const Module kAsIs;            ///< files with their own header fields
extern const Module kAuthBasic;       ///< Basic authentication
extern const Module kAuthDigest;      ///< Digest authentication
extern const Module kAuthnCore;       ///< AuthType, AuthName
extern const Module kAuthnFile;       ///< AuthUserFile
extern const Module kAuthzCore;       ///< Require
extern const Module kAuthzGroupFile;  ///< AuthGroupFile, Require group
extern const Module kAuthzHost;       ///< Require ip, local
extern const Module kAuthzOwner;      ///< Require file-owner
extern const Module kAuthzUser;       ///< Require user, valid-user
extern const Module kAutoindex;       ///< listings
extern const Module kBrotli;          ///< BROTLI_COMPRESS
extern const Module kCgi;             ///< CGI programs
extern const Module kByBusyness;      ///< lbmethod=bybusyness
extern const Module kByRequests;      ///< lbmethod=byrequests
extern const Module kByTraffic;       ///< lbmethod=bytraffic
extern const Module kCgid;            ///< CGI programs by another name
extern const Module kCore;            ///< files
extern const Module kDeflate;         ///< DEFLATE, INFLATE
extern const Module kDir;             ///< DirectoryIndex, the missing slash
extern const Module kEnv;             ///< SetEnv, PassEnv, UnsetEnv
extern const Module kExpires;         ///< Expires and Cache-Control: max-age by media type
extern const Module kFilter;          ///< SetOutputFilter, AddOutputFilterByType, FilterChain
extern const Module kHeaders;         ///< Header, RequestHeader
extern const Module kHttp2;           ///< H2..., with httpd/net/http2.h
extern const Module kInfo;            ///< server-info
extern const Module kLogio;           ///< LogIOTrackTTFB
extern const Module kMime;            ///< what a file's extensions say
extern const Module kNegotiation;     ///< MultiViews, type maps
extern const Module kPrecompressed;   ///< FILE.br, FILE.zst, FILE.gz for FILE
extern const Module kProxy;           ///< ProxyPass
extern const Module kProxyBalancer;   ///< balancer://
extern const Module kProxyHttp;       ///< http://
extern const Module kProxyTunnel;     ///< ws://
extern const Module kRateLimit;       ///< RATE_LIMIT
extern const Module kRemoteip;        ///< the client's address behind proxies
extern const Module kReqTimeout;      ///< RequestReadTimeout
extern const Module kRewrite;         ///< RewriteRule
extern const Module kSetEnvIf;        ///< SetEnvIf, BrowserMatch
extern const Module kSsl;             ///< SSL...
extern const Module kSpeling;         ///< CheckSpelling
extern const Module kStatus;          ///< server-status
extern const Module kSubstitute;      ///< SUBSTITUTE
extern const Module kUniqueId;        ///< UNIQUE_ID
extern const Module kUserDir;         ///< UserDir
extern const Module kVhostAlias;      ///< VirtualDocumentRoot
extern const Module kZstd;            ///< ZSTD_COMPRESS

}  // namespace httpd::modules
