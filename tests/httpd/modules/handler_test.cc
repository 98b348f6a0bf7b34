#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "os/file.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

TEST_F(HandlerTest, AFileComesWithItsTypeAndValidators) {
  Write("www/a.txt", "content");
  const Answer answer = Get("/a.txt");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "content");
  EXPECT_THAT(answer.fields, HasSubstr("Content-Type: text/plain\r\n"));
  EXPECT_THAT(answer.fields, HasSubstr("Last-Modified: "));
  EXPECT_THAT(answer.fields, HasSubstr("ETag: W/\"7-")) << "it has just been written";
  EXPECT_THAT(answer.fields, HasSubstr("Accept-Ranges: bytes\r\n"));
}

TEST_F(HandlerTest, ALargeFileIsSentFromTheFile) {
  Write("www/large", std::string(100000, 'x'));
  EXPECT_EQ(Get("/large").body, std::string(100000, 'x'));
}

TEST_F(HandlerTest, HeadTellsTheLengthAndSendsNothing) {
  Write("www/large", std::string(100000, 'x'));
  Write("www/small", "12345");
  for (const auto& [target, length] : {std::pair("/large", 100000u), {"/small", 5u}}) {
    const Answer answer = Ask("HEAD", target);
    EXPECT_TRUE(answer.without_body) << target;
    EXPECT_EQ(answer.content_length, length);
    EXPECT_THAT(answer.body, IsEmpty());
  }
}

TEST_F(HandlerTest, HeadNeverGetsABodyWhateverGoesWrong) {
  Configure("Redirect /moved http://other.example/\n");
  for (const char* target : {"/none", "/%zz", "/a%2fb", "/moved"}) {
    const Answer answer = Ask("HEAD", target);
    EXPECT_TRUE(answer.without_body) << target;
    EXPECT_GT(answer.content_length, 0u) << target;
  }
  EXPECT_TRUE(AskBad("HEAD", 413).without_body);
}

TEST_F(HandlerTest, ConditionalRequestsAreHonoured) {
  Write("www/a.txt", "content");
  const std::string fields = Get("/a.txt").fields;
  const size_t at = fields.find("ETag: ") + 6;
  const std::string etag = fields.substr(at, fields.find("\r\n", at) - at);
  const Answer same = Get("/a.txt", "If-None-Match: " + etag + "\r\n");
  EXPECT_EQ(same.status, 304);
  EXPECT_TRUE(same.without_body);
  EXPECT_THAT(same.fields, HasSubstr("ETag: " + etag));
  EXPECT_EQ(Get("/a.txt", "If-None-Match: \"other\"\r\n").status, 200);
  EXPECT_EQ(Get("/a.txt", "If-Match: \"other\"\r\n").status, 412);
}

TEST_F(HandlerTest, RangesAreServed) {
  Write("www/a.txt", "0123456789");
  const Answer one = Get("/a.txt", "Range: bytes=2-4\r\n");
  EXPECT_EQ(one.status, 206);
  EXPECT_EQ(one.body, "234");
  EXPECT_THAT(one.fields, HasSubstr("Content-Range: bytes 2-4/10\r\n"));
  const Answer two = Get("/a.txt", "Range: bytes=0-0,9-9\r\n");
  EXPECT_EQ(two.status, 206);
  EXPECT_THAT(two.fields, HasSubstr("Content-Type: multipart/byteranges; boundary="));
  EXPECT_THAT(two.body, HasSubstr("Content-Range: bytes 9-9/10\r\n\r\n9\r\n--"));
  const Answer none = Get("/a.txt", "Range: bytes=50-\r\n");
  EXPECT_EQ(none.status, 416);
  EXPECT_THAT(none.fields, HasSubstr("Content-Range: bytes */10\r\n"));
  EXPECT_THAT(none.fields, HasSubstr("Content-Type: text/html"));
}

