// loadclient: six kinds of HTTP client that forgive nothing. Exit status: 0 no failure, 1 failures, 2 usage or no
// start.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cxxopts.hpp>

#include "os/file.h"
#include "os/signals.h"
#include "tests/support/load_client.h"

namespace {

support::LoadClient* running = nullptr;
void OnStop(int) {
  running->Stop();
}  // one write(2): safe in a handler

int Complain(const std::string& what) {
  std::fprintf(stderr, "loadclient: %s\n", what.c_str());
  return 2;
}

std::chrono::milliseconds Ms(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

}  // namespace

int main(int argc, char** argv) {
  using cxxopts::value;
  cxxopts::Options options("loadclient",
                           "Loads an HTTP server and counts every failure by kind. ADDRESS is like 127.0.0.1:80.");
  options.positional_help("ADDRESS").add_options()("address", "server", value<std::string>())(
      "host", "Host header", value<std::string>()->default_value("localhost"))(
      "fresh", "clients: a connection per request", value<int>()->default_value("0"))(
      "busy", "clients: keep-alive, next request at once", value<int>()->default_value("0"))(
      "idle", "clients: keep-alive, thinking 50 to 900 ms", value<int>()->default_value("0"))(
      "download", "clients: slow download of --big", value<int>()->default_value("0"))(
      "upload", "clients: slow POST", value<int>()->default_value("0"))(
      "pipeline", "clients: 2 to 8 requests per write", value<int>()->default_value("0"))(
      "all", "this many of each kind that has no number of its own", value<int>()->default_value("0"))(
      "duration", "seconds; 0 = until SIGTERM or --stop-file", value<double>()->default_value("10"))(
      "stop-file", "ends the run when it appears", value<std::string>()->default_value(""))(
      "started-file", "written once every connection was answered", value<std::string>()->default_value(""))(
      "small", "path of a small file (may be repeated)", value<std::vector<std::string>>()->default_value("/"))(
      "big", "path of the file to download", value<std::string>()->default_value(""))(
      "upload-path", "path to POST to (default: the first --small)", value<std::string>()->default_value(""))(
      "rate", "requests/s of all fresh and busy clients together; 0 = no limit", value<double>()->default_value("0"))(
      "late-ms", "an answer after this is a failure", value<int>()->default_value("10000"))(
      "download-seconds", "how long one download takes", value<double>()->default_value("8"))(
      "upload-seconds", "how long one body takes", value<double>()->default_value("2"))(
      "upload-bytes", "size of one body", value<size_t>()->default_value("300000"))(
      "no-range", "no byte ranges among the pipelined requests")("run", "first part of every rid (default: pid)",
                                                                 value<std::string>()->default_value(""))(
      "seed", "of the random numbers", value<uint64_t>()->default_value("1"))("answered", "file for every rid answered",
                                                                              value<std::string>()->default_value(""))(
      "failed", "file for every rid that failed", value<std::string>()->default_value(""))(
      "marks", "file with lines \"<unix time> label\", read at the end", value<std::string>()->default_value(""))(
      "mark-window", "seconds before and after a mark", value<double>()->default_value("1"))(
      "json", "file for the report as JSON; - = standard output, no table", value<std::string>()->default_value(""))(
      "help", "this text");
  options.parse_positional("address");
  support::LoadOptions o;
  std::string json, marks_path;
  double window = 1;
  try {
    const auto given = options.parse(argc, argv);
    if (given.count("help") > 0) return std::printf("%s", options.help().c_str()) < 0 ? 2 : 0;
    if (given.count("address") == 0 || !given.unmatched().empty())
      return Complain("exactly one ADDRESS is needed; see --help");
    auto server = os::SocketAddress::Parse(given["address"].as<std::string>());
    if (!server) return Complain(server.error().Text());
    o.server = server.value();
    o.host = given["host"].as<std::string>();
    for (size_t i = 0; i < support::kClientKinds; ++i) {
      const std::string name(support::kClientKindNames[i]);
      o.connections[i] = given[given.count(name) > 0 ? name : "all"].as<int>();
    }
    o.duration = Ms(given["duration"].as<double>());
    o.stop_file = given["stop-file"].as<std::string>();
    o.started_file = given["started-file"].as<std::string>();
    o.small = given["small"].as<std::vector<std::string>>();
    o.big = given["big"].as<std::string>();
    o.upload = given["upload-path"].as<std::string>();
    o.rate = given["rate"].as<double>();
    o.late = std::chrono::milliseconds(given["late-ms"].as<int>());
    o.download_time = Ms(given["download-seconds"].as<double>());
    o.upload_time = Ms(given["upload-seconds"].as<double>());
    o.upload_bytes = given["upload-bytes"].as<size_t>();
    o.ranges = given.count("no-range") == 0;
    o.run = given["run"].as<std::string>();
    if (o.run.empty()) o.run = std::to_string(::getpid());
    o.seed = given["seed"].as<uint64_t>();
    o.answered_file = given["answered"].as<std::string>();
    o.failed_file = given["failed"].as<std::string>();
    marks_path = given["marks"].as<std::string>();
    window = given["mark-window"].as<double>();
    json = given["json"].as<std::string>();
  } catch (const cxxopts::exceptions::exception& wrong) {
    return Complain(std::string(wrong.what()) + "; see --help");
  }

  os::SystemClock clock;
  auto client = support::LoadClient::Create(std::move(o), clock);
  if (!client) return Complain(client.error().Text());
  running = client.value().get();
  os::IgnoreSignal(SIGPIPE);
  struct sigaction stop {};
  stop.sa_handler = OnStop;
  ::sigaction(SIGTERM, &stop, nullptr);
  ::sigaction(SIGINT, &stop, nullptr);
  const support::Report report = client.value()->Run();

  std::vector<support::Mark> marks;
  if (!marks_path.empty()) {
    auto read = support::ReadMarks(marks_path);
    if (!read) return Complain(read.error().Text());
    marks = std::move(read).value();
  }
  if (json != "-") std::printf("%s", support::ToText(report, marks, window).c_str());
  const std::string object = support::ToJson(report, marks, window);
  if (json == "-") std::printf("%s", object.c_str());
  if (!json.empty() && json != "-") {
    auto written = os::ReplaceFile(json, object, 0644);
    if (!written) return Complain(written.error().Text());
  }
  return report.Failures() == 0 ? 0 : 1;
}
