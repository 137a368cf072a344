// Where images come from, and what is said when they do not.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/cli/cli_fixture.h"
#include "tests/testing/sample_images.h"
#include "tests/testing/web_server.h"

namespace diptych::cli {
namespace {

using testing::DeltaMessage;
using testing::FakeLanguageTier;
using testing::Finished;
using testing::FinishedMessage;
using testing::StartedMessage;

class ImagesTest : public CliFixture {
 protected:
  void SetUp() override {
    StartGateway(language_.target());
    for (int i = 0; i < 100 && Diptych({"status"}).exit_code != 0; ++i) {
    }
  }

  std::function<void()> on_question_;
  // Answers how many bytes the images have.
  FakeLanguageTier language_{[this](int, auto*, const v1::GenerateRequest& request, auto* writer) {
    if (on_question_) on_question_();
    std::string sizes;
    for (const v1::Image& image : request.question().images()) sizes += std::to_string(image.data().size()) + " ";
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage(sizes + "bytes", 5));
    writer->Write(FinishedMessage(sizes + "bytes"));
    return grpc::Status::OK;
  }};
  const std::string png_ = testing::PngHeader(8, 8);
  const std::string bytes_ = std::to_string(png_.size()) + " bytes";
};

TEST_F(ImagesTest, ComesFromStandardInput) {
  const Finished ask = Diptych({"ask", "--image", "-"}, png_);
  EXPECT_EQ(ask.exit_code, 0) << ask.err;
  EXPECT_EQ(ask.out, bytes_ + "\n");
  const Finished table = Diptych({"ask", "-", "-q", "one?", "two?"}, png_);
  EXPECT_EQ(table.exit_code, 0) << table.err;
  ASSERT_EQ(Lines(table.out).size(), 3u) << table.out;
  for (const int line : {1, 2}) {
    EXPECT_EQ(Lines(table.out)[line].find("stdin"), 0u) << "read once, asked about twice: " << table.out;
    EXPECT_NE(Lines(table.out)[line].find(bytes_), std::string::npos) << table.out;
  }
}

TEST_F(ImagesTest, ComesFromAPipe) {
  const std::string pipe = ::testing::TempDir() + "/diptych_images_test_pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  files_.push_back(pipe);
  std::thread writer([&] { std::ofstream(pipe, std::ios::binary) << png_; });
  const Finished ask = Diptych({"ask", pipe});
  writer.join();
  EXPECT_EQ(ask.out, bytes_ + "\n") << ask.err;
}

TEST_F(ImagesTest, MayStandWithoutAFlag) {
  const std::string file = WriteFile("a.png", png_);
  EXPECT_EQ(Diptych({"ask", file}).out, bytes_ + "\n");
  EXPECT_EQ(Diptych({"ask", "-q", "What?", file, "--stream"}).out, bytes_ + "\n");
  EXPECT_EQ(Diptych({"chat", file}, "Hello\n").out, bytes_ + "\n");
  EXPECT_EQ(Lines(Diptych({"ask", file, file}).out).size(), 3u);
}

TEST_F(ImagesTest, ChatReadsAgainWhatCouldNotBeRead) {
  const std::string name = ::testing::TempDir() + "/diptych_images_test_again";
  std::filesystem::create_symlink("/dev/null", name);
  files_.push_back(name);
  absl::Notification is_pipe;
  on_question_ = [&] {
    if (is_pipe.HasBeenNotified()) return;
    std::filesystem::remove(name);
    EXPECT_EQ(mkfifo(name.c_str(), 0600), 0);
    is_pipe.Notify();
  };
  std::thread writer([&] {
    is_pipe.WaitForNotification();
    std::ofstream(name, std::ios::binary) << png_;
  });
  const Finished chat = Diptych({"chat"}, absl::StrCat("/image ", name, "\nHello\n/image ", name, "\nHello\n"));
  if (!is_pipe.HasBeenNotified()) is_pipe.Notify();
  const int end = open(name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // for a writer that chat did not read
  writer.join();
  close(end);
  EXPECT_NE(chat.err.find("this is empty"), std::string::npos) << chat.err;
  EXPECT_EQ(chat.out, "bytes\n" + bytes_ + "\n");
}

TEST_F(ImagesTest, ComesFromAnHttpsAddress) {
  const testing::WebServer web;
  if (web.port() == 0) GTEST_SKIP() << "no openssl or python3";
  setenv("NO_PROXY", "*", 1);
  setenv("SSL_CERT_FILE", web.authority().c_str(), 1);
  const std::string size =
      std::to_string(testing::ReadRepositoryFile("models/demo/samples/red_circle_blue_star.png").size());
  for (const char* path : {"image", "hops/3", "image?with=query"}) {
    const Finished ask = Diptych({"ask", web.Url(path)});
    EXPECT_EQ(ask.out, size + " bytes\n") << path << ask.err;
  }
  for (const auto& [path, words] : {std::pair{"gone", "status 404"},
                                    {"hops/9", "without end"},
                                    {"to/http://127.0.0.1/image", "not https"},
                                    {"said", "more than 256 MiB"}}) {
    const Finished ask = Diptych({"ask", web.Url(path)});
    EXPECT_NE(ask.exit_code, 0) << path;
    EXPECT_NE(ask.err.find(words), std::string::npos) << path << ": " << ask.err;
  }
  unsetenv("SSL_CERT_FILE");
  EXPECT_NE(Diptych({"ask", web.Url("image")}).err.find("certificate is not accepted"), std::string::npos);
  EXPECT_NE(Diptych({"ask", "https://127.0.0.1:1/a.png"}).err.find("refuses the connection"), std::string::npos);
  EXPECT_EQ(
      Diptych({"ask", "https://no.such.host.invalid/a.png"}).err,
      "diptych: FETCH_FAILED: https://no.such.host.invalid/a.png: the name of the server is not known. Download the "
      "image and give the file.\n");
}

TEST_F(ImagesTest, WhatGrpcDoesNotTakeIsTooLarge) {
  const testing::FakeLanguageTier language;
  StartGateway(language.target());
  const Finished finished = Diptych({"ask", WriteFile("large.png", png_ + std::string(70 << 20, 'x'))});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_NE(finished.err.find("IMAGE_TOO_LARGE: the images of one question are larger"), std::string::npos)
      << finished.err;
  EXPECT_NE(finished.err.find("Shrink the image"), std::string::npos) << finished.err;
}

TEST_F(ImagesTest, WhatIsNoImageFileIsSaidInPlainWords) {
  const std::string empty = WriteFile("empty.png", ""), file = WriteFile("a.png", png_);
  const std::string loop = ::testing::TempDir() + "/diptych_images_test_loop";
  ASSERT_EQ(symlink(loop.c_str(), loop.c_str()), 0);
  files_.push_back(loop);
  for (const auto& [image, words] :
       {std::pair<std::string, std::string>{"/no/such.png", "/no/such.png: there is no such file"},
        {::testing::TempDir(), "this is a directory; give the images in it"},
        {file + "/b.png", "there is no such file"},
        {empty, "this is empty"},
        {loop, "link to itself"},
        {std::string(5000, 'a'), "too long"},
        {"data:image/png;base64," + std::string(90'000, 'A'), "give the image's file"},
        {"http://a.example/b.png", "https addresses only"},
        {"ftp://a.example/b.png", "https addresses only"},
        {"", "the name of a file is missing"},
        {"what", "a question is given with --question, in quotes"},
        {"What is this?", "a question is given with --question"}}) {
    for (const char* command : {"ask", "analyze", "attention", "sweep", "chat"}) {
      const Finished finished = Diptych({command, "--image", image});
      EXPECT_NE(finished.exit_code, 0) << command << " " << image;
      EXPECT_NE(finished.err.find(words), std::string::npos) << command << ": " << finished.err;
      EXPECT_EQ(Lines(finished.err).size(), 1u) << finished.err;
      EXPECT_LT(finished.err.size(), 1000u);
    }
  }
  const Finished json = Diptych({"ask", "--json", "/no/such.png"});
  EXPECT_EQ(json.exit_code, 2);
  EXPECT_EQ(JsonLines(json.err)[0]["error"]["message"], "/no/such.png: there is no such file");
}

}  // namespace
}  // namespace diptych::cli
