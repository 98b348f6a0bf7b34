// Requests and .htaccess files that somebody wrote to do harm, one running server each.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <sstream>
#include <thread>

#include "tests/e2e/server.h"

namespace {

using e2e::Connection;
using e2e::CountOf;
using e2e::WriteFile;

constexpr char kSecret[] = "TOP-SECRET";

class Hostile : public e2e::Server {
 protected:
  /// The whole answer, as it is. "" when there was none.
  std::string Ask(const std::string& request, size_t most = 64U << 20) const {
    auto connection = Connection::Open(port_);
    if (!connection) return "";
    connection->Send(request);
    return connection->ReadSome(most);
  }
  std::string AskFor(const std::string& target, const std::string& fields = "") const {
    return Ask("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n" + fields + "Connection: close\r\n\r\n");
  }
  static int StatusOf(const std::string& answer) {
    return answer.starts_with("HTTP/1.1 ") ? std::atoi(answer.c_str() + 9) : 0;
  }
  static std::string Shown(const std::string& text) { return text.substr(0, 300); }
  void StartWith(const std::string& more) {
    Configure({.more = more});
    Start();
  }
  std::string site() const { return (root_ / "site").string(); }
};

TEST_F(Hostile, PathsInNoEncodingLeadOutOfDocumentRoot) {
  WriteFile(root_ / "secret.txt", kSecret);
  for (const char* folder : {"pub", "pub-secret"}) std::filesystem::create_directories(outside_ / folder);
  std::filesystem::create_directories(root_ / "site" / "sub");
  WriteFile(outside_ / "pub" / "open.txt", "open\n");
  WriteFile(outside_ / "pub-secret" / "secret.txt", kSecret);
  StartWith("Alias /pub/ \"" + outside_.string() +
            "/pub/\"\n<IfDirective AllowEncodedSlashes>\nAllowEncodedSlashes NoDecode\n</IfDirective>\n<Directory \"" +
            outside_.string() + "\">\n    Require all granted\n</Directory>\n<Directory \"" + root_.string() +
            "\">\n    Require all granted\n</Directory>");
  EXPECT_EQ(StatusOf(AskFor("/pub/open.txt")), 200);
  const char* dots[] = {"..",  "%2e%2e", ".%2e",  "%252e%252e",   "%c0%ae%c0%ae",     "%e0%80%ae%e0%80%ae",
                        "..;", "..%00",  "..%20", "%u002e%u002e", "\xc0\xae\xc0\xae", "..."};
  const char* separators[] = {"/", "%2f", "%252f", "%5c", "\\", "%c0%af", "//", "/./", ";/"};
  for (const std::string start : {"/", "/sub/", "/pub/", "http://localhost/", "//"}) {
    for (const std::string dot : dots) {
      for (const std::string separator : separators) {
        for (int depth = 1; depth <= 3; depth += 2) {
          std::string target = start;
          for (int i = 0; i < depth; ++i) target += dot + separator;
          target +=
              (start == "/pub/" ? "pub-secret" + separator : std::string(depth > 1 ? "root/" : "")) + "secret.txt";
          const std::string answer = AskFor(target);
          ASSERT_EQ(answer.find(kSecret), std::string::npos) << target;
          const int status = StatusOf(answer);
          ASSERT_TRUE(status >= 400 && status < 500) << target << ": " << Shown(answer);
        }
      }
    }
  }
}

TEST_F(Hostile, PathsInNoEncodingGetPastProtectedPlaces) {
  for (const char* folder : {"site/private", "site/sub", "site/files", "aliased/closed"}) {
    std::filesystem::create_directories(root_ / folder);
  }
  WriteFile(root_ / "site" / "private" / "file.txt", kSecret);
  WriteFile(root_ / "site" / "files" / "x.hidden", kSecret);
  WriteFile(root_ / "site" / "files" / ".htpasswd", kSecret);
  WriteFile(root_ / "aliased" / "closed" / "file.txt", kSecret);
  WriteFile(root_ / "aliased" / "open.txt", "open\n");
  const std::string deny = "\n    Require all denied\n";
  StartWith("Alias /pub/ \"" + root_.string() + "/aliased/\"\n<Directory \"" + root_.string() +
            "/aliased\">\n    Require all granted\n</Directory>\n<Directory \"" + root_.string() +
            "/aliased/closed\">" + deny + "</Directory>\n<Location /private>" + deny + "</Location>\n<Files *.hidden>" +
            deny + "</Files>\n<FilesMatch \"^\\.ht\">" + deny + "</FilesMatch>");
  EXPECT_EQ(StatusOf(AskFor("/pub/open.txt")), 200);
  for (const std::string target : {"/private/file.txt",
                                   "//private/file.txt",
                                   "/./private/file.txt",
                                   "/sub/../private/file.txt",
                                   "/%70rivate/file.txt",
                                   "/%70%72ivate%2ffile.txt",
                                   "/private/./file.txt",
                                   "/private//file.txt",
                                   "/private/file.txt/",
                                   "/private/file.txt;a",
                                   "/private;a/file.txt",
                                   "/private%00/file.txt",
                                   "/private/x/../file.txt",
                                   "/sub/%2e%2e/private/file.txt",
                                   "http://localhost/private/file.txt",
                                   "http://localhost//private/file.txt",
                                   "http://localhost/sub/..//private/file.txt",
                                   "/sub/..%2fprivate/file.txt",
                                   "/files/x.hidden",
                                   "/files/x.hidden/",
                                   "/files/x.hidden/info",
                                   "/files/x.hidden%20",
                                   "/files/x.hidden%00.html",
                                   "/files/x%2ehidden",
                                   "//files//x.hidden",
                                   "/files/./x.hidden",
                                   "/files/x.hidden?a=.html",
                                   "/files/x.hidden;.html",
                                   "/files/.htpasswd",
                                   "/files/%2ehtpasswd",
                                   "/files/.htpasswd/x",
                                   "/files//.htpasswd",
                                   "/files/./.htpasswd",
                                   "/pub/closed/file.txt",
                                   "/pub//closed/file.txt",
                                   "/pub/./closed/file.txt",
                                   "/pub/x/../closed/file.txt",
                                   "/pub%2fclosed/file.txt",
                                   "//pub/closed/file.txt",
                                   "/pub/closed//file.txt",
                                   "/pub/%63losed/file.txt"}) {
    const std::string answer = AskFor(target);
    EXPECT_EQ(answer.find(kSecret), std::string::npos) << target;
    const int status = StatusOf(answer);
    EXPECT_TRUE(status >= 400 && status < 500) << target << ": " << Shown(answer);
  }
}

TEST_F(Hostile, RequestsWriteOneLineEachIntoTheLogsWhateverTheyHold) {
  WriteFile(root_ / "conf" / "users", "\n");
  std::filesystem::create_directories(root_ / "site" / "closed");
  StartWith(
      "LogLevel debug\nLogFormat \"%h %u \\\"%r\\\" \\\"%{Referer}i\\\" \\\"%{User-Agent}i\\\" %U %q %>s\" all\n"
      "CustomLog logs/all.log all\n<Location /closed>\n    AuthType Basic\n    AuthName x\n"
      "    AuthUserFile conf/users\n    Require valid-user\n</Location>");
  // evil" forged 0xff and a backslash as user name; with a line end or an escape in it, it would be none
  const std::string user = "Authorization: Basic ZXZpbCIgZm9yZ2VkIP9cOnB3\r\n";
  const std::vector<std::string> requests = {
      "GET /closed/x HTTP/1.1\r\nHost: localhost\r\n" + user + "Connection: close\r\n\r\n",
      "GET /a%0aforged%0d%1b[31m%22 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
      "GET /a?\x1b[31m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
      "GET /\xff\xfe\"quoted\" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
      "GET /\rforged HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "G\x1bT / HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: localhost\r\nReferer: \"\xff\\ forged\"\r\nUser-Agent: \xe2\x80\xa8\tx\r\n"
      "Connection: close\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: localhost\r\nReferer: a\rforged\r\n\r\n"};
  for (const std::string& request : requests) EXPECT_NE(StatusOf(Ask(request)), 0) << request;
  std::string log;
  e2e::Eventually([&] { return CountOf(log = e2e::FileText(root_ / "logs" / "all.log"), "\n") >= requests.size(); });
  EXPECT_EQ(CountOf(log, "\n"), requests.size()) << log;
  for (const char c : log + ErrorLog()) {
    ASSERT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << "byte " << int{static_cast<unsigned char>(c)} << "\n" << log;
  }
  EXPECT_NE(log.find("evil\\\" forged \\xff\\\\ "), std::string::npos) << log;
  EXPECT_NE(log.find("\\\"\\xff\\\\ forged\\\""), std::string::npos) << log;
  for (const std::string& all : {log, ErrorLog()}) {
    std::istringstream lines(all);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_TRUE(line.starts_with("127.0.0.1 ") || line.starts_with("[")) << "forged: " << line;
    }
  }
}