TEST_F(HandlerTest, ADirectoryIsServedByItsIndexAfterARedirectToItsSlash) {
  Write("www/d/index.html", "index");
  Answer answer = Get("/d?q=1");
  EXPECT_EQ(answer.status, 301);
  EXPECT_THAT(answer.fields, HasSubstr("Location: http://site.example/d/?q=1\r\n"));
  answer = Get("/d/");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "index");
  EXPECT_THAT(answer.fields, HasSubstr("Content-Type: text/html"));
}

TEST_F(HandlerTest, TheFirstIndexThatExistsIsTaken) {
  Write("www/second.html", "second");
  Write("www/third.html", "third");
  Configure("DirectoryIndex first.html second.html third.html\n");
  EXPECT_EQ(Get("/").body, "second");
}

TEST_F(HandlerTest, ADirectoryWithoutIndexIsForbiddenAndSaidSoInTheLog) {
  Configure("Options -Indexes\n");
  EXPECT_EQ(Get("/").status, 403);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01276: Cannot serve directory " + root() + "/www/: No matching DirectoryIndex"));
}

TEST_F(HandlerTest, WhatIsNotThereIs404AndAFileIsNoDirectory) {
  Write("www/a.txt", "content");
  EXPECT_EQ(Get("/none").status, 404);
  EXPECT_EQ(Get("/a.txt/").status, 404);
  EXPECT_EQ(Get("/a.txt/more").status, 404);
  EXPECT_EQ(Get("/a%2fb").status, 404);
  EXPECT_FALSE(Get("/a%2fb").close);
}

TEST_F(HandlerTest, APathThatCannotBeDecodedIs400) {
  EXPECT_EQ(Get("/%zz").status, 400);
  EXPECT_EQ(Get("/../../etc/passwd").status, 400);
  EXPECT_TRUE(Get("/%zz").close);
}

TEST_F(HandlerTest, MethodsThatAreNotServed) {
  Write("www/a.txt", "content");
  const Answer put = Ask("PUT", "/a.txt");
  EXPECT_EQ(put.status, 405);
  EXPECT_THAT(put.fields, HasSubstr("Allow: GET,HEAD,POST,OPTIONS,TRACE\r\n"));
  EXPECT_EQ(Ask("DELETE", "/a.txt").status, 405);
  EXPECT_EQ(Ask("BREW", "/a.txt").status, 501);
  EXPECT_EQ(Ask("POST", "/a.txt").body, "content");
}

TEST_F(HandlerTest, TraceEchoesUnlessItIsOff) {
  const Answer echo = Ask("TRACE", "/x", "X-Y: z\r\n");
  EXPECT_EQ(echo.status, 200);
  EXPECT_THAT(echo.fields, HasSubstr("message/http"));
  EXPECT_EQ(echo.body, "TRACE /x HTTP/1.1\r\nHost: site.example\r\nX-Y: z\r\n\r\n");
  Configure("TraceEnable Off\n");
  const Answer off = Ask("TRACE", "/x");
  EXPECT_EQ(off.status, 405);
  EXPECT_THAT(off.fields, HasSubstr("Allow: GET,HEAD,POST,OPTIONS\r\n"));
}

TEST_F(HandlerTest, OptionsNamesTheMethodsAndObeysRequire) {
  Write("www/secret/a", "");
  Configure("TraceEnable Off\n<Location /secret>\nRequire all denied\n</Location>\n");
  EXPECT_THAT(Ask("OPTIONS", "*").fields, HasSubstr("Allow: GET,HEAD,POST,OPTIONS\r\n"));
  EXPECT_EQ(Ask("OPTIONS", "/").status, 200);
  EXPECT_EQ(Ask("OPTIONS", "/secret/a").status, 403);
}

// ---------------------------------------------------------------------------------------------------- access

