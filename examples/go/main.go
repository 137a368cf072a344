// Asks a Diptych server about an image: ask HOST:PORT IMAGE QUESTION. scripts/examples.sh generates example.com/ask/v1.
package main

import (
	"context"
	"fmt"
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
	return &v1.Question{
		Images:     []*v1.Image{{Source: &v1.Image_Data{Data: image}}},
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
	image := must(os.ReadFile(os.Args[2]))
	channel := must(grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials())))
	client, asked := v1.NewGatewayServiceClient(channel), question(image, os.Args[3], nil)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	reply := must(client.Ask(ctx, &v1.AskRequest{Question: asked}))
	timings, budget := reply.Answer.Timings, reply.Answer.ContextBudget
	fmt.Printf("answer: %s\ntimings: vit %v of %v\n", reply.Answer.Text, timings.Vit.AsDuration(), timings.Total.AsDuration())
	fmt.Printf("budget: %d image tokens, %d of %d left\nstreamed: ", budget.ImageTokens, budget.Remaining, budget.Window)
	stream := must(client.AskStream(ctx, &v1.AskStreamRequest{Question: asked}))
	for event, err := stream.Recv(); err == nil; event, err = stream.Recv() {
		fmt.Print(event.GetDelta().GetText())
	}
	tokens := int32(60)
	stream, err := client.AskStream(ctx, &v1.AskStreamRequest{Question: question(image, os.Args[3], &tokens)})
	for ; err == nil; _, err = stream.Recv() {
		cancel() // ends the call on the server
	}
	fmt.Println("\ncancelled:", status.Code(err))
	short, _ := context.WithTimeout(context.Background(), 100*time.Microsecond)
	_, err = client.Ask(short, &v1.AskRequest{Question: asked})
	fmt.Println("deadline:", status.Code(err))
	_, err = client.Ask(context.Background(), &v1.AskRequest{Question: question([]byte("no image"), os.Args[3], nil)})
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			fmt.Println("refused:", status.Code(err), info.Reason)
		}
	}
}
