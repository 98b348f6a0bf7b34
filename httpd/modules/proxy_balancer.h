#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/modules/proxy_settings.h"

namespace httpd::modules::proxy {

/// What a request says of the member that it wants.
struct Session {
  std::string id;     ///< whole value of the cookie or parameter; "" = none
  std::string route;  ///< behind the separator; "" = none
  bool is_cookie = false;
};

/// The session of a request, where the balancer is sticky.
/// @param url      path and query as they were sent: a parameter there comes before the cookie
/// @param cookies  values of all Cookie fields, as one list with "; " between them
Session FindSession(const Balancer& balancer, std::string_view url, std::string_view cookies);

/// A member in error is one again when its retry time is over; the next request finds out whether it is back.
bool IsUsable(const Worker& worker, int64_t now_ms);

struct Choice {
  std::shared_ptr<Worker> worker;  ///< null: nobody is left
  bool is_by_route = false;
  bool is_bound = false;  ///< nobody else may be asked: nofailover
};

/// The member that a request goes to; it counts as elected.
/// @param tried  those that have failed for this request
Choice Choose(const Balancer& balancer, const Session& session, const std::vector<const Worker*>& tried,
              int64_t now_ms);

}  // namespace httpd::modules::proxy
