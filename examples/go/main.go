// Asks a Diptych server about an image: ask HOST:PORT IMAGE QUESTION. scripts/examples.sh generates example.com/ask/v1.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	v1 "example.com/ask/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func question(image []byte, text string, tokens *int32) *v1.Question {
	return &v1.Question{Images: []*v1.Image{{Source: &v1.Image_Data{Data: image}}},
		Turns:      []*v1.Turn{{Role: v1.Role_ROLE_USER, Text: text}},
		Generation: &v1.GenerationOptions{MaxNewTokens: tokens, MinNewTokens: tokens}}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	image, sixty := must(os.ReadFile(os.Args[2])), int32(60)
	channel := must(grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials())))
	client, asked := v1.NewGatewayServiceClient(channel), question(image, os.Args[3], nil)
	ctx, done := context.WithTimeout(context.Background(), 30*time.Second) // for all that follows
	defer done()
	answer := must(client.Ask(ctx, &v1.AskRequest{Question: asked})).Answer
	fmt.Println("answer:", answer.Text)
	fmt.Println("timings: vit", answer.Timings.Vit.AsDuration(), "of", answer.Timings.Total.AsDuration())
	fmt.Printf("budget: %d image tokens, %d of %d left\nstreamed: ", answer.ContextBudget.ImageTokens, answer.ContextBudget.Remaining, answer.ContextBudget.Window)
	stream := must(client.AskStream(ctx, &v1.AskStreamRequest{Question: asked}))
	for event, err := stream.Recv(); err != io.EOF; event, err = stream.Recv() {
		fmt.Print(must(event, err).GetDelta().GetText())
	}
	cancelled, cancel := context.WithCancel(ctx)
	stream, err := client.AskStream(cancelled, &v1.AskStreamRequest{Question: question(image, os.Args[3], &sixty)})
	for ; err == nil; _, err = stream.Recv() {
		cancel() // ends the call on the server
	}
	fmt.Println("\ncancelled:", status.Code(err))
	short, cancel := context.WithTimeout(ctx, 100*time.Microsecond)
	defer cancel()
	_, err = client.Ask(short, &v1.AskRequest{Question: asked})
	fmt.Println("deadline:", status.Code(err))
	_, err = client.Ask(ctx, &v1.AskRequest{Question: question([]byte("no image"), os.Args[3], nil)})
	if details := status.Convert(err).Details(); len(details) > 0 {
		fmt.Println("refused:", status.Code(err), details[0].(*errdetails.ErrorInfo).Reason)
	}
}
