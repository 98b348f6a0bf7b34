#include "httpd/modules/autoindex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(RenderIndex, LooksLikeApachesSimpleListing) {
  EXPECT_EQ(
      RenderIndex("/x/y/", {{"a.txt", false}, {"sub", true}}, ""),
      "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<html>\n <head>\n  <title>Index of /x/y</title>\n"
      " </head>\n <body>\n<h1>Index of /x/y</h1>\n<ul><li><a href=\"/x/\"> Parent Directory</a></li>\n"
      "<li><a href=\"a.txt\"> a.txt</a></li>\n<li><a href=\"sub/\"> sub/</a></li>\n</ul>\n</body></html>\n");
}

TEST(RenderIndex, TheRootHasNoParent) {
  const std::string page = RenderIndex("/", {}, "");
  EXPECT_THAT(page, HasSubstr("<h1>Index of /</h1>\n<ul></ul>\n"));
  EXPECT_THAT(page, Not(HasSubstr("Parent Directory")));
}

TEST(RenderIndex, NamesAreEscaped) {
  const std::string page = RenderIndex("/<x>/", {{"a&b <i>\"", false}, {"c:d", false}}, "");
  EXPECT_THAT(page, HasSubstr("<h1>Index of /&lt;x&gt;</h1>"));
  EXPECT_THAT(page, HasSubstr("> a&amp;b &lt;i&gt;&quot;</a>"));
  EXPECT_THAT(page, HasSubstr("<a href=\"a&amp;b%20%3ci%3e%22\">"));
  EXPECT_THAT(page, HasSubstr("<a href=\"./c:d\"> c:d</a>"));
}

class IndexTest : public HandlerTest {};

TEST_F(IndexTest, ADirectoryIsListedWhereOptionsAllowIt) {
  Write("www/d/b.txt", "");
  Write("www/d/a.txt", "");
  Write("www/d/.hidden", "");
  Write("www/d/.htaccess", "");
  Write("www/d/sub/x", "");
  std::filesystem::create_symlink("nowhere", root() + "/www/d/dangling");
  Configure("Options Indexes FollowSymLinks\n");
  const Answer answer = Get("/d/");
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.fields, HasSubstr("Content-Type: text/html;charset=UTF-8\r\n"));
  EXPECT_THAT(answer.body,
              HasSubstr("<ul><li><a href=\"/\"> Parent Directory</a></li>\n<li><a href=\"a.txt\"> a.txt</a>"
                        "</li>\n<li><a href=\"b.txt\"> b.txt</a></li>\n<li><a href=\"sub/\"> sub/</a></li>\n</ul>"));
  const Answer head = Ask("HEAD", "/d/");
  EXPECT_TRUE(head.without_body);
  EXPECT_EQ(head.content_length, answer.body.size());
}

TEST_F(IndexTest, AnIndexFileGoesFirst) {
  Write("www/index.html", "index");
  Configure("Options Indexes\n");
  EXPECT_EQ(Get("/").body, "index");
}

TEST_F(IndexTest, AnIndexFileThatMayNotBeReadIsNotReplacedByAListing) {
  Write("outside", "x");
  std::filesystem::create_symlink(root() + "/outside", root() + "/www/index.html");
  Configure("Options Indexes\n");
  EXPECT_EQ(Get("/").status, 403);
}

TEST_F(IndexTest, WhatTheClientCannotGetIsNotListed) {
  Write("www/open", "");
  Write("www/secret", "");
  std::filesystem::create_symlink("open", root() + "/www/link");
  Configure("Options Indexes\n<Files secret>\nRequire all denied\n</Files>\n");
  const Answer answer = Get("/");
  EXPECT_THAT(answer.body, HasSubstr("> open</a>"));
  EXPECT_THAT(answer.body, Not(HasSubstr("secret")));
  EXPECT_THAT(answer.body, Not(HasSubstr("link")));
}

}  // namespace
}  // namespace httpd::modules
