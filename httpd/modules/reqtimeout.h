#pragma once

#include "httpd/config/module_slots.h"
#include "httpd/net/exchange.h"

namespace httpd::modules {

/// What RequestReadTimeout says where `slots` holds; Apache's defaults where it says nothing.
/// @param body  of the body, otherwise of the head
net::ReadTimeout ReadTimeoutOf(const config::ModuleSlots& slots, bool body);

/// ... of a TLS handshake: what is not said is that of the head.
net::ReadTimeout HandshakeTimeoutOf(const config::ModuleSlots& slots);

}  // namespace httpd::modules
