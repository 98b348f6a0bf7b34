#include "httpd/modules/ssl_keys.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "httpd/config/tree.h"
#include "httpd/modules/ssl_owned.h"
#include "httpd/modules/ssl_setup.h"
#include "os/file.h"
#include "os/process.h"

namespace httpd::modules {

namespace {

using Bio = SslOwned<BIO>;
using Certificate = SslOwned<X509>;
using Key = SslOwned<EVP_PKEY>;

os::Error Wrong(const SslFile& file, const std::string& what) {
  return config::SyntaxError(file.where, what);
}

os::Result<std::string> TextOf(const SslFile& file, const char* directive) {
  auto text = os::ReadFile(file.path, 4U << 20);
  if (!text) {
    return Wrong(file, std::string(directive) + ": file '" + file.path + "' cannot be read: " +
                           (text.error().sys != 0 ? std::strerror(text.error().sys) : text.error().what.c_str()));
  }
  if (text.value().empty()) return Wrong(file, std::string(directive) + ": file '" + file.path + "' is empty");
  return text;
}

Bio Over(const std::string& text) {
  return Bio(::BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// For OpenSSL's question; what is known.
struct PassPhrase {
  std::string text;
  bool was_asked = false;
};

int OnPassPhrase(char* to, int most, int, void* known) {
  auto& pass = *static_cast<PassPhrase*>(known);
  pass.was_asked = true;
  if (pass.text.empty() || pass.text.size() > static_cast<size_t>(most)) return -1;
  std::memcpy(to, pass.text.data(), pass.text.size());
  return static_cast<int>(pass.text.size());
}

/// First line that `program` says. It may ask somebody, so it gets some time; whoever waits for the server waits too.
os::Result<std::string> AskForPassPhrase(const std::string& program, const std::string& host, const SslFile& key) {
  constexpr int kPatienceMs = 60000;
  constexpr size_t kMost = 1024;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return os::SysError(errno, "make a pipe");
  const os::Fd read_end(ends[0]);
  os::Fd write_end(ends[1]);
  os::SpawnOptions options;
  options.program = program;
  options.arguments = {program, host, "1"};
  options.environment = os::Environment();
  options.descriptors = {{write_end.get(), 1}};
  auto started = os::Spawn(options);
  if (!started) return Wrong(key, "SSLPassPhraseDialog: " + started.error().Text());
  write_end.Reset();
  std::string said;
  char bytes[kMost];
  for (;;) {
    pollfd wait{read_end.get(), POLLIN, 0};
    const int n = ::poll(&wait, 1, kPatienceMs);
    if (n < 0 && errno == EINTR) continue;
    const ssize_t got = n == 1 ? ::read(read_end.get(), bytes, sizeof bytes) : -1;
    if (got <= 0 || said.size() > kMost) break;
    said.append(bytes, static_cast<size_t>(got));
  }
  ::OPENSSL_cleanse(bytes, sizeof bytes);
  if (!started.value().WaitForEnd(0)) ::kill(started.value().pid(), SIGKILL);
  started.value().WaitForEnd(-1);
  started.value().TryReap();
  said.resize(std::min(said.find_first_of("\r\n"), said.size()));
  if (said.empty()) return Wrong(key, "SSLPassPhraseDialog: " + program + " said nothing for " + key.path);
  return said;
}

int NoPassPhrase(char*, int, int, void*) {
  return -1;
}

/// What is behind a certificate in its file: parameters that clients of old need. Source  mod_ssl, SSLCertificateFile
os::Status UseExtras(SSL_CTX* context, const SslFile& file, const std::string& text) {
  if (text.find("-----BEGIN DH PARAMETERS-----") != std::string::npos) {
    const Bio bio = Over(text);
    Key found;
    while (!found) {
      Key next(::PEM_read_bio_Parameters(bio.get(), nullptr));
      if (!next) break;
      if (::EVP_PKEY_is_a(next.get(), "DH") == 1) found = std::move(next);
    }
    ::ERR_clear_error();
    if (found && ::SSL_CTX_set0_tmp_dh_pkey(context, found.get()) == 1) {
      [[maybe_unused]] EVP_PKEY* const taken = found.release();
    } else if (found) {
      return Wrong(file,
                   "SSLCertificateFile: the DH PARAMETERS in '" + file.path + "' cannot be used: " + LastReason());
    }
  }
  if (text.find("-----BEGIN EC PARAMETERS-----") != std::string::npos) {
    const Bio bio = Over(text);
    while (Key next{::PEM_read_bio_Parameters(bio.get(), nullptr)}) {
      char name[80];
      size_t length = 0;
      if (::EVP_PKEY_get_group_name(next.get(), name, sizeof name, &length) != 1 ||
          ::EVP_PKEY_is_a(next.get(), "EC") != 1) {
        continue;
      }
      SSL_CTX_set1_groups_list(context, name);
      break;
    }
    ::ERR_clear_error();
  }
  return os::kDone;
}

}  // namespace

os::Status UseCertificate(SSL_CTX* context, const SslFile& certificate, const SslFile& key,
                          const std::string& pass_program, const std::string& host, bool has_extras) {
  ::ERR_clear_error();
  auto text = TextOf(certificate, "SSLCertificateFile");
  if (!text) return text.error();
  const Bio certificates = Over(text.value());
  const Certificate own(::PEM_read_bio_X509_AUX(certificates.get(), nullptr, NoPassPhrase, nullptr));
  if (!own || ::SSL_CTX_use_certificate(context, own.get()) != 1) {
    return Wrong(certificate, "AH02561: Failed to configure certificate " + host + ", check " + certificate.path +
                                  ": " + LastReason());
  }
  SSL_CTX_clear_chain_certs(context);
  while (Certificate next{::PEM_read_bio_X509(certificates.get(), nullptr, NoPassPhrase, nullptr)}) {
    if (SSL_CTX_add0_chain_cert(context, next.get()) == 1) [[maybe_unused]]
      X509* const taken = next.release();
  }
  ::ERR_clear_error();  // the end of the file is one

  const bool is_same_file = key.path == certificate.path;
  auto key_text = is_same_file ? text : TextOf(key, "SSLCertificateKeyFile");
  if (!key_text) return key_text.error();
  PassPhrase pass;
  const Bio bio = Over(key_text.value());
  Key own_key(::PEM_read_bio_PrivateKey(bio.get(), nullptr, OnPassPhrase, &pass));
  if (!own_key && pass.was_asked && !pass_program.empty()) {
    auto said = AskForPassPhrase(pass_program, host, key);
    if (!said) return said.error();
    pass.text = std::move(said).value();
    ::ERR_clear_error();
    const Bio again = Over(key_text.value());
    own_key.reset(::PEM_read_bio_PrivateKey(again.get(), nullptr, OnPassPhrase, &pass));
    ::OPENSSL_cleanse(pass.text.data(), pass.text.size());
    if (!own_key) {
      return Wrong(key, "AH02564: Failed to configure encrypted private key " + host + ", check " + key.path +
                            ": what " + pass_program + " said does not open it");
    }
  }
  ::OPENSSL_cleanse(key_text.value().data(), is_same_file ? 0 : key_text.value().size());
  if (!own_key && pass.was_asked) {
    ::ERR_clear_error();
    return Wrong(key, "AH02564: Failed to configure encrypted private key " + host + ", check " + key.path +
                          ": nobody is asked for its pass phrase here; store the key without one (openssl pkey -in " +
                          key.path + " -out FILE), or name a program with SSLPassPhraseDialog exec:");
  }
  if (!own_key) {
    const std::string why =
        is_same_file ? "it holds no private key, and no SSLCertificateKeyFile names one" : LastReason();
    ::ERR_clear_error();
    return Wrong(key, "AH02564: Failed to configure private key " + host + ", check " + key.path + ": " + why);
  }
  if (::X509_check_private_key(own.get(), own_key.get()) != 1) {
    ::ERR_clear_error();
    return Wrong(key, "AH02565: Certificate and private key " + host + " from " + certificate.path + " and " +
                          key.path + " do not match");
  }
  if (::SSL_CTX_use_PrivateKey(context, own_key.get()) != 1) {
    return Wrong(key, "AH02564: Failed to configure private key " + host + ", check " + key.path + ": " + LastReason());
  }
  return has_extras ? UseExtras(context, certificate, text.value()) : os::Status(os::kDone);
}

os::Status AddChain(SSL_CTX* context, const SslFile& chain) {
  auto text = TextOf(chain, "SSLCertificateChainFile");
  if (!text) return text.error();
  const Bio bio = Over(text.value());
  bool is_any = false;
  while (Certificate next{::PEM_read_bio_X509(bio.get(), nullptr, NoPassPhrase, nullptr)}) {
    if (SSL_CTX_add_extra_chain_cert(context, next.get()) == 1) [[maybe_unused]]
      X509* const taken = next.release();
    is_any = true;
  }
  ::ERR_clear_error();
  if (is_any) return os::kDone;
  return Wrong(chain, "AH01903: Failed to configure CA certificate chain: no certificate in " + chain.path);
}

os::Result<TicketKey> ReadTicketKey(const SslFile& file) {
  constexpr size_t kFileBytes = 48;
  constexpr size_t kPart = 16;
  auto text = TextOf(file, "SSLSessionTicketKeyFile");
  if (!text) return text.error();
  if (text.value().size() < kFileBytes) {
    return Wrong(file, "AH02288: SSLSessionTicketKeyFile: '" + file.path + "' must hold 48 random bytes");
  }
  TicketKey key;
  std::memcpy(key.name, text.value().data(), kPart);
  std::memcpy(key.signature, text.value().data() + kPart, kPart);
  std::memcpy(key.cipher, text.value().data() + 2 * kPart, kPart);
  ::OPENSSL_cleanse(text.value().data(), text.value().size());
  return key;
}

}  // namespace httpd::modules