TEST_F(Hostile, LineEndsInAUrlMakeNoFieldsInAnswers) {
  std::filesystem::create_directories(root_ / "site" / "d\r\nX-Injected: yes");
  StartWith(
      "SetEnvIf Request_URI \"^/env/(.*)$\" PART=$1\nHeader always set X-Env \"%{PART}e\"\n"
      "Header always set X-Expr \"expr=%{REQUEST_URI}?%{unescape:%{QUERY_STRING}}\"\n"
      "Header always set X-Edit a\nHeader always edit X-Edit a \"expr=%{REQUEST_URI}\"\n"
      "ErrorDocument 404 http://localhost/lost?%{REQUEST_URI}\n"
      "ErrorDocument 403 http://localhost%{REQUEST_URI}\n"
      "<IfDirective Redirect>\nRedirect /old http://localhost/new\nRedirect 301 /older /new\n</IfDirective>\n"
      "<IfDirective RedirectMatch>\nRedirectMatch \"^/m/(.*)$\" \"http://localhost/$1\"\n</IfDirective>\n"
      "<IfDirective RewriteRule>\nRewriteEngine On\nRewriteRule \"^/r/(.*)$\" \"http://localhost/$1\" [R,L]\n"
      "RewriteRule \"^/n/(.*)$\" \"http://localhost/$1\" [R,NE,L]\nRewriteRule \"^/c/(.*)$\" - [CO=n:$1:localhost,L]\n"
      "RewriteCond %{QUERY_STRING} \"(.*)\"\nRewriteRule \"^/q/\" \"http://localhost/?%1\" [R,NE,L]\n</IfDirective>");
  for (const std::string line_end : {"%0d%0a", "%0a", "%0d", "%250d%250a", "%c4%8d%c4%8a", "%00%0d%0a", "%0d%0a%20"}) {
    for (const std::string place :
         {"/env/", "/old/", "/older/", "/m/", "/r/", "/n/", "/c/", "/none/", "/q/?", "/?", "/d"}) {
      const std::string answer = AskFor(place + line_end + "X-Injected:%20yes");
      ASSERT_NE(StatusOf(answer), 0) << place << line_end;
      std::istringstream lines(answer.substr(0, answer.find("\r\n\r\n")));
      for (std::string line; std::getline(lines, line);) {
        EXPECT_FALSE(line.starts_with("X-Injected")) << place << line_end << "\n" << Shown(answer);
        EXPECT_TRUE(line.ends_with('\r') || lines.eof()) << place << line_end << ": bare LF in " << line;
        EXPECT_EQ(line.substr(0, line.size() - 1).find('\r'), std::string::npos) << place << line_end << ": " << line;
      }
    }
  }
}

