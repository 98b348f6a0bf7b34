#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "httpd/net/event_loop.h"
#include "tests/httpd/modules/handler_fixture.h"
#include "tests/httpd/net/loop_fixture.h"
#include "tests/support/scripted_server.h"

namespace httpd::modules {

/// A loop with the real handler before scripted backends.
class ProxyTest : public HandlerTest {
 protected:
  using Script = support::ScriptedServer::Script;
  ~ProxyTest() override { StopServing(); }

  /// Connections of the backend, one after the other, run these scripts; others are closed at once.
  void Backend(std::vector<Script> scripts);
  std::string BackendUrl() const { return "http://" + backend_->address().Text(); }

  /// Configures and serves.
  void Serve(const std::string& text);
  void StopServing();
  uint16_t port() const { return port_; }
  net::EventLoop& loop() { return *loop_; }
  void Do(const std::function<void(net::EventLoop&)>& order);

  /// One request on a connection of its own; the head says Host.
  std::string Fetch(const std::string& line, const std::string& fields = "", const std::string& body = "");

  std::unique_ptr<support::ScriptedServer> backend_;
  std::vector<std::string> seen_;  ///< heads that reached the backend, when scripts note them

 private:
  std::unique_ptr<net::LoopSlot> slot_;
  os::Fd listener_;
  uint16_t port_ = 0;
  std::unique_ptr<net::EventLoop> loop_;
  std::thread thread_;
};

}  // namespace httpd::modules
