// wire_times [ROUNDS]: what it costs to bring an image's tensor from the vision tier to the language tier, for each
// place where the model could be cut and each form on the wire. A real vision service whose model computes nothing and
// whose cache holds the image answers over a socket of the loopback interface; the language tier's own code receives,
// checks and converts. Each row in turn in every round, one call at a time; medians. Processor time
// is that of both ends; a busy machine stretches it less than the time that a call takes.
#include <ATen/ATen.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/median.h"
#include "common/process/process.h"
#include "common/requests/image_preparation.h"
#include "common/tiers/tier_process.h"
#include "common/tiers/visual_tokens.h"
#include "diptych/v1/vision.grpc.pb.h"
#include "language_service/engine/projection.h"
#include "language_service/images/visual_tokens_receiver.h"
#include "tests/testing/sample_images.h"
#include "vision_service/server.h"
#include "vision_service/streamed_tensor.h"

namespace {

using namespace diptych;  // NOLINT
using Clock = std::chrono::steady_clock;

constexpr int kImageSize = 224;
constexpr char kFingerprint[] = "bench";

// A place to cut blip2-opt-2.7b, and the tensor that crosses there.
struct Cut {
  const char* name;
  int rows, width;
};
constexpr Cut kCuts[] = {{"vit", 257, 1408}, {"qformer", 32, 768}, {"projected", 32, 2560}};
constexpr v1::NumberType kForms[] = {v1::NUMBER_TYPE_FLOAT32, v1::NUMBER_TYPE_BFLOAT16, v1::NUMBER_TYPE_INT8};

double MillisecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "wire_times: %s\n", status.ToString().c_str());
  std::exit(1);
}

template <typename T>
T Must(absl::StatusOr<T> result) {
  Check(result.status());
  return *std::move(result);
}

// A vision service whose every image is one tensor.
class NullVision {
 public:
  explicit NullVision(const Cut& cut) : cut_(cut), tokens_(at::randn({1, cut.rows, cut.width})) {
    vision::ServedVisionModel model;
    model.description.set_fingerprint(kFingerprint);
    model.description.set_dtype("float32");
    model.description.set_patch_size(14);
    model.description.set_image_size(kImageSize);
    model.description.set_visual_width(cut.width);
    model.encode = [tokens = tokens_](const at::Tensor&, int) { return tokens; };
    server_ = Must(vision::VisionServer::Start({.listen = "127.0.0.1:0", .max_batch = 1}, std::move(model)));
    stub_ = v1::VisionService::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", server_->port()), grpc::InsecureChannelCredentials()));
  }

  // Milliseconds until the tensor is there for the next part of the model.
  double Fetch(v1::NumberType form) {
    const auto begin = Clock::now();
    const v1::EncodeImageRequest request = Request(form);
    grpc::ClientContext context;
    language::VisualTokensReceiver receiver(Expected(request), form);
    const auto reader = stub_->EncodeImage(&context, request);
    for (v1::EncodeImageResponse message; reader->Read(&message);) Check(receiver.Accept(message));
    Check(absl::Status(static_cast<absl::StatusCode>(reader->Finish().error_code()), "EncodeImage"));
    language::ServedLanguageModel next;
    // As many rows as query tokens, whose numbers are checked, too.
    next.project = [](const at::Tensor& tokens) { return tokens.to(at::kFloat).narrow(1, 0, 32); };
    language::Projection image = {
        .tokens = Must(receiver.Finish()), .image_key = "key", .with_attention = false, .done = nullptr};
    Must(language::ProjectImages(next, std::span(&image, 1))[0]);
    return MillisecondsSince(begin);
  }

  // Milliseconds until the vision engine has made the form, once an image.
  double Make(v1::NumberType form) const {
    const at::Tensor tokens = tokens_[0];
    const auto begin = Clock::now();
    vision::ToStreamed(tokens, form);
    return MillisecondsSince(begin);
  }

 private:
  v1::EncodeImageRequest Request(v1::NumberType form) const {
    v1::EncodeImageRequest request;
    request.set_image(image_);
    request.set_model_fingerprint(kFingerprint);
    request.set_dtype(form);
    return request;
  }

  language::ExpectedTokens Expected(const v1::EncodeImageRequest& request) const {
    return {.model_fingerprint = kFingerprint,
            .image_key = ImageKey(request.image(), {.image_size = kImageSize}, kFingerprint),
            .tokens = cut_.rows,
            .width = cut_.width,
            .image_size = kImageSize};
  }

  const Cut cut_;
  const at::Tensor tokens_;
  const std::string image_ = testing::GoodPng();
  std::unique_ptr<vision::VisionServer> server_;
  std::unique_ptr<v1::VisionService::Stub> stub_;
};

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 300;
  KeepFreedMemory();
  if (rounds < 1) return std::fputs("wire_times [ROUNDS], 1 or more\n", stderr), 2;
  Check(StartLog("wire_times", "error", "text"));
  struct Row {
    const Cut* cut;
    v1::NumberType form;
    NullVision* vision;
    std::vector<double> made = {}, fetched = {}, cpu = {};
  };
  std::vector<std::unique_ptr<NullVision>> services;
  std::vector<Row> rows;
  for (const Cut& cut : kCuts) {
    services.push_back(std::make_unique<NullVision>(cut));
    for (const v1::NumberType form : kForms) rows.push_back({&cut, form, services.back().get()});
  }
  for (Row& row : rows) row.vision->Fetch(row.form);  // fills the caches
  for (int round = 0; round < rounds; ++round) {
    for (Row& row : rows) {
      row.made.push_back(row.vision->Make(row.form));
      const std::clock_t begin = std::clock();
      row.fetched.push_back(row.vision->Fetch(row.form));
      row.cpu.push_back(1e3 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
    }
  }
  std::printf("cut        form                     bytes  ms at 1 Gbit/s  made, ms  fetched, ms  of processors, ms\n");
  for (const Row& row : rows) {
    const auto bytes = static_cast<long>(StreamedBytes(row.form, row.cut->rows, row.cut->width));
    std::printf("%-10s %-21s %8ld %15.2f %9.2f %12.2f %18.2f\n", row.cut->name, v1::NumberType_Name(row.form).c_str(),
                bytes, static_cast<double>(bytes) * 8 / 1e6, Median(row.made), Median(row.fetched), Median(row.cpu));
  }
  return 0;
}
