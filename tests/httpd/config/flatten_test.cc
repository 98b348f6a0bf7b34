#include "httpd/config/flatten.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "httpd/config/tree.h"
#include "tests/httpd/config/fake_files.h"

namespace httpd::config {
namespace {

std::string Shown(const std::vector<Node>& nodes) {
  std::string out;
  for (const Node& node : nodes) out += "[" + node.name + "|" + node.arguments + "]{" + Shown(node.children) + "}\n";
  return out;
}

std::string Shown(const Tree& tree) {
  std::string out = Shown(tree.nodes) + "root " + tree.server_root + "\n";
  for (const std::string& name : tree.define_names) {
    const auto value = tree.define_values.find(name);
    out += "define " + name + (value == tree.define_values.end() ? "" : "=" + value->second) + "\n";
  }
  for (const std::string& module : tree.loaded_modules) out += "module " + module + "\n";
  return out;
}

/// Reads a configuration, flattens it, reads that with the same -d and -D, flattens that.
struct RoundTrip {
  FakeFiles files;
  ReadRequest request;

  RoundTrip() {
    request.server_root = "/srv";
    request.config_file = "conf/httpd.conf";
  }

  void Check(const std::string& text) {
    files.files["/srv/conf/httpd.conf"] = text;
    auto first = ReadTree(request, files.Source());
    ASSERT_TRUE(first) << first.error().what << "\n" << text;
    auto flat = Flatten(first.value(), request, files.Source());
    ASSERT_TRUE(flat) << flat.error().what << "\n" << text;
    ReadRequest again = request;
    again.config_file = "/kept/httpd.conf";
    again.directives_before.clear();
    again.directives_after.clear();
    FakeFiles others;  // nothing that was included is there any more
    others.files["/kept/httpd.conf"] = flat.value();
    others.environment = files.environment;
    auto second = ReadTree(again, others.Source());
    ASSERT_TRUE(second) << second.error().what << "\n" << flat.value();
    EXPECT_EQ(Shown(first.value()), Shown(second.value())) << flat.value();
    flat_ = flat.value();
    auto twice = Flatten(second.value(), again, others.Source());
    ASSERT_TRUE(twice) << twice.error().what;
    EXPECT_EQ(Bare(flat.value()), Bare(twice.value()));
  }

  static std::string Bare(const std::string& text) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find('\n', at);
      const std::string line = text.substr(at, end - at);
      if (line.find_first_not_of(' ') == std::string::npos || line[line.find_first_not_of(' ')] != '#')
        out += line + "\n";
      at = end + 1;
    }
    return out;
  }

  std::string flat_;
};

TEST(Flatten, IncludesConditionsVariablesAndCommandLineDirectivesAreGoneAndMeanTheSame) {
  RoundTrip trip;
  trip.files.files["/srv/conf/extra/a.conf"] = "Listen ${PORT}\n<IfDefine BIG>\nTimeout 99\n</IfDefine>\n";
  trip.files.files["/srv/conf/extra/b.conf"] = "ServerName b\n";
  trip.request.defines = {"BIG", "GONE"};
  trip.request.directives_before = {"ServerAdmin first@example.org"};
  trip.request.directives_after = {"Listen 9999"};
  trip.Check(
      "Define PORT 8080\nUnDefine GONE\nLoadModule status_module modules/mod_status.so\nInclude conf/extra/*.conf\n"
      "<IfModule nothing>\nNonsense\n</IfModule>\n<IfVersion >= 2.4>\nKeepAlive On\n</IfVersion>\n"
      "<Directory \"/srv/htdocs\">\n  <IfDefine !SMALL>\n    Options None\n  </IfDefine>\n</Directory>\n");
  EXPECT_NE(trip.flat_.find("# /srv/conf/extra/a.conf:1\nListen 8080\n"), std::string::npos) << trip.flat_;
  EXPECT_EQ(trip.flat_.find("Include "), std::string::npos) << trip.flat_;
}

