//! Wire checks: raw bytes in, exact bytes or a stream error out. Grammar: docs/SCENARIOS.md.

use crate::client::{Login, authenticate, bind, open, password_of, stream_header};
use crate::dom::{Element, Frame, STREAM_NS};
use crate::pattern::{Bindings, compare, fill, first_bindings};
use crate::play::End;
use crate::sasl::Mechanism;
use crate::script::{Misread, statements};
use crate::stage::{Door, Failure, Server, Troupe, Unable};
use crate::wire::{Next, Wire};

/// The host wire checks speak to.
const HOST: &str = "a.example";
/// Namespace of stream error conditions (RFC 6120 §4.9.2).
const STREAMS_NS: &str = "urn:ietf:params:xml:ns:xmpp-streams";

/// One wire check.
#[derive(Debug)]
pub struct Check {
    /// File it came from.
    pub file: String,
    /// What it shows; begins with the row's id.
    pub title: String,
    steps: Vec<(usize, Step)>,
}

#[derive(Debug)]
enum Step {
    Configured(String),
    Account(String),
    Connect(Door, Option<String>),
    Send { text: String, byte_by_byte: bool },
    Tls { succeeds: bool },
    Authenticate(String, Way),
    Login(String),
    Restart,
    Exactly(String),
    Header(Element),
    Hears(Element),
    Error(Vec<String>),
    Shuts,
    Closed,
    Ended,
}

/// How to authenticate: mechanism and channel binding, where the check names them.
#[derive(Debug, Default)]
struct Way {
    mechanism: Option<Mechanism>,
    binding: Option<String>,
}

/// Reads a file of wire checks: each begins with a `# ` line after an empty one.
///
/// # Errors
///
/// [`Misread`] with file and line.
pub fn read(file: &str, text: &str) -> Result<Vec<Check>, Misread> {
    let misread = |line: usize, why: String| Misread {
        file: file.into(),
        line,
        why,
    };
    let mut titles = Vec::new();
    let mut previous = "";
    for (at, line) in text.lines().enumerate() {
        if let Some(title) = line.strip_prefix("# ")
            && previous.trim().is_empty()
        {
            titles.push((at + 1, title.trim().to_owned()));
        }
        previous = line;
    }
    if titles.is_empty() {
        return Err(misread(
            1,
            "a check begins with `# ` and what it shows".into(),
        ));
    }
    let mut checks: Vec<(usize, Check)> = titles
        .into_iter()
        .map(|(line, title)| {
            (
                line,
                Check {
                    file: file.to_owned(),
                    title,
                    steps: Vec::new(),
                },
            )
        })
        .collect();
    for statement in statements(file, text)? {
        let check = checks
            .iter_mut()
            .rev()
            .find(|(line, _)| *line < statement.line);
        let (_, check) =
            check.ok_or_else(|| misread(statement.line, "a step before the first check".into()))?;
        let step = step(&statement.text).map_err(|why| misread(statement.line, why))?;
        check.steps.push((statement.line, step));
    }
    match checks.iter().find(|(_, check)| check.steps.is_empty()) {
        Some((line, _)) => Err(misread(*line, "nothing happens in this check".into())),
        None => Ok(checks.into_iter().map(|(_, check)| check).collect()),
    }
}

