//! A WebSocket that says what it hears: `ws://127.0.0.1:8080/echo`.

mod serve;

use httpd::{Commands, Error, Flow, Frame, Handler, Outcome, Path, Request, WebSocket, WsOptions};

#[derive(Clone)]
struct Echo;

impl Handler for Echo {
    async fn init(&mut self, _req: &mut Request) -> Result<Outcome, Error> {
        Ok(Outcome::websocket(Echo))
    }
}

impl WebSocket for Echo {
    type Info = ();

    fn options(&self) -> WsOptions {
        let mut options = WsOptions::default();
        (options.max_frame, options.max_message) = (16 << 20, 16 << 20);
        options
    }

    async fn handle(&mut self, frame: Frame, out: &mut Commands) -> Flow {
        if matches!(frame, Frame::Text(_) | Frame::Binary(_)) {
            out.send(frame);
        }
        Flow::Go
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    serve::serve(vec![Path::to("/echo", Echo)]).await
}