TEST_F(HandlerTest, RequireDeniesAndIsLogged) {
  Write("www/secret/a", "s");
  Configure("<Directory " + root() + "/www/secret>\nRequire all denied\n</Directory>\n");
  EXPECT_EQ(Get("/secret/a").status, 403);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01630: client denied by server configuration: " + root() + "/www/secret/a"));
}

TEST_F(HandlerTest, RequireByAddress) {
  Write("www/a", "s");
  Configure("<Location />\nRequire ip 10.0.0.0/8\n</Location>\n");
  EXPECT_EQ(Ask("GET", "/a", "", "10.1.2.3").status, 200);
  EXPECT_EQ(Ask("GET", "/a", "", "192.0.2.1").status, 403);
  Configure("<Location />\nRequire local\n</Location>\n");
  EXPECT_EQ(Ask("GET", "/a", "", "127.0.0.1").status, 200);
  EXPECT_EQ(Ask("GET", "/a", "", "192.0.2.1").status, 403);
}

TEST_F(HandlerTest, ANotVetoes) {
  Write("www/a", "s");
  Configure(
      "<Location />\n<RequireAll>\nRequire all granted\nRequire not ip 192.0.2.0/24\n</RequireAll>\n</Location>\n");
  EXPECT_EQ(Ask("GET", "/a", "", "10.1.2.3").status, 200);
  EXPECT_EQ(Ask("GET", "/a", "", "192.0.2.1").status, 403);
}

TEST_F(HandlerTest, SectionsMergeInApachesOrder) {
  Write("www/d/a.txt", "s");
  // Written in the wrong order on purpose: shorter directories first, then files, then locations.
  Configure(
      "<Location /d/a.txt>\nForceType x/location\n</Location>\n<Files a.txt>\nForceType x/files\n</Files>\n"
      "<Directory " +
      root() +
      "/www/d>\nForceType x/deep\n</Directory>\n"
      "<Directory " +
      root() + "/www>\nForceType x/shallow\n</Directory>\n");
  EXPECT_THAT(Get("/d/a.txt").fields, HasSubstr("Content-Type: x/location\r\n"));
  Configure("<Files a.txt>\nForceType x/files\n</Files>\n<Directory " + root() +
            "/www/d>\nForceType x/deep\n</Directory>\n");
  EXPECT_THAT(Get("/d/a.txt").fields, HasSubstr("Content-Type: x/files\r\n"));
  Configure("<Directory " + root() + "/www/d>\nForceType x/deep\n</Directory>\n<Directory " + root() +
            "/www>\nForceType x/shallow\n</Directory>\n");
  EXPECT_THAT(Get("/d/a.txt").fields, HasSubstr("Content-Type: x/deep\r\n"));
}

TEST_F(HandlerTest, ASectionEndsAtASegment) {
  Write("www/secrets", "public");
  Configure("<Location /secret>\nRequire all denied\n</Location>\n");
  EXPECT_EQ(Get("/secrets").status, 200);
  EXPECT_EQ(Get("/secret").status, 403);
  EXPECT_EQ(Get("//secret").status, 403);
  EXPECT_EQ(Get("/./secret").status, 403);
  EXPECT_EQ(Get("/%73ecret").status, 403);
}

TEST_F(HandlerTest, FilesProtectsADirectoryIndexToo) {
  Write("www/index.html", "s");
  Configure("<Files index.html>\nRequire all denied\n</Files>\n");
  EXPECT_EQ(Get("/").status, 403);
}

TEST_F(HandlerTest, AnAliasLeadsElsewhereAndItsSectionHolds) {
  Write("other/a.txt", "other");
  Write("other/secret/b", "secret");
  Configure("Alias /x " + root() + "/other\n<Directory " + root() +
            "/other/secret>\nRequire all denied\n</Directory>\n");
  EXPECT_EQ(Get("/x/a.txt").body, "other");
  EXPECT_EQ(Get("/xx/a.txt").status, 404);
  EXPECT_EQ(Get("/x/secret/b").status, 403);
}

