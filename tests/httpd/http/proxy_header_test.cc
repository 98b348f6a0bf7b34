#include "httpd/http/proxy_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace httpd::http {
namespace {

using State = ProxyHeader::State;
using testing::HasSubstr;

/// A header of version 2.
std::string Binary(char command, char family, const std::string& rest) {
  std::string out("\r\n\r\n\0\r\nQUIT\n", 12);
  out += command;
  out += family;
  out += static_cast<char>(rest.size() >> 8);
  out += static_cast<char>(rest.size() & 0xff);
  return out + rest;
}

const std::string kFour("\xc0\x00\x02\x07\x0a\x00\x00\x01\x04\xd2\x00\x50", 12);

TEST(ProxyHeader, TextTellsAddressAndPort) {
  const std::string line = "PROXY TCP4 192.0.2.7 10.0.0.1 1234 80\r\n";
  const ProxyHeader four = ParseProxyHeader(line + "GET / HTTP/1.1\r\n");
  EXPECT_EQ(four.state, State::kComplete);
  EXPECT_EQ(four.size, line.size()) << "what is behind it is the client's";
  EXPECT_EQ(four.address, "192.0.2.7");
  EXPECT_EQ(four.port, 1234);
  EXPECT_EQ(ParseProxyHeader("PROXY TCP6 2001:DB8:0:0::5 ::1 65535 80\r\n").address, "2001:db8::5");
  EXPECT_EQ(ParseProxyHeader("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 80\r\n").address, "192.0.2.7");
}

TEST(ProxyHeader, BinaryTellsAddressAndPort) {
  const std::string header = Binary(0x21, 0x11, kFour + "more of it");
  const ProxyHeader four = ParseProxyHeader(header + "\x16\x03");
  EXPECT_EQ(four.state, State::kComplete);
  EXPECT_EQ(four.size, header.size());
  EXPECT_EQ(four.address, "192.0.2.7");
  EXPECT_EQ(four.port, 1234);
  std::string six(36, '\0');
  six[0] = '\x20';
  six[1] = '\x01';
  six[15] = '\x09';
  six[32] = '\xff';
  const ProxyHeader of_six = ParseProxyHeader(Binary(0x21, 0x21, six));
  EXPECT_EQ(of_six.address, "2001::9");
  EXPECT_EQ(of_six.port, 0xff00);
}

TEST(ProxyHeader, WhoDoesNotKnowTheClientLeavesTheAddress) {
  for (const std::string& header : {std::string("PROXY UNKNOWN\r\n"), std::string("PROXY UNKNOWN ffff::1 ::1 1 2\r\n"),
                                    Binary(0x20, 0x11, kFour), Binary(0x20, 0, ""), Binary(0x21, 0, "tlv")}) {
    const ProxyHeader read = ParseProxyHeader(header);
    EXPECT_EQ(read.state, State::kComplete);
    EXPECT_EQ(read.size, header.size());
    EXPECT_EQ(read.address, "");
  }
}

TEST(ProxyHeader, EveryBeginningOfOneIsIncomplete) {
  for (const std::string& header :
       {std::string("PROXY TCP4 192.0.2.7 10.0.0.1 1234 80\r\n"), Binary(0x21, 0x11, kFour + std::string(300, 't'))}) {
    for (size_t size = 0; size < header.size(); ++size) {
      EXPECT_EQ(ParseProxyHeader(header.substr(0, size)).state, State::kIncomplete) << size;
    }
  }
}

TEST(ProxyHeader, WhatIsNoneIsSaidAsModRemoteipDoes) {
  const auto problem = [](const std::string& received) {
    const ProxyHeader read = ParseProxyHeader(received);
    EXPECT_EQ(read.state, State::kBad) << received;
    return read.problem;
  };
  EXPECT_THAT(problem("GET"), HasSubstr("does not begin with a PROXY header"));
  EXPECT_THAT(problem("POST"), HasSubstr("does not begin with a PROXY header")) << "at its second byte";
  EXPECT_THAT(problem("\x16\x03\x01"), HasSubstr("does not begin with a PROXY header"));
  EXPECT_THAT(problem("PROXY \r\n"), HasSubstr("AH03497: RemoteIPProxyProtocol: no family found in header 'PROXY '"));
  EXPECT_THAT(problem("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"),
              HasSubstr("AH03499: RemoteIPProxyProtocol: unknown family"));
  EXPECT_THAT(problem("PROXY TCP4\r\n"), HasSubstr("AH03497: RemoteIPProxyProtocol: no client-address"));
  EXPECT_THAT(problem("PROXY TCP4 ::1 ::1 1 2\r\n"), HasSubstr("AH03500"));
  EXPECT_THAT(problem("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"), HasSubstr("AH03500"));
  EXPECT_THAT(problem("PROXY TCP4 1.2.3.4\r\n"), HasSubstr("AH03497: RemoteIPProxyProtocol: no destination-address"));
  EXPECT_THAT(problem("PROXY TCP4 1.2.3.4 1.2.3.4\r\n"), HasSubstr("AH03497: RemoteIPProxyProtocol: no client-port"));
  EXPECT_THAT(problem("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"), HasSubstr("AH03501"));
  EXPECT_THAT(problem("PROXY TCP4 1.2.3.4 1.2.3.4 1x 2\r\n"), HasSubstr("AH03501"));
  EXPECT_THAT(problem("PROXY " + std::string(200, 'A')), HasSubstr("AH10185"));
  EXPECT_THAT(problem("PROXY UNKNOWN " + std::string(92, 'A') + "\r\n"), HasSubstr("AH10185")) << "a byte too long";
  EXPECT_THAT(problem(Binary(0x21, 0x11, kFour.substr(1))), HasSubstr("AH10187"));
  EXPECT_THAT(problem(Binary(0x21, 0x21, std::string(35, 'a'))), HasSubstr("AH10188"));
  EXPECT_THAT(problem(Binary(0x21, 0x12, kFour)), HasSubstr("AH10183: RemoteIPProxyProtocol: unsupported protocol 12"));
  EXPECT_THAT(problem(Binary(0x21, 0x31, std::string(216, 'u'))), HasSubstr("AH10183"));
  EXPECT_THAT(problem(Binary(0x22, 0x11, kFour)), HasSubstr("AH03507: RemoteIPProxyProtocol: unsupported command 22"));
  EXPECT_THAT(problem(Binary(0x11, 0x11, kFour)), HasSubstr("unsupported version 11"));
  EXPECT_THAT(problem(Binary(0x21, 0x11, std::string(5000, 't')).substr(0, 20)), HasSubstr("AH10186"));
}

}  // namespace
}  // namespace httpd::http
