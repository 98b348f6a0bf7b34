#include <filesystem>

#include "tests/e2e/server.h"

namespace {

using e2e::Connection;
using e2e::GetRequest;

/// Rules that ask for names, under the whole server: the first request waits for the answer, the others find it.
class NameRules : public e2e::Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    std::filesystem::create_directories(root_ / "cgi");
    e2e::WriteFile(root_ / "cgi" / "cat", "#!/bin/sh\necho \"Content-Length: $((CONTENT_LENGTH + 0))\"; echo; cat\n");
    std::filesystem::permissions(root_ / "cgi" / "cat", std::filesystem::perms(0755));
    Settings settings;
    settings.more = "ScriptAlias /cgi/ \"" + (root_ / "cgi").string() +
                    "/\"\n<Location /index.html>\nRequire host localhost\n</Location>\n"
                    "<Location /cgi/>\nRequire forward-dns localhost\n</Location>\n"
                    "<Location /other>\nRequire host other.example\n</Location>\n"
                    "<Location /not>\n<RequireAll>\nRequire all granted\nRequire not host localhost\n</RequireAll>\n"
                    "</Location>\n<Location /old>\nOrder Allow,Deny\nAllow from localhost\n</Location>\n";
    Configure(settings);
    if (!HasFatalFailure()) Start();
  }
};

TEST_F(NameRules, DecideForRequestsOneAfterAnotherAndSentAtOnce) {
  const std::string requests =
      GetRequest("/index.html") + GetRequest("/other") + GetRequest("/not") + GetRequest("/old") +
      "POST /cgi/cat HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + GetRequest("/index.html");
  auto client = Connection::Open(port_);
  ASSERT_TRUE(client);
  for (int round = 0; round < 2; ++round) {  // names are asked for, and known
    ASSERT_TRUE(client->Send(requests));
    for (const int status : {200, 403, 403, 404, 200, 200}) {
      const auto answer = client->Read();
      ASSERT_TRUE(answer) << client->Why();
      EXPECT_EQ(answer->status, status) << answer->body;
      if (answer->headers.contains("content-type")) continue;
      EXPECT_EQ(answer->body, "hello");
    }
  }
  EXPECT_EQ(e2e::CountOf(ErrorLog(), "AH01630"), 4U) << "no line for a request that only waits";
}

TEST_F(NameRules, KeepTheBodyForTheProgramThatWillTakeIt) {
  for (const size_t size : {size_t{0}, size_t{5}, size_t{3} << 20}) {
    const std::string body(size, 'x');
    auto client = Connection::Open(port_);
    ASSERT_TRUE(client);
    ASSERT_TRUE(client->Send("POST /cgi/cat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
                             std::to_string(size) + "\r\n\r\n"));
    ASSERT_TRUE(client->Send(body));
    const auto answer = client->Read();
    ASSERT_TRUE(answer) << client->Why();
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body.size(), size);
  }
}

}  // namespace
