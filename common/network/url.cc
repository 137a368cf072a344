#include "common/network/url.h"

namespace diptych {

Url ParsedUrl(const std::string& text, unsigned flags) {
  Url url(curl_url(), curl_url_cleanup);
  curl_url_set(url.get(), CURLUPART_URL, text.c_str(), flags);
  return url;
}

std::string PartOf(const Url& url, CURLUPart part, unsigned flags) {
  char* text = nullptr;
  if (curl_url_get(url.get(), part, &text, flags) != CURLUE_OK) return "";
  const std::string copy = text;
  curl_free(text);
  return copy;
}

}  // namespace diptych
