//! A plain handler: `curl 'http://127.0.0.1:8080/hello/Joe?times=3'`.

mod serve;

use httpd::{Error, Handler, Outcome, Path, Request, field};

#[derive(Clone)]
struct Hello;

impl Handler for Hello {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        let query = req.match_qs(&[field("times").int().default(1)])?;
        let times = query[0].as_int().unwrap_or(1).clamp(1, 10);
        let name = req.binding("name").unwrap_or("whoever you are");
        let text = format!("Hello, {name}!\n").repeat(times as usize);
        req.reply_text(200, text)?;
        Ok(Outcome::Done)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    serve::serve(vec![Path::to("/hello/[:name]", Hello)]).await
}
