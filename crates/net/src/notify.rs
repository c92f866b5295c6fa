//! Telling systemd how the program is: the datagrams of sd_notify(3).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// The supervisor of this program, when it asked to be told (`NOTIFY_SOCKET`).
pub struct Notify {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Notify {
    /// The one named by `address`, the value of `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    ///
    /// # Errors
    ///
    /// It is no address of a socket, or the system gives no socket.
    pub fn new(address: &str) -> io::Result<Notify> {
        let to = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(Path::new(address))?,
        };
        let socket = UnixDatagram::unbound()?;
        // Whoever asked to be told and does not listen must not hold us.
        socket.set_nonblocking(true)?;
        Ok(Notify { socket, to })
    }

    /// Says one state, such as `READY=1`; several stand in lines.
    ///
    /// # Errors
    ///
    /// Nobody takes it.
    pub fn say(&self, state: &str) -> io::Result<()> {
        self.socket
            .send_to_addr(state.as_bytes(), &self.to)
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_heard_by_path_and_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let name = format!("natter-notify-{}", std::process::id());
        let by_name = SocketAddr::from_abstract_name(&name).expect("a name");
        let ears = [
            (UnixDatagram::bind(&path), path.display().to_string()),
            (UnixDatagram::bind_addr(&by_name), format!("@{name}")),
        ];
        for (ear, address) in ears {
            let ear = ear.expect("bound");
            Notify::new(&address)
                .expect("an address")
                .say("READY=1")
                .expect("heard");
            let mut room = [0; 64];
            let heard = ear.recv(&mut room).expect("it was said");
            assert_eq!(&room[..heard], b"READY=1");
        }
        let nobody = Notify::new(&folder.path().join("none").display().to_string());
        assert!(nobody.expect("an address").say("READY=1").is_err());
    }
}
