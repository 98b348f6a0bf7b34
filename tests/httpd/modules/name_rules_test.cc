#include "httpd/modules/name_rules.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <memory>
#include <string>

#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Optional;
using Kind = NameQuestion::Kind;

/// Names that are known as soon as the test says so. Never destroyed: the thread goes on.
struct Names {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_open = true;
  int asked = 0;
  std::atomic<NameLookup::Clock::time_point> now{NameLookup::Clock::time_point()};  ///< read by the thread
  NameLookup lookup{[this](const NameQuestion& question) {
                      std::unique_lock lock(mutex);
                      changed.wait(lock, [this] { return is_open; });
                      ++asked;
                      return NameLookup::Answer{"name-of-" + question.text};
                    },
                    [this] { return now.load(); }};

  static Names& New(bool is_open) {
    static auto& all = *new std::vector<std::unique_ptr<Names>>;  // reachable to the end: no leak
    all.push_back(std::make_unique<Names>());
    all.back()->is_open = is_open;
    return *all.back();
  }
  void Open() {
    const std::lock_guard lock(mutex);
    is_open = true;
    changed.notify_all();
  }
  int Asked() {
    const std::lock_guard lock(mutex);
    return asked;
  }
};

os::Fd Event() {
  return os::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

bool IsTold(const os::Fd& event) {
  pollfd wait{event.get(), POLLIN, 0};
  return ::poll(&wait, 1, 30000) == 1;
}

TEST(NameLookupTest, EqualQuestionsShareOneLookupAndEachWhoAskedIsTold) {
  Names& names = Names::New(false);
  const os::Fd first = Event();
  const os::Fd second = Event();
  const NameQuestion question{Kind::kNameOf, "10.0.0.1"};
  ASSERT_TRUE(names.lookup.Ask(question, first.get()));
  ASSERT_TRUE(names.lookup.Ask(question, second.get()));
  EXPECT_EQ(names.lookup.Find(question), std::nullopt);
  names.Open();
  EXPECT_TRUE(IsTold(first));
  EXPECT_TRUE(IsTold(second));
  EXPECT_THAT(names.lookup.Find(question), Optional(ElementsAre("name-of-10.0.0.1")));
  EXPECT_EQ(names.lookup.Find({Kind::kAddressesOf, "10.0.0.1"}), std::nullopt) << "another question";
  EXPECT_EQ(names.Asked(), 1);
}

TEST(NameLookupTest, AnAnswerIsForgottenAfterAMinuteUnlessAnyWillDo) {
  Names& names = Names::New(true);
  const NameQuestion question{Kind::kNameOf, "10.0.0.1"};
  const os::Fd event = Event();
  ASSERT_TRUE(names.lookup.Ask(question, event.get()));
  ASSERT_TRUE(IsTold(event));
  names.now = names.now.load() + std::chrono::seconds(59);
  EXPECT_TRUE(names.lookup.Find(question));
  names.now = names.now.load() + std::chrono::seconds(1);
  EXPECT_FALSE(names.lookup.Find(question));
  EXPECT_TRUE(names.lookup.Find(question, NameLookup::Age::kAny));
}

TEST(NameLookupTest, WhatNobodyWaitsForAnyLongerIsUnknownUntilItIsKnown) {
  Names& names = Names::New(false);
  const NameQuestion question{Kind::kNameOf, "10.0.0.1"};
  const os::Fd event = Event();
  ASSERT_TRUE(names.lookup.Ask(question, event.get()));
  names.lookup.GiveUp(question);
  EXPECT_THAT(names.lookup.Find(question), Optional(IsEmpty()));
  names.Open();
  ASSERT_TRUE(IsTold(event));
  EXPECT_THAT(names.lookup.Find(question), Optional(ElementsAre("name-of-10.0.0.1")));
}

TEST(NameLookupTest, TakesNoMoreQuestionsThanItsQueueHolds) {
  Names& names = Names::New(false);
  for (size_t i = 0; i < NameLookup::kMostWaiting; ++i) {
    ASSERT_TRUE(names.lookup.Ask({Kind::kNameOf, std::to_string(i)}, -1)) << i;
  }
  EXPECT_FALSE(names.lookup.Ask({Kind::kNameOf, "one more"}, -1));
  EXPECT_TRUE(names.lookup.Ask({Kind::kNameOf, "7"}, -1)) << "is in the queue already";
  names.Open();
}

TEST(NameLookupTest, KeepsNoMoreAnswersThanItsCacheHolds) {
  Names& names = Names::New(true);
  for (size_t i = 0; i <= NameLookup::kMostAnswers; ++i) names.lookup.GiveUp({Kind::kNameOf, std::to_string(i)});
  EXPECT_FALSE(names.lookup.Find({Kind::kNameOf, "0"}));
  EXPECT_TRUE(names.lookup.Find({Kind::kNameOf, "1"}));
}

TEST(NameLookupTest, ReadsTheHostsOfThisMachine) {
  EXPECT_THAT(NameLookup::Resolve({Kind::kAddressesOf, "localhost"}), testing::Contains("127.0.0.1"));
  EXPECT_THAT(NameLookup::Resolve({Kind::kNameOf, "127.0.0.1"}), ElementsAre(HasSubstr("localhost")));
  EXPECT_THAT(NameLookup::Resolve({Kind::kNameOf, "::ffff:127.0.0.1"}), ElementsAre(HasSubstr("localhost")));
  EXPECT_THAT(NameLookup::Resolve({Kind::kNameOf, "unix"}), IsEmpty());
}

TEST(DomainTest, MatchesAtTheBoundaryOfALabelWithoutCase) {
  EXPECT_TRUE(IsInDomain("example.org", "example.org"));
  EXPECT_TRUE(IsInDomain("Example.ORG", "www.example.org"));
  EXPECT_TRUE(IsInDomain(".example.org", "www.example.org"));
  EXPECT_FALSE(IsInDomain(".example.org", "example.org"));
  EXPECT_FALSE(IsInDomain("ample.org", "example.org"));
  EXPECT_FALSE(IsInDomain("www.example.org", "example.org"));
  EXPECT_FALSE(IsInDomain("", "example.org"));
}

class NameRulesTest : public HandlerTest {
 protected:
  NameRulesTest() { Write("www/a.txt", "a"); }
  int Status(const std::string& lines, const std::string& client = "127.0.0.1") {
    Configure("<Location />\n" + lines + "\n</Location>\n");
    return Ask("GET", "/a.txt", "", client).status;
  }
};

TEST_F(NameRulesTest, RequireHostComparesTheNameOfTheClient) {
  EXPECT_EQ(Status("Require host other.example LOCALHOST"), 200);
  EXPECT_EQ(Status("Require host other.example"), 403);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01630: client denied"));
  EXPECT_THAT(ErrorLog(), Not(HasSubstr("AH01753")));
  EXPECT_EQ(Status("Require host localhost", "unix"), 403);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01753: access check of 'localhost' to /a.txt failed, reason: unable to get the "
                                    "remote host name"));
}

TEST_F(NameRulesTest, RequireForwardDnsComparesTheAddressesOfTheName) {
  EXPECT_EQ(Status("Require forward-dns localhost"), 200);
  EXPECT_EQ(Status("Require forward-dns LocalHost#comment"), 200);
  EXPECT_EQ(Status("Require forward-dns localhost", "192.0.2.1"), 403);
  EXPECT_EQ(Status("Require forward-dns localhost", "127.0.0.2"), 403);
}

TEST_F(NameRulesTest, AllowAndDenyTakeNames) {
  EXPECT_EQ(Status("Order Allow,Deny\nAllow from other.example localhost"), 200);
  EXPECT_EQ(Status("Order Allow,Deny\nAllow from other.example"), 403);
  EXPECT_EQ(Status("Order Deny,Allow\nDeny from localhost"), 403);
  EXPECT_EQ(Status("Order Deny,Allow\nDeny from calhost"), 200);
}

}  // namespace
}  // namespace httpd::modules