TEST_F(HandlerTest, ASlashTooMuchInAnAliasDoesNotLeadPastASection) {
  Write("other/secret/b", "secret");
  Configure("Alias /x " + root() + "/other/\n<Directory " + root() +
            "/other/secret>\nRequire all denied\n</Directory>\n");
  EXPECT_EQ(Get("/x/secret/b").status, 403);
  Configure("Alias /x/ " + root() + "//other//\n<Directory " + root() +
            "/other/secret>\nRequire all denied\n</Directory>\n");
  EXPECT_EQ(Get("/x/secret/b").status, 403);
}

TEST_F(HandlerTest, RedirectsCarryTheRestAndTheQuery) {
  Configure("Redirect permanent /old http://other.example/new\nRedirect gone /gone\nRedirect /here /there\n");
  Answer answer = Get("/old/a%20b?q");
  EXPECT_EQ(answer.status, 301);
  EXPECT_THAT(answer.fields, HasSubstr("Location: http://other.example/new/a%20b?q\r\n"));
  EXPECT_EQ(Get("/gone").status, 410);
  answer = Get("/here");
  EXPECT_EQ(answer.status, 302);
  EXPECT_THAT(answer.fields, HasSubstr("Location: http://site.example/there\r\n"));
}

// ---------------------------------------------------------------------------------------------------- links

TEST_F(HandlerTest, LinksAreFollowedOnlyWhereTheyMay) {
  Write("outside/a", "outside");
  std::filesystem::create_directory_symlink(root() + "/outside", root() + "/www/link");
  EXPECT_EQ(Get("/link/a").body, "outside");
  Configure("Options -FollowSymLinks\n");
  EXPECT_EQ(Get("/link/a").status, 403);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH00037: Symbolic link not allowed"));
  Configure("Options SymLinksIfOwnerMatch\n");
  EXPECT_EQ(Get("/link/a").body, "outside");
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a link to somebody else";
  ASSERT_EQ(::lchown((root() + "/www/link").c_str(), 12345, 12345), 0);
  EXPECT_EQ(Get("/link/a").status, 403);
}

TEST_F(HandlerTest, AnAliasOfOneFileNeedsNoLinks) {
  Write("outside/a", "outside");
  Configure("Options -FollowSymLinks\nAlias /one " + root() + "/outside/a\n");
  EXPECT_EQ(Get("/one").body, "outside");
}

TEST_F(HandlerTest, WhatIsNoFileIsNotServed) {
  ASSERT_EQ(::mkfifo((root() + "/www/fifo").c_str(), 0666), 0);
  EXPECT_EQ(Get("/fifo").status, 403);  // and does not hang
}

// ---------------------------------------------------------------------------------------------------- error documents

TEST_F(HandlerTest, AnErrorDocumentMayBeTextAFileOrAnAddress) {
  Write("www/sorry.html", "sorry");
  Configure(
      "ErrorDocument 404 /sorry.html\nErrorDocument 403 \"no way\"\nErrorDocument 405 http://other.example/x\n"
      "<Location /secret>\nRequire all denied\n</Location>\n");
  Answer answer = Get("/none");
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.body, "sorry");
  answer = Get("/secret");
  EXPECT_EQ(answer.status, 403);
  EXPECT_EQ(answer.body, "no way");
  answer = Ask("PUT", "/");
  EXPECT_EQ(answer.status, 302);
  EXPECT_THAT(answer.fields, HasSubstr("Location: http://other.example/x\r\n"));
}

TEST_F(HandlerTest, WhatTheClientSaidAboutThePageDoesNotHoldForItsErrorDocument) {
  Write("www/sorry.html", "sorry");
  Configure("ErrorDocument 404 /sorry.html\nErrorDocument 413 /sorry.html\n");
  for (const char* fields :
       {"If-None-Match: *\r\n", "If-Match: \"x\"\r\n", "Range: bytes=0-0\r\n", "Range: bytes=90-\r\n"}) {
    const Answer answer = Get("/none", fields);
    EXPECT_EQ(answer.status, 404) << fields;
    EXPECT_EQ(answer.body, "sorry") << fields;
    EXPECT_THAT(answer.fields, Not(HasSubstr("Content-Range"))) << fields;
  }
  EXPECT_EQ(AskBad("GET", 413).body, "sorry");
}