TEST_F(Hostile, RangesNeverMakeAnAnswerMuchLargerThanTheFile) {
  const size_t size = 100'000;
  WriteFile(root_ / "site" / "file.bin", std::string(size, 'x'));
  StartWith("");
  auto list = [](int count, const std::function<std::string(int)>& one) {
    std::string out = "Range: bytes=";
    for (int i = 0; i < count; ++i) out += (i == 0 ? "" : ",") + one(i);
    return out + "\r\n";
  };
  const std::vector<std::string> bombs = {
      list(1000, [](int) { return "0-"; }),
      list(199, [](int) { return "0-"; }),
      list(15, [](int) { return "0-"; }),
      list(3, [](int) { return "-99999"; }),
      list(1000, [](int i) { return "5-" + std::to_string(i + 5); }),
      list(190, [](int i) { return std::to_string(2 * i) + "-" + std::to_string(2 * i); }),
      list(190, [](int i) { return std::to_string(99000 - 2 * i) + "-" + std::to_string(99990 - i); }),
      list(2000, [](int) { return "0-0"; }),
      "Range: bytes=0-18446744073709551615,0-18446744073709551616,-99999999999999999999999\r\n"};
  for (const std::string& bomb : bombs) {
    const std::string answer = AskFor("/file.bin", bomb);
    EXPECT_NE(StatusOf(answer), 0) << bomb.substr(0, 60);
    EXPECT_LT(answer.size(), size + (64U << 10)) << bomb.substr(0, 60);
  }
}

