// What one request takes from the heap, counted: the whole server but its parent, with a log, on one loop.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <thread>

#include "handler_fixture.h"
#include "httpd/net/event_loop.h"
#include "os/socket.h"
#include "tests/httpd/net/http2_client.h"

namespace {

std::atomic<uint64_t> allocations{0};
thread_local bool is_counting = false;

void Count() {
  if (is_counting) allocations.fetch_add(1, std::memory_order_relaxed);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSeesMalloc = false;  // it is the sanitizer's
#else
constexpr bool kSeesMalloc = true;
#endif

void* Allocate(std::size_t size) {
  if (!kSeesMalloc) Count();
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// What libraries take in C is counted too.
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* malloc(std::size_t size) {
  Count();
  return __libc_malloc(size);
}
#endif

void* operator new(std::size_t size) {
  return Allocate(size);
}
void* operator new[](std::size_t size) {
  return Allocate(size);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace httpd::modules {
namespace {

constexpr int kRequests = 5000;
/// The clock, the answers that are looked at anew, tables that grow once: per second, never per request.
constexpr uint64_t kNotPerRequest = 50;

class Allocations : public HandlerTest {
 protected:
  Allocations() {
    open_file_cache_ = 4096;
    // The source tree: its files were not changed a moment ago.
    Configure("DocumentRoot " BATON_SOURCE_DIR "\nMaxKeepAliveRequests 0\nCustomLog " + root() +
              "/access_log \"%h %l %u %t \\\"%r\\\" %>s %b \\\"%{Referer}i\\\" \\\"%{User-Agent}i\\\"\"\n"
              "Protocols h2c http/1.1\n<Directory " BATON_SOURCE_DIR ">\nRequire all granted\n</Directory>");
    handler_.reset();
    handler_ = std::make_unique<Handler>(*site_, *board_);
    listener_ = os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", 0).value(), 128).value();
    const auto address = os::SocketAddress::OfSocket(listener_).value();
    net::EventLoop::Setup setup;
    port_ = address.port();
    setup.listeners.push_back({listener_.get(), port_, false});
    setup.slot = &board_->loop(board_->Claim(0, 0, 8).value());
    loop_ = std::make_unique<net::EventLoop>(std::move(setup), *handler_);
    EXPECT_TRUE(loop_->Open());
    loop_->SetAccepting(true);
    thread_ = std::thread([this] {
      is_counting = true;
      loop_->Run();
      is_counting = false;
    });
    client_ = os::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(client_.get(), address.raw(), sizeof(sockaddr_in)), 0);
  }

  ~Allocations() override {
    loop_->Post([this] { loop_->StopNow(); });
    thread_.join();
    loop_.reset();
  }

  /// One exchange; the answer's head, without the body.
  std::string Exchange(const std::string& request) {
    EXPECT_EQ(::send(client_.get(), request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    size_t have = 0;
    size_t end = std::string::npos;
    while (end == std::string::npos && have < buffer_.size()) {
      const ssize_t n = ::recv(client_.get(), buffer_.data() + have, buffer_.size() - have, 0);
      if (n <= 0) return "";
      have += static_cast<size_t>(n);
      end = std::string_view(buffer_.data(), have).find("\r\n\r\n");
    }
    const std::string head(buffer_.data(), end);
    const size_t at = head.find("Content-Length: ");
    size_t left = at == std::string::npos ? 0 : std::strtoul(head.c_str() + at + 16, nullptr, 10);
    if (request.starts_with("HEAD") || head.find(" 304 ") != std::string::npos) left = 0;
    left -= std::min(left, have - end - 4);
    while (left > 0) {
      const ssize_t n = ::recv(client_.get(), buffer_.data(), std::min(left, buffer_.size()), 0);
      if (n <= 0) return "";
      left -= static_cast<size_t>(n);
    }
    return head;
  }

  void ExpectNonePer(const std::string& request, const std::string& status) {
    for (int i = 0; i < 20; ++i) ASSERT_EQ(Exchange(request).substr(9, 3), status);
    const uint64_t before = allocations;
    for (int i = 0; i < kRequests; ++i) Exchange(request);
    EXPECT_LT(allocations - before, kNotPerRequest) << "for " << kRequests << " of " << request;
  }

  void ExpectNonePerStream(const std::string& path, int at_once) {
    net::Http2Client client(port_);
    const auto ask = [&] {
      std::vector<int32_t> streams;
      for (int i = 0; i < at_once; ++i) streams.push_back(client.Ask(path));
      ASSERT_TRUE(client.UntilComplete(streams.back()));
      for (const int32_t stream : streams) ASSERT_EQ(client.Of(stream).status, 200);
    };
    for (int i = 0; i < 3; ++i) ask();
    const uint64_t before = allocations;
    for (int i = 0; i < kRequests / at_once; ++i) ask();
    EXPECT_LT(allocations - before, kNotPerRequest) << "for " << kRequests << " of " << path;
  }

  os::Fd listener_;
  uint16_t port_ = 0;
  os::Fd client_;
  std::unique_ptr<net::EventLoop> loop_;
  std::thread thread_;
  std::array<char, 65536> buffer_{};
};

TEST_F(Allocations, AreNotMadeForASmallFile) {
  ExpectNonePer("GET /LICENSE HTTP/1.1\r\nHost: a\r\nUser-Agent: Fox/1.0 (a long name of a browser)\r\n\r\n", "200");
}

TEST_F(Allocations, AreNotMadeForALargeFile) {
  ExpectNonePer("GET /README.md HTTP/1.1\r\nHost: a\r\n\r\n", "200");
}

TEST_F(Allocations, AreNotMadeForAClientThatHasTheFile) {
  const std::string head = Exchange("HEAD /LICENSE HTTP/1.1\r\nHost: a\r\n\r\n");
  const size_t at = head.find("ETag: ") + 6;
  ExpectNonePer(
      "GET /LICENSE HTTP/1.1\r\nHost: a\r\nIf-None-Match: " + head.substr(at, head.find('\r', at) - at) + "\r\n\r\n",
      "304");
}

TEST_F(Allocations, AreNotMadeForAStreamOfHttp2) {
  ExpectNonePerStream("/CMakePresets.json", 50);
}

TEST_F(Allocations, AreNotMadeForALargeFileOverHttp2) {
  ExpectNonePerStream("/README.md", 1);
}

}  // namespace
}  // namespace httpd::modules
