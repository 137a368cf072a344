// The real binary against a gateway in this process, in front of fake tiers.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "gateway/server.h"
#include "tests/testing/child_process.h"
#include "tests/testing/fake_tiers.h"
#include "tests/testing/image_headers.h"
#include "tests/testing/paths.h"

namespace diptych::cli {

class CliFixture : public ::testing::Test {
 protected:
  void StartGateway(const std::string& language_target, gateway::Options options = {}) {
    options.listen = "127.0.0.1:0";
    options.language_target = language_target;
    options.vision_target = vision_.target();
    auto server = gateway::GatewayServer::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    gateway_ = *std::move(server);
    server_ = "127.0.0.1:" + std::to_string(gateway_->port());
  }

  // diptych ARGUMENTS, with --server through the environment.
  testing::Finished Diptych(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), testing::BinaryPath("diptych"));
    testing::MeetScripts();
    const testing::Finished finished = testing::RunProgram(arguments, input, {"DIPTYCH_SERVER=" + server_});
    testing::MeetScripts();
    return finished;
  }

  // A file of this test's own.
  std::string WriteFile(const std::string& name, const std::string& bytes) {
    const std::string file = ::testing::TempDir() + "/" + name;
    std::ofstream(file, std::ios::binary) << bytes;
    files_.push_back(file);
    return file;
  }

  static std::vector<std::string> Lines(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }

  static std::vector<nlohmann::json> JsonLines(const std::string& text) {
    std::vector<nlohmann::json> objects;
    for (const std::string& line : Lines(text)) objects.push_back(nlohmann::json::parse(line));
    return objects;
  }

  void TearDown() override {
    for (const std::string& file : files_) std::filesystem::remove(file);
  }

  testing::FakeVisionTier vision_;
  std::unique_ptr<gateway::GatewayServer> gateway_;
  std::string server_;
  std::vector<std::string> files_;
};

}  // namespace diptych::cli
