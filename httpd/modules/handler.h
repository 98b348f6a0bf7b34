#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "httpd/log/log_stream.h"
#include "httpd/modules/module.h"
#include "httpd/modules/site.h"
#include "httpd/modules/static_file.h"
#include "httpd/net/exchange.h"
#include "httpd/net/scoreboard.h"

namespace httpd::modules {

/// What one loop needs to answer: the site, its own log buffers and caches.
class Handler final : public net::RequestHandler {
 public:
  /// @param site, board  must outlive the handler
  Handler(const Site& site, const net::Scoreboard& board);
  ~Handler() override;

  void Handle(const net::Request& request, net::Response& response) override;
  void HandleBad(const net::Request& request, int status, const char* reason, net::Response& response) override;
  void Finish(const net::Request& request, const net::Response& response, const net::Outcome& outcome) override;
  bool EndTurn() override;
  std::string_view ServerName() const override { return site_.server_name(); }
  int FirstTimeoutMs() const override { return site_.config().main.timeout_ms; }
  int IdleTimeoutMs() const override { return idle_timeout_ms_; }
  uint64_t LostLogLines() const override;
  uint64_t BodyLimit() const override { return static_cast<uint64_t>(site_.config().limit_request_body); }
  const http::HeadLimits& Limits() const override { return limits_; }

 private:
  struct Target {
    int host = 0;
    std::string path;  ///< decoded, starts with '/'
    std::string file;  ///< in the file system
    std::string root;  ///< DocumentRoot or an Alias target: `file` starts with it
  };
  void Answer(const net::Request& request, Target& target, net::Response& response);
  int SelectHost(const net::Request& request) const;
  void ApplyHost(int host, net::Response& response) const;
  const Effective& Settings(const Target& target);
  void RunEarly(const net::Request& request, int host, net::Response& response);
  /// The settings of the file are known: modules see them, and may change what the request says.
  void RunFixups(const Effective& settings, std::string_view path);
  /// The answer stands. `target` is what was asked for.
  void RunOutput(const Target& target);
  bool Redirected(const net::Request& request, const Target& target, net::Response& response);
  void MapToFile(Target& target) const;
  void ServeFile(const net::Request& request, Target& target, const Effective& settings, net::Response& response);
  /// Turns a 412 or 416 of ServeOpenedFile() into its error page.
  void FailedCondition(const net::Request& request, const Target& target, net::Response& response);
  /// Answers for a directory without index: its listing, or 403.
  void ServeDirectory(const net::Request& request, const Target& target, const Effective& settings,
                      OpenedFile directory, bool index_denied, net::Response& response);
  std::string Allow(int host) const;
  std::string Signature(const net::Request& request, int host) const;
  void Fail(const net::Request& request, const Target& target, int status, net::Response& response);
  void RedirectTo(const net::Request& request, const Target& target, int status, std::string location,
                  net::Response& response);
  /// scheme://host[:port] that the client used, or the configured name.
  std::string Origin(const net::Request& request, int host) const;
  void LogError(int host, config::LogLevel level, std::string_view module, std::string text,
                const net::Request& request);

  const Site& site_;
  const net::Scoreboard& board_;
  http::HeadLimits limits_;
  int idle_timeout_ms_ = 0;  ///< the longest KeepAliveTimeout of all hosts
  std::vector<std::unique_ptr<log::LogStream>> streams_;
  std::unordered_map<const log::LogSink*, log::LogStream*> by_sink_;
  std::unordered_map<std::string, std::unique_ptr<Effective>> settings_;
  std::string settings_key_;
  Target target_;
  RequestState state_;
  net::Request seen_;  ///< the request as the modules left it
  std::string line_;
  int error_depth_ = 0;   ///< 1 while an ErrorDocument is looked for
  int error_status_ = 0;  ///< ... for this status
};

}  // namespace httpd::modules
