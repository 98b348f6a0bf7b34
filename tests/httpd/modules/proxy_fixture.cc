#include "tests/httpd/modules/proxy_fixture.h"

#include <future>

namespace httpd::modules {

void ProxyTest::Backend(std::vector<Script> scripts) {
  backend_ = std::make_unique<support::ScriptedServer>(std::move(scripts), [](support::Peer& peer) { peer.Close(); });
}

void ProxyTest::Serve(const std::string& text) {
  StopServing();
  Configure(text);
  auto address = os::SocketAddress::FromIp("127.0.0.1", 0);
  auto listener = os::ListenTcp(address.value(), 16);
  ASSERT_TRUE(listener) << listener.error().Text();
  listener_ = std::move(listener).value();
  port_ = os::SocketAddress::OfSocket(listener_).value().port();
  slot_ = std::make_unique<net::LoopSlot>();
  slot_->workers = 8;
  net::EventLoop::Setup setup;
  setup.listeners.push_back({listener_.get(), port_, false});
  setup.slot = slot_.get();
  loop_ = std::make_unique<net::EventLoop>(std::move(setup), *handler_);
  ASSERT_TRUE(loop_->Open());
  loop_->SetAccepting(true);
  thread_ = std::thread([this] { loop_->Run(); });
}

void ProxyTest::StopServing() {
  if (!loop_) return;
  loop_->Post([this] { loop_->StopNow(); });
  thread_.join();
  loop_.reset();
}

void ProxyTest::Do(const std::function<void(net::EventLoop&)>& order) {
  std::promise<void> done;
  loop_->Post([&] {
    order(*loop_);
    done.set_value();
  });
  done.get_future().wait();
}

std::string ProxyTest::Fetch(const std::string& line, const std::string& fields, const std::string& body) {
  net::Client client(port_);
  client.Send(line + " HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n" + fields + "\r\n" + body);
  return client.Read(1U << 24);
}

}  // namespace httpd::modules
