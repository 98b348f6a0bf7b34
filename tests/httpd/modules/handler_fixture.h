#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "httpd/modules/handler.h"

namespace httpd::modules {

/// A handler with a private document root (`root()`, below it `www/`), configured by Apache's directives. Requests are
/// answered without a socket.
class HandlerTest : public testing::Test {
 protected:
  struct Answer {
    int status = 0;
    std::string fields;
    std::string body;  ///< from memory or from the file's parts
    bool without_body = false;
    uint64_t content_length = 0;
    bool close = false;
    bool is_produced = false;  ///< the body came from a source
    bool is_cut = false;       ///< ... which failed, or waits for somebody
    uint64_t rate_limit = 0;
    uint64_t rate_burst = 0;
  };
  HandlerTest();
  ~HandlerTest() override;

  const std::string& root() const { return root_; }
  void Write(const std::string& name, const std::string& content);
  /// Replaces the configuration: `text` follows ServerRoot, Listen, DocumentRoot and logs.
  void Configure(const std::string& text);
  Answer Ask(const std::string& method, const std::string& target, const std::string& fields = "",
             const std::string& client = "192.0.2.1", uint16_t local_port = 8080);
  Answer Get(const std::string& target, const std::string& fields = "") { return Ask("GET", target, fields); }
  Answer AskBad(const std::string& method, int status);
  std::string ErrorLog();

  size_t open_file_cache_ = 0;  ///< of the next Configure(): off, so that a file counts as soon as it was written
  std::optional<std::chrono::system_clock::time_point> now_;  ///< when requests arrive; nullopt: now
  std::unique_ptr<net::Scoreboard> board_;
  config::ServerConfig config_;
  std::unique_ptr<log::LogSet> logs_;
  std::unique_ptr<Site> site_;
  std::unique_ptr<Handler> handler_;

 private:
  static Answer AnswerOf(Handler& handler, const net::Request& request, bool finishes);
  /// An answer that would be kept is the same when it is given again: whatever a test asks for.
  void ExpectTheSameAgain(const net::Request& request, const Answer& answer);
  std::string root_;
};

/// What is wrong with a configuration; fails the test when nothing is.
std::string ComplaintOf(const std::string& text);

/// A configuration from text; fails the test when it cannot be read.
config::ServerConfig ConfigFrom(const std::string& text);

}  // namespace httpd::modules
