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
    if (std::system("openssl version >/dev/null 2>&1") != 0) GTEST_SKIP() << "the openssl command is missing";
    for (const char* name : {"a", "b"}) Make(name, "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Makes NAME.pem and NAME.key.
  void Make(const std::string& name, const std::string& options) const {
    Run("openssl req -x509 -nodes -subj /CN=" + name + " -keyout " + name + ".key -out " + name + ".pem " + options);
  }
  void Run(const std::string& command) const {
    ASSERT_EQ(std::system(("cd '" + folder_ + "' && " + command + " >log 2>&1").c_str()), 0) << command;
  }
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

std::string TextOf(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(PemTest, RefusesAListOfCertificatesThatIsDamaged) {
  const std::string a = TextOf(Path("a.pem")), b = TextOf(Path("b.pem"));
  const std::string whole = File("whole", a + b), half = File("half", a + b.substr(0, b.size() / 2));
  EXPECT_TRUE(ReadPemFiles({whole, Path("a.key"), whole}).ok());
  EXPECT_THAT(FaultOf({half, Path("a.key"), ""}), HasSubstr("--tls_cert"));
  EXPECT_THAT(FaultOf({Path("a.pem"), Path("a.key"), half}), HasSubstr("--tls_client_ca"));
}

TEST_F(PemTest, RefusesAKeyThatIsTooWeakToBeShown) {
  Make("weak", "-newkey rsa:1024 -days 2");
  EXPECT_THAT(FaultOf({Path("weak.pem"), Path("weak.key"), ""}), HasSubstr("too weak"));
}

TEST_F(PemTest, AnExpiredCertificateTakesNoPlace) {
  Run("openssl x509 -in a.pem -signkey a.key -days -1 -out old.pem");
  const TlsOptions old = {Path("old.pem"), Path("a.key"), Path("b.pem")};
  const PemTexts in_use = *ReadPemFiles({Path("a.pem"), Path("a.key"), Path("b.pem")});
  EXPECT_THAT(std::string(ReadPemFilesAgain(old, in_use).status().message()), HasSubstr("expired"));
  const auto at_the_start = ReadPemFiles(old);
  ASSERT_TRUE(at_the_start.ok()) << at_the_start.status();
  EXPECT_TRUE(ReadPemFilesAgain(old, *at_the_start).ok());
  EXPECT_TRUE(ReadPemFilesAgain({Path("a.pem"), Path("a.key"), Path("b.pem")}, *at_the_start).ok());
}

TEST_F(PemTest, AFaultNamesNoFile) {
  EXPECT_THAT(FaultOf({Path("missing"), Path("a.key"), ""}), ::testing::Not(HasSubstr(folder_)));
}

}  // namespace
}  // namespace diptych
