//! The files of a directory: `http://127.0.0.1:8080/docs/HTTPD.md`.

mod serve;

use httpd::{Path, Static};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let docs = Static::dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    serve::serve(vec![Path::to("/docs/[...]", docs.index("HTTPD.md"))]).await
}
