// RewriteCond and RewriteRule lines and a request that meets them. Input: the path, the query, a header value, then the
// directives, one a line.
#include <cstdlib>
#include <string>
#include <string_view>

#include "httpd/modules/module.h"
#include "httpd/modules/rewrite.h"
#include "httpd/net/scoreboard.h"

namespace {

using namespace httpd;           // NOLINT: one file
using namespace httpd::modules;  // NOLINT

struct World {
  config::ServerConfig config;
  std::unique_ptr<Site> site;
  std::unique_ptr<net::Scoreboard> board;
  World() {
    config.main.server_name = "site.example";
    config.main.document_root = "/nonexistent";
    site = Site::Build(config, nullptr, "").value();
    board = net::Scoreboard::Make().value();
  }
};

class FakeEngine final : public Engine {
 public:
  explicit FakeEngine(World& world) : world_(world) {}
  std::unique_ptr<RequestState> LookUp(RequestState& from, std::string_view uri) override {
    auto found = std::make_unique<RequestState>();
    found->Start(this, *from.request, *from.host, *from.response);
    found->parent = &from;
    found->path = uri;
    found->status = 404;
    return found;
  }
  std::unique_ptr<RequestState> LookUpFile(RequestState& from, std::string_view file) override {
    return LookUp(from, file);
  }
  void Become(RequestState&, std::unique_ptr<RequestState>) override {}
  void LogError(const RequestState&, config::LogLevel, std::string_view, std::string) override {}
  std::string Signature(const RequestState&) override { return ""; }
  Dependencies* dependencies() override { return nullptr; }
  const Site& site() const override { return *world_.site; }
  const net::Scoreboard& board() const override { return *world_.board; }

 private:
  World& world_;
};

std::string TakeLine(std::string_view& rest) {
  const size_t end = std::min(rest.find('\n'), rest.size());
  std::string line(rest.substr(0, end));
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return line;
}

/// Every line of the fields ends, and none holds a control character.
void CheckFields(std::string_view fields) {
  while (!fields.empty()) {
    const size_t end = fields.find("\r\n");
    if (end == std::string_view::npos) std::abort();
    for (const char c : fields.substr(0, end)) {
      if ((c >= 0 && c < ' ') || c == 127) std::abort();
    }
    fields.remove_prefix(end + 2);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  if (size > 4096) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const std::string path = "/" + TakeLine(rest);
  const std::string query = TakeLine(rest);
  const std::string value = TakeLine(rest);
  rewrite::Rules rules;
  std::vector<rewrite::Condition> conditions;
  std::vector<std::string> warnings;
  while (!rest.empty() && rules.size() < 20) {
    const std::string line = TakeLine(rest);
    if (line.starts_with('C')) {
      rewrite::Condition condition;
      if (!rewrite::ParseCondition(line.substr(1), true, {}, condition, warnings)) conditions.push_back(condition);
    } else {
      auto rule = std::make_shared<rewrite::Rule>();
      if (!rewrite::ParseRule(line, std::move(conditions), *rule)) {
        rule->most_rounds = std::min(rule->most_rounds, 50);
        rules.push_back(std::move(rule));
      }
      conditions.clear();
    }
  }
  http::RequestHead head;
  head.line = "GET / HTTP/1.1";
  head.method_text = "GET";
  head.method = http::Method::kGet;
  head.authority = "site.example";
  head.fields.push_back({"X-Value", value});
  http::IndexKnown(head);
  net::Request request;
  request.head = &head;
  request.client_address = "192.0.2.1";
  rewrite::ServerSettings server;
  server.maps["up"].kind = rewrite::Map::Kind::kToUpper;
  server.maps["un"].kind = rewrite::Map::Kind::kUnescape;
  rewrite::DirectorySettings directory;
  directory.directory = "/nonexistent/d/";
  for (const rewrite::DirectorySettings* where : {static_cast<const rewrite::DirectorySettings*>(nullptr),
                                                  static_cast<const rewrite::DirectorySettings*>(&directory)}) {
    FakeEngine engine(world);
    net::Response response;
    RequestState state;
    state.Start(&engine, request, world.site->hosts()[0], response);
    state.path = path;
    state.query = query;
    state.has_query = !query.empty();
    rewrite::Pass pass(state, &server, where);
    pass.file = where ? "/nonexistent/d" + path : path;
    pass.Run(rules);
    if (pass.file.size() > 3U << 20) std::abort();
    CheckFields(response.fields);
    for (const char c : pass.forced_type) {
      if (c == '\n' || c == '\r') std::abort();
    }
  }
  return 0;
}
