// Addresses by libcurl's own parser, so that what is checked is what is asked.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

namespace diptych {

using Url = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

// Without parts if `text` is no address. `flags` are libcurl's, CURLU_….
Url ParsedUrl(const std::string& text, unsigned flags = 0);

// Empty if the address has no such part.
std::string PartOf(const Url& url, CURLUPart part, unsigned flags = 0);

}  // namespace diptych
