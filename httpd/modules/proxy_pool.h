#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "httpd/modules/proxy_settings.h"
#include "httpd/modules/proxy_tls.h"
#include "httpd/net/reactor.h"
#include "os/fd.h"
#include "os/socket.h"

namespace httpd::modules::proxy {

class Exchange;
class Pool;

/// How a backend is to be reached over TLS.
struct TlsPlace {
  const TlsContext* context = nullptr;  ///< null: without
  std::string name;                     ///< that its certificate must have
};

/// One connection to a backend. While nobody uses it, the pool watches it: who closes it or sends anything then loses
/// it.
struct Link final : SessionKeeper {
  Link() = default;
  ~Link() override;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// As recv(2).
  ssize_t Receive(char* to, size_t most);
  /// As send(2), of the first bytes of both together.
  ssize_t Send(std::string_view first, std::string_view second);
  /// No more will be sent.
  void Finish();
  /// Whether the backend has neither closed it nor sent anything. What is no answer (session tickets) is taken.
  bool IsQuiet();
  /// Whether Receive() has something to say that no readiness of the socket will announce.
  bool has_buffered() const { return tls && tls->has_buffered(); }
  /// Begins with TLS, which the handshake has to follow.
  void BeginTls();
  void KeepSession(ssl_session_st* session) override;

  os::Fd fd;
  std::unique_ptr<net::TlsStream> tls;      ///< null: plain, or it has not begun
  const TlsContext* tls_context = nullptr;  ///< null: plain
  std::string tls_name;                     ///< whose certificate it is
  Pool* pool = nullptr;
  std::unique_ptr<net::Watch> watch;
  std::shared_ptr<const Worker> worker;
  Exchange* user = nullptr;  ///< null: idle
  uint64_t idle_since_ms = 0;
};

/// What one loop has of connections to backends. When the loop leaves, those that are idle are closed, the others when
/// their requests are done.
class Pool {
 public:
  static constexpr size_t kScratchBytes = 64U << 10;

  static Pool& Of(net::Reactor& reactor);
  explicit Pool(net::Reactor& reactor);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// An idle connection, the one that was used last; null: there is none. Where max= leaves no room for a new one, one
  /// that was set up for another name gives way.
  std::unique_ptr<Link> TakeIdle(const Worker& worker, const TlsPlace& tls = {});

  /// Whether max= allows one more.
  bool HasRoom(const Worker& worker) const;

  /// A socket that is being connected, watched for EPOLLOUT, or connected already, watched for EPOLLIN.
  /// @param is_connected  set
  /// @return what socket(2), bind(2) or connect(2) say
  os::Result<std::unique_ptr<Link>> Connect(std::shared_ptr<const Worker> worker, const os::SocketAddress& address,
                                            int receive_buffer, bool& is_connected, const TlsPlace& tls = {});

  /// Gives a connection back.
  /// @param is_reusable  false: it is closed
  void Release(std::unique_ptr<Link> link, bool is_reusable);

  /// `exchange` is told when a connection may be free; until Leave().
  void Wait(const Worker& worker, Exchange& exchange);
  void Leave(const Worker& worker, const Exchange& exchange);

  std::shared_ptr<Exchange> NewExchange();

  net::Reactor& reactor() { return reactor_; }
  char* scratch() { return scratch_.get(); }  ///< kScratchBytes, for anybody until they return

 private:
  static constexpr size_t kMostSpare = 64;
  static constexpr size_t kMostSessions = 100;  ///< of a backend: with ProxyPreserveHost clients say the names
  struct PerWorker {
    std::vector<std::unique_ptr<Link>> idle;
    size_t open = 0;
    std::deque<Exchange*> waiting;
    std::map<std::pair<const TlsContext*, std::string>, TlsSession> sessions;  ///< TLS: the last one of each place
  };
  friend struct Link;
  void OnReady(Link* link, uint32_t events);
  void Closed(const Worker& worker);
  void CloseOld();
  /// Closes those that have been idle for `ttl_ms`, the longest idle first, down to `kept`.
  void CloseAbove(PerWorker& of, size_t kept, uint64_t ttl_ms);

  net::Reactor& reactor_;
  std::unique_ptr<char[]> scratch_;
  std::unordered_map<const Worker*, PerWorker> workers_;
  std::vector<std::unique_ptr<Exchange>> spare_;
  std::unique_ptr<net::Timer> closing_;
  bool is_leaving_ = false;
};

}  // namespace httpd::modules::proxy
