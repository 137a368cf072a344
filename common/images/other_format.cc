#include "common/images/other_format.h"

#include <cstddef>

namespace diptych {
namespace {

using namespace std::string_view_literals;

struct Beginning {
  std::string_view bytes;
  std::string_view what;
  size_t offset = 0;
};

constexpr std::string_view kHeic = "HEIC: convert it";
constexpr std::string_view kAvif = "AVIF: convert it";
constexpr std::string_view kTiff = "TIFF: convert it";
constexpr std::string_view kSvg = "SVG, which has no pixels: render it";
constexpr std::string_view kPage = "an HTML page: its address is not that of the image";
constexpr std::string_view kBase64 = "base64 text: send the bytes that it stands for";

constexpr Beginning kBeginnings[] = {
    {"ftyphe"sv, kHeic, 4},
    {"ftypmif1"sv, kHeic, 4},
    {"ftypmsf1"sv, kHeic, 4},
    {"ftypavi"sv, kAvif, 4},
    {"II*\0"sv, kTiff},
    {"MM\0*"sv, kTiff},
    {"BM"sv, "BMP: convert it"},
    {"\0\0\1\0"sv, "an icon: convert it"},
    {"\xff\x0a"sv, "JPEG XL: convert it"},
    {"JXL \r\n"sv, "JPEG XL: convert it", 4},
    {"jP  \r\n"sv, "JPEG 2000: convert it", 4},
    {"%PDF"sv, "PDF: convert its page"},
    {"<svg"sv, kSvg},
    {"<?xml"sv, kSvg},
    {"<!DOCTYPE html"sv, kPage},
    {"<!doctype html"sv, kPage},
    {"<html"sv, kPage},
    {"version https://git-lfs"sv, "a pointer of Git LFS: get the image with git lfs pull"},
    {"data:image/"sv, "a data: URL: send the bytes that it stands for"},
    {"/9j/"sv, kBase64},
    {"iVBORw0KGgo"sv, kBase64},
    {"UklGR"sv, kBase64},
    {"R0lGOD"sv, kBase64},
};

}  // namespace

std::string_view OtherFormat(std::string_view bytes) {
  for (const Beginning& beginning : kBeginnings) {
    if (bytes.size() > beginning.offset && bytes.substr(beginning.offset).starts_with(beginning.bytes)) {
      return beginning.what;
    }
  }
  return "";
}

}  // namespace diptych
