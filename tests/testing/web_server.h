// A real https server on 127.0.0.1, for what fetches images by address.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/testing/child_process.h"
#include "tests/testing/paths.h"

namespace diptych::testing {

// tests/gateway/image_urls/https_server.py says what its paths do. The authority that signed its certificate is of its
// own. Port 0: it did not start.
class WebServer {
 public:
  WebServer() : folder_(::testing::TempDir() + "/diptych_https_" + std::to_string(::getpid())) {
    std::filesystem::create_directories(folder_);
    const std::string commands =
        "cd '" + folder_ +
        "' && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=web "
        "-addext subjectAltName=IP:127.0.0.1,DNS:localhost >log 2>&1";
    if (std::system(commands.c_str()) != 0) return;
    process_ = std::make_unique<ChildProcess>(std::vector<std::string>{
        "/usr/bin/env", "python3", RepositoryPath("tests/gateway/image_urls/https_server.py"), folder_ + "/cert.pem",
        folder_ + "/key.pem", RepositoryPath("models/demo/samples/red_circle_blue_star.png")});
    if (!process_->WaitForOutput(".\n")) return;
    port_ = std::atoi(process_->out().substr(5).c_str());
  }
  ~WebServer() {
    process_.reset();
    std::filesystem::remove_all(folder_);
  }

  int port() const { return port_; }
  std::string authority() const { return folder_ + "/cert.pem"; }
  std::string Url(const std::string& path, const std::string& host = "127.0.0.1") const {
    return "https://" + host + ":" + std::to_string(port_) + "/" + path;
  }
  bool WasAsked(const std::string& path) const {
    return process_->out().find("GET /" + path + "\n") != std::string::npos;
  }
  void AwaitAsked(const std::string& path) { EXPECT_TRUE(process_->WaitForOutput("GET /" + path + "\n")); }

 private:
  const std::string folder_;
  std::unique_ptr<ChildProcess> process_;
  int port_ = 0;
};

}  // namespace diptych::testing