TEST_F(HandlerTest, AMissingErrorDocumentIsMentionedOnTheOriginalPage) {
  Configure("ErrorDocument 403 /none.html\n<Location /secret>\nRequire all denied\n</Location>\n");
  const Answer answer = Get("/secret");
  EXPECT_EQ(answer.status, 403);
  EXPECT_THAT(answer.body, HasSubstr("403 Forbidden"));
  EXPECT_THAT(answer.body, HasSubstr("Additionally, a 404 Not Found\nerror was encountered while trying to use an "
                                     "ErrorDocument to handle the request."));
}

TEST_F(HandlerTest, ABadRequestIsAnsweredWithTheHostsPageAndCloses) {
  const Answer answer = AskBad("GET", 400);
  EXPECT_EQ(answer.status, 400);
  EXPECT_TRUE(answer.close);
  EXPECT_THAT(answer.body, HasSubstr("400 Bad Request"));
}

TEST_F(HandlerTest, AnErrorPageEscapesWhatTheClientSent) {
  EXPECT_THAT(Get("/%3Cscript%3E").body, Not(HasSubstr("<script>")));
}

// ---------------------------------------------------------------------------------------------------- logs

TEST_F(HandlerTest, FinishedRequestsAreLoggedAtTheEndOfTheTurn) {
  Configure("CustomLog " + root() + "/access_log \"%h %s %b \\\"%r\\\"\"\n");
  const std::string text = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
  http::RequestHead head;
  http::ParseRequestHead(text, handler_->Limits(), head);
  net::Request request;
  request.head = &head;
  request.client_address = "192.0.2.9";
  net::Response response;
  handler_->Handle(request, response);
  net::Outcome outcome;
  outcome.body_bytes = 12;
  handler_->Finish(request, response, outcome);
  EXPECT_TRUE(handler_->EndTurn());
  EXPECT_EQ(os::ReadFile(root() + "/access_log").value(), "192.0.2.9 404 12 \"GET /x HTTP/1.1\"\n");
  EXPECT_EQ(handler_->LostLogLines(), 0u);
}

TEST_F(HandlerTest, TheLongestKeepAliveTimeoutOfAllHostsHoldsForAdoptedConnections) {
  Configure("KeepAliveTimeout 3\n<VirtualHost *:8080>\nKeepAliveTimeout 20\n</VirtualHost>\n");
  EXPECT_EQ(handler_->IdleTimeoutMs(), 20000);
}

TEST_F(HandlerTest, MethodsThatApacheKnowsAreNotAllowedAndOthersNotImplemented) {
  Configure("RegisterHttpMethod ZAP\n");
  Write("www/a.txt", "hi");
  for (const char* method : {"PROPFIND", "ZAP", "PATCH", "BASELINE-CONTROL"}) {
    EXPECT_EQ(Ask(method, "/a.txt").status, 405) << method;
  }
  EXPECT_EQ(Ask("FOO", "/a.txt").status, 501);
}

TEST_F(HandlerTest, RegisteredMethodsRefusesTheOthersBeforeAnythingAnswersThem) {
  Configure("RegisterHttpMethod ZAP\nRedirect /gone http://other/\nHttpProtocolOptions RegisteredMethods\n");
  EXPECT_EQ(Ask("ZAP", "/gone").status, 302);
  EXPECT_EQ(Ask("FOO", "/gone").status, 501);
  Configure("Redirect /gone http://other/\n");
  EXPECT_EQ(Ask("FOO", "/gone").status, 302);
}

}  // namespace
}  // namespace httpd::modules
