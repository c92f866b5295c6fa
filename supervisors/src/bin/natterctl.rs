//! `natterctl`: gives commands to a running node over its control socket.

use supervisors::settings::Place;
use supervisors::{CATALOG, STANDARD};

fn main() {
    let find = |place: &admin::client::Place| {
        let place = Place {
            file: place.config.clone(),
            data_dir: place.data_dir.clone(),
        };
        place.control_socket(CATALOG, STANDARD)
    };
    std::process::exit(admin::client::run(std::env::args().skip(1), find));
}
