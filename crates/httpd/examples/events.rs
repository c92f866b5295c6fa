//! A loop that sends an event each second: `curl -N http://127.0.0.1:8080/events`.

mod serve;

use std::time::Duration;

use httpd::{Error, Event, Handler, Loop, LoopInfo, Mailbox, Next, Outcome, Path, Request};

#[derive(Clone, Default)]
struct Ticks(u64);

impl Handler for Ticks {
    async fn init(&mut self, _req: &mut Request) -> Result<Outcome, Error> {
        Ok(Outcome::looping(Ticks(0)))
    }
}

impl Loop for Ticks {
    type Info = ();

    async fn start(&mut self, _: &Mailbox<()>, req: &mut Request) -> Result<Next, Error> {
        req.stream(200, [("content-type", "text/event-stream")])?;
        Ok(Next::Timeout(Duration::from_secs(1)))
    }

    async fn info(&mut self, info: LoopInfo<()>, req: &mut Request) -> Result<Next, Error> {
        if info == LoopInfo::Draining {
            return Ok(Next::Stop);
        }
        self.0 += 1;
        req.send_event(&Event::data(&self.0.to_string())).await?;
        Ok(Next::Go)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    serve::serve(vec![Path::to("/events", Ticks::default())]).await
}
