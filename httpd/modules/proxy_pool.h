#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "httpd/modules/proxy_settings.h"
#include "httpd/net/reactor.h"
#include "os/fd.h"
#include "os/socket.h"

namespace httpd::modules::proxy {

class Exchange;

/// One connection to a backend. While nobody uses it, the pool watches it: who closes it or sends anything then loses
/// it.
struct Link {
  os::Fd fd;
  std::unique_ptr<net::Watch> watch;
  std::shared_ptr<const Worker> worker;
  Exchange* user = nullptr;  ///< null: idle
  uint64_t idle_since_ms = 0;
};

/// What one loop has of connections to backends.
class Pool {
 public:
  static constexpr size_t kScratchBytes = 64U << 10;

  static Pool& Of(net::Reactor& reactor);
  explicit Pool(net::Reactor& reactor);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// An idle connection, the one that was used last; null: there is none.
  std::unique_ptr<Link> TakeIdle(const Worker& worker);

  /// Whether max= allows one more.
  bool HasRoom(const Worker& worker) const;

  /// A socket that is being connected, watched for EPOLLOUT, or connected already, watched for EPOLLIN.
  /// @param is_connected  set
  /// @return what socket(2), bind(2) or connect(2) say
  os::Result<std::unique_ptr<Link>> Connect(std::shared_ptr<const Worker> worker, const os::SocketAddress& address,
                                            int receive_buffer, bool& is_connected);

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
  struct PerWorker {
    std::vector<std::unique_ptr<Link>> idle;
    size_t open = 0;
    std::deque<Exchange*> waiting;
  };
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
};

}  // namespace httpd::modules::proxy
