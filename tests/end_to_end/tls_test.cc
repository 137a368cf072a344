// TLS to callers and mutual TLS between the processes.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/end_to_end/stack.h"
#include "tests/testing/paths.h"

namespace diptych {
namespace {

// An authority and one certificate that it signed for 127.0.0.1, as files.
class Certificates {
 public:
  explicit Certificates(const std::string& name) : folder_(::testing::TempDir() + "/diptych_tls_" + name) {
    std::filesystem::create_directories(folder_);
    const std::string commands =
        "cd '" + folder_ +
        "' && (openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority && "
        "openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=diptych && "
        "printf 'subjectAltName=IP:127.0.0.1\\n' >extensions && "
        "openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out "
        "cert.pem"
        ") >log 2>&1";
    made_ = std::system(commands.c_str()) == 0;
  }
  ~Certificates() { std::filesystem::remove_all(folder_); }

  bool made() const { return made_; }
  std::string authority() const { return folder_ + "/ca.pem"; }
  std::string cert() const { return "--tls_cert=" + folder_ + "/cert.pem"; }
  std::string key() const { return "--tls_key=" + folder_ + "/key.pem"; }

 private:
  const std::string folder_;
  bool made_ = false;
};

int DoctorExitCode(const std::string& address, const std::string& authority,
                   const std::vector<std::string>& further = {}) {
  std::vector<std::string> command{testing::BinaryPath("diptych"), "doctor", "--server", address};
  if (!authority.empty()) command.insert(command.end(), {"--tls_ca", authority});
  command.insert(command.end(), further.begin(), further.end());
  return testing::RunProgram(command).exit_code;
}

TEST(TlsTest, OnlyPeersOfTheAuthorityAreHeard) {
  const Certificates ours("ours"), theirs("theirs");
  if (!ours.made() || !theirs.made()) GTEST_SKIP() << "the openssl command is missing";
  const testing::Stack stack({.gateway_flags = {ours.cert(), ours.key(), "--tls_tier_ca=" + ours.authority()},
                              .tier_flags = {ours.cert(), ours.key(), "--tls_client_ca=" + ours.authority()}});
  EXPECT_EQ(DoctorExitCode(stack.address(), ours.authority()), 0);
  EXPECT_EQ(DoctorExitCode(stack.address(), theirs.authority()), 3);
  EXPECT_EQ(DoctorExitCode(stack.address(), ""), 3) << "plain text";
}

TEST(TlsTest, AGatewayThatAsksForACertificateIsShownOne) {
  const Certificates ours("callers"), theirs("others");
  if (!ours.made() || !theirs.made()) GTEST_SKIP() << "the openssl command is missing";
  const testing::Stack stack({.gateway_flags = {ours.cert(), ours.key(), "--tls_client_ca=" + ours.authority()}});
  EXPECT_EQ(DoctorExitCode(stack.address(), ours.authority(), {ours.cert(), ours.key()}), 0);
  EXPECT_EQ(DoctorExitCode(stack.address(), ours.authority()), 3) << "none";
  EXPECT_EQ(DoctorExitCode(stack.address(), ours.authority(), {theirs.cert(), theirs.key()}), 3) << "another's";
  EXPECT_EQ(DoctorExitCode(stack.address(), ours.authority(), {ours.cert()}), 2) << "no key";
  EXPECT_EQ(DoctorExitCode(stack.address(), "", {ours.cert(), ours.key()}), 2) << "TLS is off";
}

}  // namespace
}  // namespace diptych