fn step(text: &str) -> Result<Step, String> {
    let (verb, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim_start();
    let one_word = || match rest.is_empty() || rest.contains(char::is_whitespace) {
        true => Err(format!("`{verb}` takes one name, not {rest:?}")),
        false => Ok(rest.to_owned()),
    };
    match verb {
        "configured" => Ok(Step::Configured(rest.to_owned())),
        "account" => Ok(Step::Account(one_word()?)),
        "connect" => {
            let mut words = rest.split_whitespace();
            let door = words.next().unwrap_or("plain");
            let door = Door::named(door).ok_or_else(|| format!("no door is called {door:?}"))?;
            let alpn = match words.next() {
                None => None,
                Some("alpn") => words.next().map(str::to_owned),
                Some(other) => return Err(format!("connect how? {other:?}")),
            };
            Ok(Step::Connect(door, alpn))
        }
        "send" => match rest.strip_prefix("byte by byte") {
            Some(text) => Ok(Step::Send {
                text: text.trim_start().to_owned(),
                byte_by_byte: true,
            }),
            None => Ok(Step::Send {
                text: rest.to_owned(),
                byte_by_byte: false,
            }),
        },
        "tls" if rest.is_empty() => Ok(Step::Tls { succeeds: true }),
        "tls" if rest == "fails" => Ok(Step::Tls { succeeds: false }),
        "authenticate" => authenticate_step(rest),
        "login" => Ok(Step::Login(one_word()?)),
        "restart" => Ok(Step::Restart),
        "exactly" if rest.ends_with('…') => {
            Err("`exactly` must not end in `…`: nothing would end it".into())
        }
        "exactly" => Ok(Step::Exactly(rest.to_owned())),
        "header" => Ok(Step::Header(Element::parse(&format!(
            "<stream:stream {rest}/>"
        ))?)),
        "hears" => Ok(Step::Hears(Element::parse(rest)?)),
        "error" if rest.is_empty() => Err("which error?".into()),
        "error" => Ok(Step::Error(
            rest.split('|').map(|name| name.trim().to_owned()).collect(),
        )),
        "shuts" => Ok(Step::Shuts),
        "closed" => Ok(Step::Closed),
        "ended" => Ok(Step::Ended),
        other => Err(format!(
            "no step is called {other:?} (configured, account, connect, send, tls, authenticate, login, restart, \
             exactly, header, hears, error, shuts, closed, ended)"
        )),
    }
}

fn authenticate_step(rest: &str) -> Result<Step, String> {
    let mut words = rest.split_whitespace();
    let user = words.next().ok_or("authenticate whom?")?.to_owned();
    let mut way = Way::default();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} what?"))?;
        match word {
            "with" => {
                let mechanism = Mechanism::named(value);
                way.mechanism =
                    Some(mechanism.ok_or_else(|| format!("no mechanism is called {value:?}"))?);
            }
            "over" => way.binding = Some(value.to_owned()),
            other => return Err(format!("authenticate how? {other:?}")),
        }
    }
    Ok(Step::Authenticate(user, way))
}

/// Performs a check on a server of its own.
///
/// # Errors
///
/// What went differently, with file, line and transcript.
pub async fn perform(check: &Check, troupe: &dyn Troupe) -> Result<End, String> {
    let configured = |(_, step): &(usize, Step)| match step {
        Step::Configured(lines) => Some(lines.clone()),
        _ => None,
    };
    let extra: Vec<String> = check.steps.iter().filter_map(configured).collect();
    let server = match troupe.start(&extra.join("\n"), false).await {
        Ok(server) => server,
        Err(Failure::Unable(why)) => return Ok(End::Skipped(why.to_owned())),
        Err(Failure::Failed(why)) => return Err(format!("{}: no server: {why}", check.file)),
    };
    let mut talk = Talk {
        server: server.as_ref(),
        wire: None,
        names: names(),
        accounts: Vec::new(),
    };
    let mut failed = None;
    for (line, step) in &check.steps {
        if let Err(why) = talk.step(step).await {
            failed = Some(format!("{}:{line}: {why}", check.file));
            break;
        }
    }
    drop(talk);
    server.stop().await;
    failed.map_or(Ok(End::Played), Err)
}

/// What checks need not spell out.
fn names() -> Bindings {
    let mut names = first_bindings();
    names.insert("open".into(), stream_header(HOST));
    names.insert("host".into(), HOST.into());
    names.insert(
        "ns".into(),
        format!("xmlns='jabber:client' xmlns:stream='{STREAM_NS}'"),
    );
    names
}

struct Talk<'a> {
    server: &'a dyn Server,
    wire: Option<Wire>,
    names: Bindings,
    accounts: Vec<String>,
}

