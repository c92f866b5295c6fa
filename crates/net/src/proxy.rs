//! The PROXY protocol, versions 1 and 2: a proxy tells the address of the client it forwards, in front of all else.
//!
//! Source: HAProxy's "The PROXY protocol". Read strictly and to the byte: nothing behind the header is taken, and
//! what is not a header is refused, since whoever could make one up could take any address. Ours because the
//! parsers that exist let more pass (`+80` for a port, any byte behind `PROXY`).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The shortest header: `PROXY UNKNOWN` and its line end. Version 2 has one byte more.
const SHORTEST: usize = 15;

/// The longest header of version 1, with its line end.
const LONGEST_V1: usize = 107;

/// What addresses and other data of version 2 may take. More than any proxy sends.
const LONGEST_V2: usize = 4096;

/// Why a connection through a proxy was closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    /// The connection failed, or ended inside the header.
    #[error("connection lost inside the PROXY header: {0}")]
    Io(#[from] io::Error),
    /// Not a header, for this reason.
    #[error("malformed PROXY header: {0}")]
    Malformed(&'static str),
    /// It did not come in time.
    #[error("no PROXY header in time")]
    Timeout,
}

/// Reads a header, and the client's address out of it: none for the proxy's own connections (health checks) and
/// for what is not TCP.
pub(crate) async fn read(
    socket: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, HeaderError> {
    let mut start = [0; SHORTEST];
    socket.read_exact(&mut start).await?;
    if start.starts_with(SIGNATURE) {
        let last = socket.read_u8().await?;
        let length = usize::from(u16::from_be_bytes([start[14], last]));
        if length > LONGEST_V2 {
            return Err(HeaderError::Malformed("too long"));
        }
        let mut data = vec![0; length];
        socket.read_exact(&mut data).await?;
        return v2(start[12], start[13], &data);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(HeaderError::Malformed("neither version 1 nor version 2"));
    }
    let mut line = start.to_vec();
    // Byte by byte, since what follows the line is the client's.
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_V1 {
            return Err(HeaderError::Malformed("the line has no end"));
        }
        line.push(socket.read_u8().await?);
    }
    v1(&line[..line.len() - 2])
}

fn v1(line: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let malformed = HeaderError::Malformed;
    let line = std::str::from_utf8(line).map_err(|_| malformed("not ASCII"))?;
    let fields: Vec<&str> = line.split(' ').collect();
    match fields.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            v1_addresses::<Ipv4Addr>([from, to], [from_port, to_port]).map(Some)
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            v1_addresses::<Ipv6Addr>([from, to], [from_port, to_port]).map(Some)
        }
        _ => Err(malformed("the line's fields")),
    }
}

fn v1_addresses<A: FromStr + Into<IpAddr>>(
    addresses: [&str; 2],
    ports: [&str; 2],
) -> Result<SocketAddr, HeaderError> {
    let address = |text: &str| text.parse::<A>().ok();
    let port = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let plain = digits && (text == "0" || !text.starts_with('0'));
        plain.then(|| text.parse::<u16>().ok()).flatten()
    };
    let [Some(from), Some(_)] = addresses.map(address) else {
        return Err(HeaderError::Malformed("an address"));
    };
    let [Some(from_port), Some(_)] = ports.map(port) else {
        return Err(HeaderError::Malformed("a port"));
    };
    Ok(SocketAddr::new(from.into(), from_port))
}

fn v2(command: u8, family: u8, data: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    match command {
        // LOCAL: the proxy speaks for itself, and its addresses mean nothing.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(HeaderError::Malformed("version or command")),
    }
    let short = HeaderError::Malformed("too short for its addresses");
    match family {
        0x11 => {
            let (from, port) = v2_address::<4>(data).ok_or(short)?;
            Ok(Some(SocketAddr::new(Ipv4Addr::from(from).into(), port)))
        }
        0x21 => {
            let (from, port) = v2_address::<16>(data).ok_or(short)?;
            Ok(Some(SocketAddr::new(Ipv6Addr::from(from).into(), port)))
        }
        // Not said, or a Unix socket.
        0x00 | 0x31 => Ok(None),
        _ => Err(HeaderError::Malformed("not a stream of a known family")),
    }
}

/// The source of two addresses of `N` bytes and two ports; other data may follow.
fn v2_address<const N: usize>(data: &[u8]) -> Option<([u8; N], u16)> {
    let address = data.first_chunk::<N>()?;
    let ports: &[u8; 4] = data.get(2 * N..)?.first_chunk()?;
    Some((*address, u16::from_be_bytes([ports[0], ports[1]])))
}

