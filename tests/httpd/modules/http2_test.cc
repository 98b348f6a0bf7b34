#include <gmock/gmock.h>

#include "httpd/modules/http2.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;

TEST(Http2Directives, AreTheHostsOrTheServers) {
  const auto c = ConfigFrom(
      "Protocols h2 h2c http/1.1\nH2MaxSessionStreams 7\nH2WindowSize 5000\nH2StreamMaxMemSize 9000\nH2Padding 3\n"
      "H2MaxDataFrameLen 100\nH2StreamTimeout 5\n<VirtualHost *:1>\nProtocols h2\nH2Direct off\nH2Upgrade off\n"
      "H2MaxSessionStreams 9\nH2MaxStreamErrors 0\nH2MaxHeaderBlockLen 1000\n</VirtualHost>\n");
  const auto main = Http2TermsOf(c.main);
  EXPECT_TRUE(main.over_tls && main.over_plain && main.direct && main.upgrade);
  EXPECT_EQ(main.max_streams, 7u);
  EXPECT_EQ(main.window, 5000u);
  EXPECT_EQ(main.stream_memory, 9000u);
  EXPECT_EQ(main.padding_bits, 3);
  EXPECT_EQ(main.max_data_frame, 100u);
  EXPECT_EQ(main.stream_timeout_ms, 5000);
  EXPECT_EQ(main.max_stream_errors, 8u);
  const auto host = Http2TermsOf(c.virtual_hosts.at(0));
  EXPECT_TRUE(host.over_tls && !host.over_plain && !host.direct && !host.upgrade);
  EXPECT_EQ(host.max_streams, 9u);
  EXPECT_EQ(host.window, 5000u);
  EXPECT_EQ(host.max_stream_errors, 0u);
  EXPECT_EQ(host.max_header_block, 1000u);
  const auto none = Http2TermsOf(ConfigFrom("").main);
  EXPECT_FALSE(none.over_tls || none.over_plain);
  EXPECT_EQ(none.max_streams, 100u);
}

TEST(Http2Directives, SayWhatIsNotDone) {
  EXPECT_THAT(ComplaintOf("H2Push on\n"), HasSubstr("H2Push On is not supported: browsers have removed"));
  EXPECT_THAT(ComplaintOf("H2PushResource /a.css\n"), HasSubstr("H2PushResource is not supported"));
  EXPECT_THAT(ComplaintOf("H2EarlyHints on\n"), HasSubstr("H2EarlyHints On is not supported"));
  EXPECT_THAT(ComplaintOf("H2ProxyRequests on\n"), HasSubstr("is no forward proxy"));
  EXPECT_THAT(ComplaintOf("H2WindowSize 100\n"), HasSubstr("value must be >= 1024"));
  EXPECT_THAT(ComplaintOf("H2Padding 9\n"), HasSubstr("number of bits must be <= 8"));
  EXPECT_THAT(ComplaintOf("H2MaxSessionStreams many\n"), HasSubstr("'many' is no number"));
  EXPECT_THAT(ConfigFrom("H2Push off\nH2EarlyHints off\nH2MinWorkers 5\nH2MinWorkers 6\n").warnings,
              testing::Contains(HasSubstr("H2MinWorkers has no meaning here: streams are answered by the loop")));
}

}  // namespace
}  // namespace httpd::modules
