// Asks a Diptych server about an image: java -cp 'target/classes:target/lib/*' Ask HOST:PORT IMAGE QUESTION
import com.diptych.v1.*;
import com.google.protobuf.ByteString;
import com.google.rpc.ErrorInfo;
import io.grpc.*;
import io.grpc.protobuf.StatusProto;
import java.nio.file.*;
import java.util.concurrent.TimeUnit;

public class Ask {
  static Question question(ByteString image, String text, GenerationOptions.Builder generation) {
    return Question.newBuilder()
        .addImages(Image.newBuilder().setData(image))
        .addTurns(Turn.newBuilder().setRole(Role.ROLE_USER).setText(text))
        .setGeneration(generation)
        .build();
  }

  static StatusRuntimeException errorOf(Runnable call) {
    try {
      call.run();
    } catch (StatusRuntimeException error) {
      return error;
    }
    throw new AssertionError("an answer where an error was to come");
  }

  public static void main(String[] words) throws Exception {
    var channel = Grpc.newChannelBuilder(words[0], InsecureChannelCredentials.create()).build();
    var gateway = GatewayServiceGrpc.newBlockingStub(channel).withDeadlineAfter(30, TimeUnit.SECONDS); // for all calls
    var image = ByteString.copyFrom(Files.readAllBytes(Path.of(words[1])));
    var question = question(image, words[2], GenerationOptions.newBuilder());
    var ask = AskRequest.newBuilder().setQuestion(question).build();

    var answer = gateway.ask(ask).getAnswer();
    var vit = answer.getTimings().getVit();
    var total = answer.getTimings().getTotal();
    var budget = answer.getContextBudget();
    System.out.println("answer: " + answer.getText());
    System.out.printf("timings: vit %.4f s ", vit.getSeconds() + vit.getNanos() / 1e9);
    System.out.printf("of %.4f s%n", total.getSeconds() + total.getNanos() / 1e9);
    System.out.printf("budget: %d image tokens, ", budget.getImageTokens());
    System.out.printf("%d of %d left%nstreamed: ", budget.getRemaining(), budget.getWindow());
    var stream = AskStreamRequest.newBuilder().setQuestion(question).build();
    gateway.askStream(stream).forEachRemaining(event -> System.out.print(event.getDelta().getText()));

    var sixty = question(image, words[2], GenerationOptions.newBuilder().setMinNewTokens(60).setMaxNewTokens(60));
    var context = Context.current().withCancellation();
    var cancelled = context.call(() -> gateway.askStream(AskStreamRequest.newBuilder().setQuestion(sixty).build()));
    var error = errorOf(() -> cancelled.forEachRemaining(event -> context.cancel(null)));
    System.out.println("\ncancelled: " + error.getStatus().getCode());
    error = errorOf(() -> gateway.withDeadlineAfter(100, TimeUnit.MICROSECONDS).ask(ask));
    System.out.println("deadline: " + error.getStatus().getCode());
    var wrong = question(ByteString.copyFromUtf8("no image"), words[2], GenerationOptions.newBuilder());
    error = errorOf(() -> gateway.ask(AskRequest.newBuilder().setQuestion(wrong).build()));
    var info = StatusProto.fromThrowable(error).getDetails(0).unpack(ErrorInfo.class);
    System.out.println("refused: " + error.getStatus().getCode() + " " + info.getReason());
    channel.shutdownNow();
  }
}