/// A network: an address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Tells whether an address lies in it. IPv4 inside of IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u64::from(own.to_bits() ^ other.to_bits());
                differing >> (32 - self.bits) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing
                    .checked_shr(u32::from(128 - self.bits))
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

/// Reads `192.0.2.0/24`, `2001:db8::/32`, or one address.
impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let no_network =
            || format!("`{text}` is neither an address nor a network such as 192.0.2.0/24");
        let address: IpAddr = address.parse().map_err(|_| no_network())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), |bits| bits.parse().map_err(|_| no_network()))?;
        if bits > all {
            return Err(no_network());
        }
        Ok(Network { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    /// What is read of a header, and what is left of the stream behind it.
    fn told(header: &[u8]) -> Result<(Option<String>, Vec<u8>), String> {
        let mut stream = header;
        let read = read(&mut stream).now_or_never().expect("all is there");
        let address = read.map_err(|error| error.to_string())?;
        Ok((address.map(|at| at.to_string()), stream.to_vec()))
    }

    fn v2(command: u8, family: u8, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, data].concat()
    }

    const FOUR: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0x9c, 0x40, 0x14, 0x66];

    #[test]
    fn headers_are_read_to_their_last_byte() {
        let six = [
            &[0x20, 1, 0xd, 0xb8][..],
            &[0; 11],
            &[1],
            &[0; 16],
            &[0, 7, 0, 8],
        ]
        .concat();
        let with_more = [FOUR, &[4, 0, 1, 9]].concat();
        let cases: [(Vec<u8>, Option<&str>); 10] = [
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 5222\r\n".into(),
                Some("192.0.2.1:40000"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n".into(),
                Some("[2001:db8::1]:0"),
            ),
            (b"PROXY UNKNOWN\r\n".into(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".into(), None),
            (v2(0x21, 0x11, FOUR), Some("192.0.2.1:40000")),
            (v2(0x21, 0x11, &with_more), Some("192.0.2.1:40000")),
            (v2(0x21, 0x21, &six), Some("[2001:db8::1]:7")),
            (v2(0x20, 0x11, FOUR), None),
            (v2(0x20, 0x00, b""), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ];
        for (header, address) in cases {
            let shown = String::from_utf8_lossy(&header).into_owned();
            let stream = [&header[..], b"<stream"].concat();
            let expected = (address.map(str::to_owned), b"<stream".to_vec());
            assert_eq!(told(&stream), Ok(expected), "{shown:?}");
            // Cut anywhere, it is no header.
            for length in 0..header.len() {
                assert!(
                    told(&header[..length]).is_err(),
                    "{shown:?} cut at {length}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        let text = [
            "<?xml version='1.0'?><stream:stream>",
            "PROXYxTCP4 192.0.2.1 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
            "proxy unknown\r\n<stream>",
            &long,
        ];
        let binary = [
            v2(0x11, 0x11, FOUR),
            v2(0x22, 0x11, FOUR),
            v2(0x21, 0x12, FOUR),
            v2(0x21, 0x41, FOUR),
            v2(0x21, 0x11, &FOUR[..11]),
            v2(0x21, 0x21, FOUR),
            v2(0x21, 0x11, &[0; LONGEST_V2 + 1]),
        ];
        for header in text
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .chain(binary)
        {
            let refused = told(&header).expect_err("no header");
            assert!(
                refused.starts_with("malformed"),
                "{:?}: {refused}",
                String::from_utf8_lossy(&header)
            );
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |network: &str, address: &str| {
            let network: Network = network.parse().expect("a network");
            network.contains(address.parse().expect("an address"))
        };
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("127.0.0.0/8", "::ffff:127.9.9.9", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "127.0.0.1"),
            ("10.0.0.0/31", "10.0.0.1", "10.0.0.2"),
        ] {
            assert!(holds(network, inside), "{network} {inside}");
            assert!(!holds(network, outside), "{network} {outside}");
        }
        assert!(holds("0.0.0.0/0", "203.0.113.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "2001:db8::1"));
        for wrong in [
            "",
            "localhost",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/",
            "192.0.2.0/-1",
            "/8",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        assert_eq!(
            "::1".parse::<Network>().map(|n| n.to_string()),
            Ok("::1/128".to_owned())
        );
    }
}
