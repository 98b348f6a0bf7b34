#include "tests/httpd/modules/handler_fixture.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "httpd/config/reader.h"
#include "httpd/modules/module.h"
#include "os/file.h"

namespace httpd::modules {

namespace {

os::Result<config::ServerConfig> Read(const std::string& text) {
  config::FileSource files;
  files.read = [&text](const std::string& path) -> os::Result<std::string> {
    if (path == "/test.conf") return text;
    return os::ReadFile(path);
  };
  files.expand = [](const std::string&) -> os::Result<std::vector<std::string>> { return std::vector<std::string>(); };
  files.is_directory = [](const std::string& path) { return std::filesystem::is_directory(path); };
  files.exists = [](const std::string& path) { return std::filesystem::exists(path); };
  files.environment = [](const std::string&) { return std::optional<std::string>(); };
  config::ReadRequest request;
  request.server_root = "/";
  request.config_file = "/test.conf";
  RegisterModules();
  return config::ReadConfiguration(request, files);
}

}  // namespace

std::string ComplaintOf(const std::string& text) {
  auto read = Read(text);
  EXPECT_FALSE(read) << text;
  return read ? "" : read.error().what;
}

config::ServerConfig ConfigFrom(const std::string& text) {
  auto read = Read(text);
  EXPECT_TRUE(read) << (read ? "" : read.error().Text());
  return read ? read.value() : config::ServerConfig();
}

HandlerTest::HandlerTest() : board_(net::Scoreboard::Make().value()) {
  char name[] = "/tmp/handler_test.XXXXXX";
  root_ = ::mkdtemp(name);
  std::filesystem::create_directories(root_ + "/www");
  Configure("");
}

HandlerTest::~HandlerTest() {
  handler_.reset();
  std::filesystem::remove_all(root_);
}

void HandlerTest::Write(const std::string& name, const std::string& content) {
  const std::filesystem::path path = root_ + "/" + name;
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << content;
}

void HandlerTest::Configure(const std::string& text) {
  handler_.reset();
  site_.reset();
  config_ = ConfigFrom("ServerRoot " + root_ + "\nListen 8080\nServerName site.example\nDocumentRoot " + root_ +
                       "/www\nErrorLog " + root_ + "/error_log\nLogLevel info\n" + text);
  config_.open_file_cache = std::min(config_.open_file_cache, open_file_cache_);
  auto logs = log::LogSet::Open(config_, root_, -1);
  ASSERT_TRUE(logs) << logs.error().Text();
  logs_ = std::move(logs).value();
  auto site = Site::Build(config_, logs_.get(), "text/plain txt\ntext/html html\n");
  ASSERT_TRUE(site) << site.error().Text();
  site_ = std::move(site).value();
  handler_ = std::make_unique<Handler>(*site_, *board_);
}

namespace {

/// What is left of a source that was read.
class NoMore final : public net::BodySource {
 public:
  State Read(std::string&, size_t) override { return State::kEnd; }
};

}  // namespace

HandlerTest::Answer HandlerTest::AnswerOf(Handler& handler, const net::Request& request, bool finishes) {
  net::Response response;
  handler.Handle(request, response);
  bool is_cut = false;
  if (response.source && !response.without_body) {
    auto state = net::BodySource::State::kMore;
    while (state == net::BodySource::State::kMore) state = response.source->Read(response.body, 16384);
    is_cut = state != net::BodySource::State::kEnd;
    if (!is_cut && response.keeps_body) {  // as the loop does
      const std::unique_ptr<net::BodySource> done = std::move(response.source);
      handler.Keep(request, response);
      response.source = std::make_unique<NoMore>();
    }
  }
  net::Outcome outcome;
  outcome.first_byte = std::chrono::microseconds(77);
  if (finishes) handler.Finish(request, response, outcome);
  handler.EndTurn();
  Answer answer{response.status,       response.fields,         std::string(response.BodyText()),
                response.without_body, response.content_length, response.close};
  answer.is_produced = response.source != nullptr;
  answer.is_cut = is_cut;
  answer.rate_limit = response.rate_limit;
  answer.rate_burst = response.rate_burst;
  if (response.has_file()) {
    answer.body.clear();
    for (const auto& part : response.parts) {
      std::string piece(part.length, '\0');
      EXPECT_EQ(::pread(response.FileDescriptor(), piece.data(), piece.size(), static_cast<off_t>(part.offset)),
                static_cast<ssize_t>(piece.size()));
      answer.body += part.text + piece;
    }
  }
  return answer;
}

void HandlerTest::ExpectTheSameAgain(const net::Request& request, const Answer& answer) {
  const size_t before = std::exchange(config_.open_file_cache, 10);
  Handler other(*site_, *board_);
  config_.open_file_cache = before;
  AnswerOf(other, request, false);
  const Answer again = AnswerOf(other, request, false);
  if (other.answers().given() == 0) return;
  EXPECT_EQ(again.status, answer.status);
  EXPECT_EQ(again.fields, answer.fields);
  EXPECT_EQ(again.body, answer.body);
  EXPECT_EQ(again.without_body, answer.without_body);
  EXPECT_EQ(again.content_length, answer.content_length);
  EXPECT_EQ(again.close, answer.close);
}

HandlerTest::Answer HandlerTest::Ask(const std::string& method, const std::string& target, const std::string& fields,
                                     const std::string& client, uint16_t local_port) {
  const std::string host = fields.find("Host:") == std::string::npos ? "Host: site.example\r\n" : "";
  const std::string text = method + " " + target + " HTTP/1.1\r\n" + host + fields + "\r\n";
  http::RequestHead head;
  const auto parsed = http::ParseRequestHead(text, handler_->Limits(), head);
  EXPECT_EQ(parsed.state, http::ParseResult::State::kComplete) << text << parsed.reason;
  net::Request request;
  request.head = &head;
  request.client_address = client;
  request.client_port = 4711;
  request.local_port = local_port;
  request.start = now_.value_or(std::chrono::system_clock::now());
  const Answer answer = AnswerOf(*handler_, request, true);
  if (answer.status == 200 || answer.status == 304) ExpectTheSameAgain(request, answer);
  return answer;
}

HandlerTest::Answer HandlerTest::AskBad(const std::string& method, int status) {
  const std::string text = method + " / HTTP/1.1\r\nHost: site.example\r\nRange: bytes=0-1\r\n\r\n";
  http::RequestHead head;
  http::ParseRequestHead(text, handler_->Limits(), head);
  net::Request request;
  request.head = &head;
  request.client_address = "192.0.2.1";
  net::Response response;
  handler_->HandleBad(request, status, "test", response);
  return {response.status,         response.fields, response.body, response.without_body,
          response.content_length, response.close,  false};
}

std::string HandlerTest::ErrorLog() {
  return os::ReadFile(root_ + "/error_log").value();
}

}  // namespace httpd::modules
