//! A handler type of one's own, which replies what it is given in capitals: `curl -d hello http://127.0.0.1:8080/`.

mod serve;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use httpd::{Error, Handler, HandlerType, Outcome, Path, Reason, Request};

struct Capitals;

impl HandlerType for Capitals {
    fn upgrade<'a>(&'a mut self, req: &'a mut Request) -> BoxFuture<'a, Result<Reason, Error>> {
        async move {
            let body = req.body(1000).await?;
            req.reply_text(200, body.to_ascii_uppercase())?;
            Ok(Reason::Normal)
        }
        .boxed()
    }
}

#[derive(Clone)]
struct Switch;

impl Handler for Switch {
    async fn init(&mut self, _req: &mut Request) -> Result<Outcome, Error> {
        Ok(Outcome::switch(Capitals))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    serve::serve(vec![Path::to("/", Switch)]).await
}
