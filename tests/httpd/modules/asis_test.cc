#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

class AsIs : public HandlerTest {
 protected:
  AsIs() { Configure("AddHandler send-as-is .asis\n"); }
  Answer Sent(const std::string& content) {
    Write("www/a.asis", content);
    return Get("/a.asis");
  }
};

TEST_F(AsIs, StatusFieldsAndBodyAreTheFilesOwn) {
  const Answer answer = Sent("Status: 201 Made\nContent-Type: text/x\r\nX-Own: 1\nContent-Length: 9\n\nbody\n");
  EXPECT_EQ(answer.status, 201);
  EXPECT_EQ(answer.body, "body\n");
  EXPECT_THAT(answer.fields, HasSubstr("X-Own: 1\r\n"));
  EXPECT_THAT(answer.fields, HasSubstr("Content-Type: text/x\r\n"));
  EXPECT_THAT(answer.fields, Not(HasSubstr("Content-Length"))) << "the server counts itself";
}

TEST_F(AsIs, ALocationOfThisServerIsFollowedAndAForeignOneIsSent) {
  Write("www/b.txt", "other");
  EXPECT_EQ(Sent("Location: /b.txt\n\n").body, "other");
  const Answer answer = Sent("Status: 301\nLocation: http://other.example/\n\nmoved");
  EXPECT_EQ(answer.status, 301);
  EXPECT_THAT(answer.fields, HasSubstr("Location: http://other.example/\r\n"));
  EXPECT_EQ(answer.body, "moved");
}

TEST_F(AsIs, WhatIsNoHeadIsAnErrorAndNothingOfItIsSent) {
  for (const char* content :
       {"no colon\n\nx", "Status: 099\n\n", "Status: 20\n\n", "X-A: b\n", "Bad Name: x\n\n", "X: a\x01z\n\n",
        "X: a\rY: b\n\n", "Transfer-Encoding: chunked\n\n", "Connection: x\n\n", ": x\n\n", "", " X: folded\n\n"}) {
    const Answer answer = Sent(content);
    EXPECT_EQ(answer.status, 500) << content;
    EXPECT_THAT(answer.fields, Not(HasSubstr("X"))) << content;
  }
  EXPECT_EQ(Sent("X: " + std::string(40000, 'x') + "\n\n").status, 500);
}

TEST_F(AsIs, HeadHasTheLengthAndPostIsSentTheFile) {
  Write("www/a.asis", "Content-Type: text/x\n\nbody");
  const Answer head = Ask("HEAD", "/a.asis");
  EXPECT_TRUE(head.without_body);
  EXPECT_EQ(head.content_length, 4u);
  EXPECT_THAT(Ask("POST", "/a.asis").body, HasSubstr("Content-Type: text/x\n\nbody"));
}

}  // namespace
}  // namespace httpd::modules