TEST_F(Hostile, HtaccessFilesEndOnlyTheirOwnRequests) {
  std::vector<std::pair<std::string, std::string>> files;
  std::string huge;
  for (int i = 0; i < 30'000; ++i) huge += "SetEnv VARIABLE" + std::to_string(i) + " value\n";
  files.emplace_back("huge", huge);
  std::string deep;
  for (int i = 0; i < 12'000; ++i) deep += "<IfModule core.c>\n";
  files.emplace_back("deep", deep);
  deep.clear();
  for (int i = 0; i < 8'000; ++i) deep += "<If true>\n";
  files.emplace_back("conditions", deep);
  files.emplace_back("brackets", "SetEnvIfExpr \"" + std::string(8'000, '(') + "\" X\n");
  files.emplace_back("groups", "SetEnvIf Request_URI \"" + std::string(50'000, '(') + "\" X\n");
  files.emplace_back("toobig", "SetEnvIf Request_URI \"((((a{0,99}){0,99}){0,99}){0,99})\" X\n");
  files.emplace_back("longline", std::string(200'000, 'x') + "\n");
  files.emplace_back("nul", std::string("SetEnv A \0b\n", 12));
  files.emplace_back("errors",
                     "ErrorDocument 404 /errors/none\nErrorDocument 403 /errors/closed\n"
                     "<Files closed*>\n    Require all denied\n</Files>\n");
  files.emplace_back("loop",
                     "<IfDirective RewriteRule>\nRewriteEngine On\nRewriteRule (.*) /loop/x$1\n</IfDirective>\n"
                     "<IfDirective FallbackResource>\nFallbackResource /loop/none\n</IfDirective>\n"
                     "DirectoryIndex ./ ../loop/ index.html/..\n");
  files.emplace_back("edit", "Header set X-A aaaa\nHeader edit* X-A \"x*\" \"y\"\nHeader edit X-A \"^\" \"z\"\n");
  for (const auto& [name, text] : files) {
    std::filesystem::create_directories(root_ / "site" / name);
    WriteFile(root_ / "site" / name / ".htaccess", text);
    WriteFile(root_ / "site" / name / "page.html", "page\n");
    WriteFile(root_ / "site" / name / "closed.html", "closed\n");
  }
  StartWith("StartServers 1\n<Directory \"" + site() + "\">\n    AllowOverride All\n</Directory>");
  const pid_t child = Children(Pid()).at(0);
  for (const auto& [name, text] : files) {
    for (const std::string file : {"/page.html", "/", "/none", "/closed.html"}) {
      const std::string answer = AskFor("/" + name + file);
      EXPECT_GE(StatusOf(answer), 200) << name << file << ": " << Shown(answer);
    }
    EXPECT_EQ(StatusOf(AskFor("/index.html")), 200) << "after " << name;
  }
  EXPECT_NE(AskFor("/edit/page.html").find("X-A: zyayayay"), std::string::npos) << AskFor("/edit/page.html");
  EXPECT_EQ(Children(Pid()).at(0), child) << "the child is another: it crashed";
}

TEST_F(Hostile, RegularExpressionsThatExplodeAreRefusedAndNobodyWaits) {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"setenvif", "SetEnvIf Request_URI \"^/setenvif/(a+)+$\" X\n"},
      {"header", "BrowserMatch \"^(a+)+$\" X\n"},
      {"stack", "BrowserMatch \"^(a|b)*$\" X\n"},
      {"files", "<FilesMatch \"^(a+)+$\">\n    Require all denied\n</FilesMatch>\n"},
      {"condition", "<If \"%{HTTP_USER_AGENT} =~ /^(a+)+$/\">\n    Require all denied\n</If>\n"},
      {"echo", "Header echo \"^(X-A+)+$\"\n"}};
  for (const auto& [name, text] : files) {
    std::filesystem::create_directories(root_ / "site" / name);
    WriteFile(root_ / "site" / name / ".htaccess", text);
  }
  StartWith("StartServers 1\n<Directory \"" + site() + "\">\n    AllowOverride All\n</Directory>");
  const pid_t child = Children(Pid()).at(0);
  const std::string name_of_a = std::string(200, 'a') + "b";
  const std::string fields = "User-Agent: " + std::string(8000, 'a') + "!\r\n";
  for (const auto& [name, text] : files) {
    WriteFile(root_ / "site" / name / name_of_a, kSecret);
    const std::string answer = AskFor("/" + name + "/" + name_of_a, fields);
    // What a pattern protects that could not be decided is not given out.
    if (name != "echo") {
      EXPECT_EQ(StatusOf(answer), 500) << name << ": " << Shown(answer);
      EXPECT_EQ(answer.find(kSecret), std::string::npos) << name;
    }
    EXPECT_EQ(StatusOf(AskFor("/index.html")), 200) << "after " << name;
  }
  EXPECT_GE(CountOf(ErrorLog(), "gave up on this request"), files.size() - 1);
  EXPECT_EQ(Children(Pid()).at(0), child) << "the child is another: it crashed";
}

TEST_F(Hostile, LinksThatAreSwappedWhileRequestsRunGiveNoSecretOut) {
  // site/NAME/{here,there}: a directory of this site and a link to somebody else's, which change places all the time.
  std::filesystem::create_directories(outside_ / "foreign");
  WriteFile(outside_ / "foreign" / "file.txt", kSecret);
  ASSERT_EQ(::chown((outside_ / "foreign").c_str(), 12345, 12345), 0) << "needs root";
  ASSERT_EQ(::chown((outside_ / "foreign" / "file.txt").c_str(), 12345, 12345), 0);
  std::string more;
  for (const std::string name : {"none", "owner"}) {
    std::filesystem::create_directories(root_ / "site" / name / "here");
    std::filesystem::create_directories(root_ / "site" / name / "own");
    for (const char* folder : {"here", "own"}) WriteFile(root_ / "site" / name / folder / "file.txt", "public\n");
    std::filesystem::create_symlink(outside_ / "foreign", root_ / "site" / name / "there");
    std::filesystem::create_symlink("own", root_ / "site" / name / "link");
    more += "<Directory \"" + site() + "/" + name + "\">\n    Options " +
            (name == "none" ? "None" : "SymLinksIfOwnerMatch") + "\n</Directory>\n";
  }
  StartWith(more);
  EXPECT_EQ(StatusOf(AskFor("/none/link/file.txt")), 403);
  EXPECT_EQ(StatusOf(AskFor("/owner/link/file.txt")), 200);
  EXPECT_EQ(StatusOf(AskFor("/owner/there/file.txt")), 403);
  std::atomic<bool> stop = false;
  std::thread swapper([&] {
    while (!stop) {
      for (const std::string name : {"none", "owner"}) {
        const std::string base = site() + "/" + name;
        ::renameat2(AT_FDCWD, (base + "/here").c_str(), AT_FDCWD, (base + "/there").c_str(), RENAME_EXCHANGE);
        ::renameat2(AT_FDCWD, (base + "/link").c_str(), AT_FDCWD, (base + "/there").c_str(), RENAME_EXCHANGE);
      }
    }
  });
  int public_ones = 0;
  int refused = 0;
  for (int i = 0; i < 4000; ++i) {
    auto connection = Connection::Open(port_);
    if (!connection) continue;
    for (int k = 0; k < 8; ++k) {
      const std::string place = i % 2 == 0 ? "/none" : "/owner";
      if (!connection->Send(e2e::GetRequest(place + (k % 2 == 0 ? "/here/file.txt" : "/link/file.txt")))) break;
      const auto answer = connection->Read();
      if (!answer) break;
      ++(answer->status == 200 ? public_ones : refused);
      if (answer->body.find(kSecret) != std::string::npos) {
        ADD_FAILURE() << place << " gave the secret out";
        i = 4000;
        break;
      }
    }
    if (i > 300 && public_ones > 100 && refused > 100) break;
  }
  stop = true;
  swapper.join();
  EXPECT_GT(public_ones, 0);
  EXPECT_GT(refused, 0);
}

}  // namespace
