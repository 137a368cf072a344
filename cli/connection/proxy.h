// The proxy that the environment names, told apart from the server behind it.
#pragma once

#include <curl/curl.h>

#include <string>

namespace diptych::cli {

// Says what the proxy did to a transfer that failed, without its password: "the proxy http://host:3128 (https_proxy)
// refuses the connection". Empty where no proxy was asked, or where it is not at fault.
std::string ProxyFault(CURL* curl, CURLcode code);

}  // namespace diptych::cli
