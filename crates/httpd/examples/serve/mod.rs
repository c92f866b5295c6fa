//! What all examples share: a server of a table, on 127.0.0.1:8080 unless another address is given, until it is
//! interrupted.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use httpd::{Dispatch, Host, Httpd, Options, Path};
use net::{Admission, Bound, Gate, ListenerLimits, listener_child};
use otp::{App, Clock, Strategy, Supervisor, System};

pub async fn serve(paths: Vec<Path>) -> Result<(), Box<dyn std::error::Error>> {
    let system = System::new("example", Clock::real());
    let httpd = Httpd::new(&system, "http", Options::default());
    httpd.set_routes(Dispatch::compile(vec![Host::any().paths(paths)])?);
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080").parse()?;
    let bound = Arc::new(Bound::bind(address, 128)?);
    writeln!(std::io::stderr(), "serving on {}", bound.local_addr())?;
    let admission = Admission::new(1000, 100);
    let gate = Gate {
        admission,
        proxies: None,
        forwarders: Arc::default(),
    };
    let door = httpd.door(None);
    let root = Supervisor::new(Strategy::RestForOne)
        .child(httpd.connections("connections", 5, Duration::from_secs(30)))
        .child(listener_child(
            "http",
            bound,
            door,
            gate,
            ListenerLimits::default(),
        ));
    let app = App::start(root, &system, "root").await?;
    tokio::signal::ctrl_c().await?;
    Ok(app.stop(Duration::from_secs(30)).await?)
}
