#pragma once

#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "httpd/modules/access_log.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/core_settings.h"
#include "httpd/modules/pipeline.h"
#include "httpd/modules/site.h"
#include "httpd/net/exchange.h"
#include "httpd/net/scoreboard.h"

namespace httpd::modules {

/// What one loop needs to answer: the site, the pipeline, its own log buffers and caches.
class Handler final : public net::RequestHandler {
 public:
  /// @param site, board  must outlive the handler
  Handler(const Site& site, const net::Scoreboard& board);
  ~Handler() override;

  void Handle(const net::Request& request, net::Response& response) override;
  void Resume(const net::Request& request, net::Response& response, bool is_late) override;
  void HandleBad(const net::Request& request, int status, const char* reason, net::Response& response) override;
  void Keep(const net::Request& request, net::Response& response) override;
  void Finish(const net::Request& request, const net::Response& response, const net::Outcome& outcome) override;
  bool EndTurn() override {
    answers_.EndTurn();
    return logs_.EndTurn();
  }
  std::string_view ServerName() const override { return site_.server_name(); }
  int FirstTimeoutMs() const override { return site_.config().main.timeout_ms; }
  int IdleTimeoutMs() const override { return idle_timeout_ms_; }
  net::ReadTimeout ReadTimeoutOf(const net::Request& request, bool body) const override;
  net::ReadTimeout HandshakeTimeoutOf(const net::Request& request) const override;
  uint64_t LostLogLines() const override { return logs_.lost_lines(); }
  uint64_t BodyLimit() const override { return kDefaultBodyLimit; }
  const http::HeadLimits& Limits() const override { return limits_; }
  const net::Http2Terms& Http2Of(const net::Request& request) const override;
  const AnswerCache& answers() const { return answers_; }

 private:
  /// A state for a request, with its host. It goes with the response, which gives it back.
  RequestState& Begin(const net::Request& request, net::Response& response);

  const Site& site_;
  Pipeline pipeline_;
  std::shared_ptr<StatePool> states_;
  http::HeadLimits limits_;
  std::vector<net::Http2Terms> http2_;  ///< of the hosts
  int idle_timeout_ms_ = 0;             ///< the longest KeepAliveTimeout of all hosts
  AnswerCache answers_;
  AccessLogs logs_;
};

}  // namespace httpd::modules
