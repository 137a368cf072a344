//! Asks a Diptych server about an image: cargo run -- HOST:PORT IMAGE QUESTION
use std::{error::Error, io::Write, time::Duration};

use diptych::gateway_service_client::GatewayServiceClient;
use diptych::{ask_stream_response::Event, image::Source, AskRequest, AskStreamRequest};
use diptych::{GenerationOptions, Image, Question, Role, Turn};
use tonic::Request;
use tonic_types::StatusExt;

mod diptych {
    tonic::include_proto!("diptych.v1");
}

fn within<M>(timeout: Duration, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().collect();
    let ask = |image: Vec<u8>, tokens: Option<i32>| {
        let turn = Turn { role: Role::User.into(), text: words[3].clone(), ..Default::default() };
        let image = Image { source: Some(Source::Data(image)), ..Default::default() };
        let generation = GenerationOptions { max_new_tokens: tokens, min_new_tokens: tokens, ..Default::default() };
        Some(Question { images: vec![image], turns: vec![turn], generation: Some(generation), ..Default::default() })
    };
    let (image, long) = (std::fs::read(&words[2])?, Duration::from_secs(30));
    let mut client = GatewayServiceClient::connect(format!("http://{}", words[1])).await?;

    let reply = client.ask(within(long, AskRequest { question: ask(image.clone(), None) })).await?;
    let answer = reply.into_inner().answer.unwrap_or_default();
    let (timings, budget) = (answer.timings.unwrap_or_default(), answer.context_budget.unwrap_or_default());
    println!("answer: {}", answer.text);
    println!("timings: vit {} of {}", timings.vit.unwrap_or_default(), timings.total.unwrap_or_default());
    println!("budget: {} image tokens, {} of {} left", budget.image_tokens, budget.remaining, budget.window);

    print!("streamed: ");
    let request = within(long, AskStreamRequest { question: ask(image.clone(), None) });
    let mut stream = client.ask_stream(request).await?.into_inner();
    while let Some(event) = stream.message().await? {
        if let Some(Event::Delta(delta)) = event.event {
            print!("{}", delta.text);
            std::io::stdout().flush()?;
        }
    }
    let request = within(long, AskStreamRequest { question: ask(image.clone(), Some(60)) });
    client.ask_stream(request).await?.into_inner().message().await?; // the stream is dropped: that ends the call
    println!("\ncancelled: by dropping the stream");

    let request = within(Duration::from_micros(100), AskRequest { question: ask(image, None) });
    let status = client.ask(request).await.unwrap_err(); // Cancelled where tonic's clock is the first to ring
    println!("deadline: {:?} {}", status.code(), status.message());

    let request = within(long, AskRequest { question: ask(b"no image".to_vec(), None) });
    let status = client.ask(request).await.unwrap_err();
    println!("refused: {:?} {}", status.code(), status.get_details_error_info().ok_or("no details")?.reason);
    Ok(())
}