TEST(Flatten, AServerRootThatTheFilesChangeIsKept) {
  RoundTrip trip;
  trip.files.directories.insert("/elsewhere");
  trip.files.files["/srv/conf/httpd.conf"] = "ServerRoot /srv/htdocs/\nDocumentRoot x\n";
  trip.Check("ServerRoot /srv/htdocs/\nDocumentRoot x\n");
  EXPECT_NE(trip.flat_.find("ServerRoot \"/srv/htdocs\"\n"), std::string::npos) << trip.flat_;
  EXPECT_NE(trip.flat_.find("DocumentRoot x\n"), std::string::npos) << "a relative path stays relative";
}

TEST(Flatten, WhatOnlyLooksLikeAVariableIsNotExpandedTheSecondTime) {
  RoundTrip trip;
  trip.files.environment["FROM_ENV"] = "${LATER} tail \\";
  trip.Check("ServerName ${LATER}\nDefine LATER now\nServerAdmin ${LATER}\nDocumentRoot ${FROM_ENV}\nTimeout 5${\n");
}

TEST(Flatten, EndsOfLinesThatWouldContinueOrBeTrimmedSurvive) {
  RoundTrip trip;
  trip.files.environment["BLANKS"] = "x \t ";
  trip.Check("ServerAdmin a\\ \nServerName ${BLANKS}\nDocumentRoot c:\\\\\n\nErrorDocument 404 \"no\\\"\n");
}

TEST(Flatten, ANewlineOutOfTheEnvironmentIsRefusedWithItsLine) {
  RoundTrip trip;
  trip.files.environment["EVIL"] = "a\nListen 81";
  trip.files.files["/srv/conf/httpd.conf"] = "\nServerName \"${EVIL}\"\n";
  auto tree = ReadTree(trip.request, trip.files.Source());
  ASSERT_TRUE(tree);
  auto flat = Flatten(tree.value(), trip.request, trip.files.Source());
  ASSERT_FALSE(flat);
  EXPECT_NE(flat.error().what.find("/srv/conf/httpd.conf:2"), std::string::npos) << flat.error().what;
}

TEST(Flatten, AnyArgumentsAndDefinesReadBackAsTheyWere) {
  std::mt19937 random(20261121);
  const std::string letters = "ab\"'\\ \t${}<>#;=*?:/.,\r\v~\xc3\xa4";
  const auto word = [&](size_t longest, const std::string& from) {
    std::string out;
    for (size_t n = random() % (longest + 1); n > 0; --n) out += from[random() % from.size()];
    return out;
  };
  for (int round = 0; round < 3000; ++round) {
    RoundTrip trip;
    trip.files.environment["E"] = word(12, letters);
    std::string text;
    for (int line = 0; line < 4; ++line) {
      switch (random() % 4) {
        case 0:
          text += "Header " + word(20, letters) + "\n";
          break;
        case 1:
          text += "Define " + word(1, "DE") + "N '" + word(8, "ab\"\\ ${}") + "'\n";
          break;
        case 2:
          text += "Require ${DN} ${E}" + word(6, letters) + "\n";
          break;
        default:
          text += "<Location " + word(8, letters) + ">\n  Alias ${E}\n</Location>\n";
      }
    }
    trip.files.files["/srv/conf/httpd.conf"] = text;
    if (!ReadTree(trip.request, trip.files.Source())) continue;  // an odd quote made it wrong to begin with
    trip.Check(text);
    if (HasFailure()) FAIL() << text;
  }
}

TEST(Flatten, TheConfigurationsThatWeShipAreTheSameWhenFlattened) {
  RoundTrip trip;
  const std::filesystem::path conf = std::filesystem::path(BATON_SOURCE_DIR) / "conf";
  const auto text = [](const std::filesystem::path& path) {
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  for (const auto& entry : std::filesystem::directory_iterator(conf / "extra")) {
    trip.files.files["/srv/conf/extra/" + entry.path().filename().string()] = text(entry.path());
  }
  trip.Check(text(conf / "httpd.conf"));
  for (const auto& entry : std::filesystem::directory_iterator(conf / "extra")) {
    RoundTrip one;
    one.Check(text(entry.path()));
  }
}

}  // namespace
}  // namespace httpd::config