impl Talk<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Configured(_) => Ok(()),
            Step::Account(user) => self.account(user).await,
            Step::Connect(door, alpn) => self.connect(*door, alpn.as_deref()).await,
            Step::Send { text, byte_by_byte } => {
                let bytes = unescape(&fill(text, &self.names)?)?;
                let wire = self.wire()?;
                let segments = match byte_by_byte {
                    false => vec![bytes.as_slice()],
                    true => bytes.chunks(1).collect(),
                };
                for segment in segments {
                    // A server that has had enough may be gone already; what it said before is heard next.
                    if wire.send(segment).await.is_err() {
                        break;
                    }
                }
                Ok(())
            }
            Step::Shuts => {
                let shut = self.wire()?.shut().await;
                shut.map_err(|error| error.to_string())
            }
            Step::Tls { succeeds } => self.tls(*succeeds).await,
            Step::Authenticate(user, way) => self.authenticate(user, way).await,
            Step::Login(user) => {
                self.authenticate(user, &Way::default()).await?;
                let jid = bind(self.wire()?, Some("wire"))
                    .await
                    .map_err(|broken| broken.to_string())?;
                self.names.insert(user.clone(), jid);
                Ok(())
            }
            Step::Restart => {
                self.wire()?.restart();
                Ok(())
            }
            Step::Exactly(text) => self.exactly(text).await,
            Step::Header(pattern) => {
                let header = self
                    .wire()?
                    .header()
                    .await
                    .map_err(|broken| broken.to_string())?;
                self.compare(pattern, &header)
            }
            Step::Hears(pattern) => {
                let heard = self
                    .wire()?
                    .element(&pattern.to_string())
                    .await
                    .map_err(|broken| broken.to_string())?;
                self.compare(pattern, &heard)
            }
            Step::Error(conditions) => self.error(conditions).await,
            Step::Closed => self.closed(true).await,
            Step::Ended => self.closed(false).await,
        }
    }

    fn wire(&mut self) -> Result<&mut Wire, String> {
        self.wire
            .as_mut()
            .ok_or_else(|| "not connected: say `connect` first".to_owned())
    }

    async fn account(&mut self, user: &str) -> Result<(), String> {
        if !self.accounts.iter().any(|known| known == user) {
            self.server
                .register(&format!("{user}@{HOST}"), &password_of(user))
                .await?;
            self.accounts.push(user.to_owned());
        }
        Ok(())
    }

    async fn connect(&mut self, door: Door, alpn: Option<&str>) -> Result<(), String> {
        let at = self.server.address(door).map_err(|Unable(why)| why)?;
        let wire = Wire::connect(at).await;
        let mut wire = wire.map_err(|broken| broken.to_string())?;
        if door == Door::DirectTls {
            let offered: Vec<&[u8]> = alpn.iter().map(|name| name.as_bytes()).collect();
            let begun = wire.start_tls(HOST, self.server.roots(), &offered).await;
            begun.map_err(|broken| broken.to_string())?;
        }
        self.wire = Some(wire);
        Ok(())
    }

    async fn tls(&mut self, succeeds: bool) -> Result<(), String> {
        let roots = self.server.roots();
        match (self.wire()?.start_tls(HOST, roots, &[]).await, succeeds) {
            (Ok(()), true) | (Err(_), false) => Ok(()),
            (Err(broken), true) => Err(broken.to_string()),
            (Ok(()), false) => Err("TLS was to fail, but began".into()),
        }
    }

    /// Opens a stream and authenticates; the stream after it is open too.
    async fn authenticate(&mut self, user: &str, way: &Way) -> Result<(), String> {
        self.account(user).await?;
        let login = Login {
            mechanism: way.mechanism,
            binding: way.binding.clone(),
            ..Login::new(user, HOST, "wire")
        };
        let wire = self.wire()?;
        let features = open(wire, HOST)
            .await
            .map_err(|broken| broken.to_string())?;
        let done = authenticate(wire, &features, &login).await;
        done.map(drop).map_err(|broken| broken.to_string())
    }

    fn compare(&mut self, pattern: &Element, heard: &Element) -> Result<(), String> {
        let compared = compare(pattern, heard, &mut self.names);
        compared.map_err(|difference| match &self.wire {
            Some(wire) => wire
                .broken(&format!("{difference}\n  heard {heard}"))
                .to_string(),
            None => difference,
        })
    }

    /// The next bytes are `text`, byte by byte; `…` stands for any bytes up to what follows it.
    async fn exactly(&mut self, text: &str) -> Result<(), String> {
        let mut parts = text.split('…').map(|part| fill(part, &self.names));
        let first = unescape(&parts.next().expect("split gives at least one part")?)?;
        let rest: Vec<Vec<u8>> = parts
            .map(|part| unescape(&part?))
            .collect::<Result<_, String>>()?;
        let wire = self.wire()?;
        for (at, expected) in first.iter().enumerate() {
            let heard = wire.raw_byte().await.map_err(|broken| broken.to_string())?;
            if heard != Some(*expected) {
                let heard = heard.map(|byte| (byte as char).to_string());
                let heard = heard.as_deref().unwrap_or("the end");
                return Err(wire
                    .broken(&format!(
                        "byte {at}: {:?} expected, {heard:?} heard",
                        *expected as char
                    ))
                    .to_string());
            }
        }
        for part in rest {
            let mut heard: Vec<u8> = Vec::new();
            while !heard.ends_with(&part) {
                match wire.raw_byte().await.map_err(|broken| broken.to_string())? {
                    Some(byte) => heard.push(byte),
                    None => {
                        let part = String::from_utf8_lossy(&part).into_owned();
                        return Err(wire
                            .broken(&format!("the end came before {part:?}"))
                            .to_string());
                    }
                }
            }
        }
        Ok(())
    }

    async fn error(&mut self, conditions: &[String]) -> Result<(), String> {
        let wire = self.wire()?;
        let waiting_for = format!("stream error {}", conditions.join(" or "));
        let error = wire
            .element(&waiting_for)
            .await
            .map_err(|broken| broken.to_string())?;
        let known = |child: &&Element| child.namespace == STREAMS_NS && child.name != "text";
        let found: Vec<&str> = error
            .children()
            .filter(known)
            .map(|child| child.name.as_str())
            .collect();
        if error.name == "failure" && conditions.iter().any(|condition| condition == "failure") {
            return Ok(());
        }
        match (error.is(STREAM_NS, "error"), found.as_slice()) {
            (true, [one]) if conditions.iter().any(|condition| condition == one) => Ok(()),
            _ => Err(wire
                .broken(&format!("{waiting_for} expected, heard {error}"))
                .to_string()),
        }
    }

    async fn closed(&mut self, politely: bool) -> Result<(), String> {
        let wire = self.wire()?;
        let mut goodbye = false;
        loop {
            match wire.next().await.map_err(|broken| broken.to_string())? {
                Next::Frame(Frame::Close) => goodbye = true,
                Next::End if goodbye || !politely => return Ok(()),
                Next::End => {
                    return Err(wire
                        .broken("the connection ended without </stream:stream>")
                        .to_string());
                }
                Next::Frame(other) => {
                    return Err(wire
                        .broken(&format!("the end expected, heard {other:?}"))
                        .to_string());
                }
            }
        }
    }
}

/// Reads `\n \r \t \\ \0 \xHH` as the bytes they stand for.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match rest.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('\\') => b'\\',
            Some('0') => 0,
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits} is no byte"))?
            }
            other => return Err(format!("nothing is written \\{}", other.unwrap_or(' '))),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read() {
        let text = "# R-1 one\nconnect\nsend {open}\nheader id=\"{id}\"\n\n# R-2 two\nconnect direct alpn x\nsend a\\x00\n     b\nerror a | b\nclosed\n";
        let checks = read("w.txt", text).expect("good checks");
        assert_eq!(checks.len(), 2);
        assert_eq!(checks[1].steps.len(), 4);
        assert!(matches!(&checks[1].steps[1].1, Step::Send { text, .. } if text == "a\\x00\nb"));
        let wrong = read("w.txt", "# R-1 one\nconnect\nshout\n").expect_err("no such step");
        assert!(wrong.to_string().starts_with("w.txt:3: no step"));
    }

    #[test]
    fn bytes_can_be_spelled() {
        assert_eq!(
            unescape("a\\x00\\n\\\\é").expect("good"),
            b"a\0\n\\\xc3\xa9"
        );
        unescape("\\q").expect_err("nothing is written so");
    }
}
