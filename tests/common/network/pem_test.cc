#include "common/network/pem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace diptych {
namespace {

using ::testing::HasSubstr;

// Two certificates with their keys, as files a.pem, a.key, b.pem and b.key.
class PemTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_);
    for (const std::string name : {"a", "b"}) {
      const std::string command =
          "cd '" + folder_ + "' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 " +
          "-nodes -days 2 -subj /CN=" + name + " -keyout " + name + ".key -out " + name + ".pem >log 2>&1";
      if (std::system(command.c_str()) != 0) GTEST_SKIP() << "the openssl command is missing";
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name) << text;
    return folder_ + "/" + name;
  }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }

  std::string FaultOf(const TlsOptions& tls) const { return std::string(ReadPemFiles(tls).status().message()); }

  const std::string folder_ = ::testing::TempDir() + "/diptych_pem_test";
};

TEST_F(PemTest, TakesACertificateWithItsKey) {
  const auto texts = ReadPemFiles({Path("a.pem"), Path("a.key"), Path("b.pem")});
  ASSERT_TRUE(texts.ok()) << texts.status();
  EXPECT_THAT(texts->cert, HasSubstr("BEGIN CERTIFICATE"));
  EXPECT_TRUE(ReadPemFiles({"", "", Path("b.pem")}).ok());
}

TEST_F(PemTest, RefusesWhatIsNoPairOfTheTwo) {
  EXPECT_THAT(FaultOf({Path("a.pem"), Path("b.key"), ""}), HasSubstr("not the key of the certificate"));
  EXPECT_THAT(FaultOf({Path("a.pem"), "", ""}), HasSubstr("together"));
  EXPECT_THAT(FaultOf({Path("a.pem"), File("empty", ""), ""}), HasSubstr("--tls_key: cannot read"));
  EXPECT_THAT(FaultOf({Path("missing"), Path("a.key"), ""}), HasSubstr("--tls_cert: cannot read"));
  EXPECT_THAT(FaultOf({Path("a.key"), Path("a.key"), ""}), HasSubstr("--tls_cert"));
  const std::string junk = File("junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  EXPECT_THAT(FaultOf({junk, Path("a.key"), ""}), HasSubstr("--tls_cert"));
  EXPECT_THAT(FaultOf({Path("a.pem"), Path("a.key"), junk}), HasSubstr("--tls_client_ca"));
}

TEST_F(PemTest, AFaultNamesNoFile) {
  EXPECT_THAT(FaultOf({Path("missing"), Path("a.key"), ""}), ::testing::Not(HasSubstr(folder_)));
}

}  // namespace
}  // namespace diptych
