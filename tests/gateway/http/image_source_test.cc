#include "gateway/http/image_source.h"

#include <gtest/gtest.h>

#include "common/status.h"

namespace diptych::gateway {
namespace {

constexpr char kBytes[] = "\xfb\xff\xfe?>";  // of which base64 needs each of its special letters
constexpr char kBase64[] = "+//+Pz4=";
constexpr char kUrlSafe[] = "-__-Pz4";

v1::Image Read(std::string source) {
  v1::Image image;
  EXPECT_EQ(ReadImageSource(std::move(source), "image", image), absl::OkStatus());
  return image;
}

TEST(ImageSourceTest, TakesBase64InEveryForm) {
  for (const std::string& text : {std::string(kBase64), std::string(kUrlSafe), std::string("  +//+\r\nPz4= \n"),
                                  std::string("%2B%2F%2F%2BPz4%3D"), std::string("+//+Pz4")}) {
    EXPECT_EQ(Read(text).data(), kBytes) << text;
    for (const char* head :
         {"data:image/png;base64,", "data:;base64,", "DATA:IMAGE/PNG;BASE64,", "data:base64,", "base64,",
          "data:text/plain;charset=utf-8;base64 ,", "image/png;base64,", " data:image/png; base64, "}) {
      EXPECT_EQ(Read(head + text).data(), kBytes) << head << text;
    }
  }
}

TEST(ImageSourceTest, TakesPercentEncodedBytes) {
  EXPECT_EQ(Read("data:image/png,%FB%ff%fe?%3E").data(), kBytes);
}

TEST(ImageSourceTest, KeepsAnAddress) {
  const v1::Image image = Read(" https://example.org/a.png?b=c,d ");
  EXPECT_EQ(image.url(), "https://example.org/a.png?b=c,d");
  EXPECT_FALSE(image.has_data());
}

TEST(ImageSourceTest, RefusesTheRestNamingItsPlaceAndQuotingNothing) {
  for (const char* wrong :
       {"", "  ", "data:", "data:image/png;base64", "data:image/png;base64,&secret", "secret!", "a,secret"}) {
    v1::Image image;
    const absl::Status status = ReadImageSource(wrong, "messages[0]", image);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_EQ(FieldOf(status), "messages[0]");
    EXPECT_EQ(status.message().find("secret"), absl::string_view::npos);
  }
}

TEST(ImageSourceTest, TellsBytesThatPythonWroteAsText) {
  for (const char* wrong : {"b'+//+Pz4='", "data:image/png;base64,b'+//+Pz4='", "data:image/png;base64,b\"+//+\""}) {
    v1::Image image;
    EXPECT_NE(ReadImageSource(wrong, "image", image).message().find("decode()"), absl::string_view::npos) << wrong;
  }
}

TEST(ImageSourceTest, TellsThePathOfAFile) {
  for (const char* path : {"/tmp/cat.jpg", "cat.PNG", "./cat", "~/cat.webp", "../a b/cat", "C:\\cat.jpg", "c:/cat",
                           "file:///tmp/cat.jpg", "FILE:cat", "\\\\host\\cat", "data:image/png;base64,/tmp/cat.png"}) {
    v1::Image image;
    const absl::Status status = ReadImageSource(path, "image", image);
    EXPECT_EQ(FieldOf(status), "image") << path;
    EXPECT_NE(status.message().find("path of a file"), absl::string_view::npos) << path << ": " << status;
  }
  EXPECT_EQ(Read("https://example.org/cat.png").url(), "https://example.org/cat.png");
}

}  // namespace
}  // namespace diptych::gateway
