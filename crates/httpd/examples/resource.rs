//! A resource in two types: `curl -H 'accept: application/json' http://127.0.0.1:8080/hat`.

mod serve;

use httpd::{
    Chosen, Content, Decision, ETag, Error, Handler, MediaType, Outcome, Path, Request, Rest,
};

#[derive(Clone)]
struct Hat;

impl Handler for Hat {
    async fn init(&mut self, _req: &mut Request) -> Result<Outcome, Error> {
        Ok(Outcome::rest(Hat))
    }
}

impl Rest for Hat {
    async fn content_types_provided(&mut self, _req: &mut Request) -> Decision<Vec<MediaType>> {
        let types = ["text/plain", "application/json"];
        Ok(types.map(MediaType::new).to_vec())
    }

    async fn generate_etag(&mut self, _req: &mut Request) -> Decision<Option<ETag>> {
        Ok(Some(ETag::weak("bowler")))
    }

    async fn provide(&mut self, chosen: &Chosen, _req: &mut Request) -> Decision<Content> {
        Ok(Content::from(match chosen.number {
            0 => "a bowler\n",
            _ => "{\"hat\": \"bowler\"}\n",
        }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    serve::serve(vec![Path::to("/hat", Hat)]).await
}
