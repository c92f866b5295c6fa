//! Files, and those that they include, on the way from one account to the next.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use xml::{DocumentReader, Element, Part, StartTag};
use xmpp::ns;

use super::user::{self, Wrong};
use super::{NS, NS_OLD, NS_XINCLUDE};
use crate::builder::{Builder, LIMITS};
use crate::found::{Found, Hosts, Sink, Stop, tell};

/// How much of a file is read at a time.
const CHUNK: usize = 64 * 1024;

/// How deep files include one another.
const DEEPEST: usize = 4;

/// Reads the accounts of a file and of those it includes, and tells `sink` of each when it is whole.
///
/// # Errors
///
/// [`Stop::Fault`]: a file that cannot be opened or read, is not in this format, or names a host that is not served; the
/// sentence says where and what was expected. [`Stop::GivenUp`]: the sink wants to hear no more.
pub fn read(path: &Path, hosts: &Hosts, now: SystemTime, sink: Sink<'_>) -> Result<(), Stop> {
    let mut reading = Reading {
        hosts,
        now,
        sink,
        folder: path.parent().unwrap_or(Path::new("")).to_owned(),
        open: Vec::new(),
        host: None,
        user: None,
        done: 0,
        total: 0,
    };
    reading.file(path, Level::Top)
}

/// Whether a file looks like one of this format that others may be included in: its root is `<server-data/>`.
pub fn is_document(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head));
    let mut reader = DocumentReader::new(LIMITS, opens);
    let is_root = |part| matches!(part, Ok(Some(Part::Open(tag))) if tag.name() == "server-data");
    read.is_ok() && is_root(reader.feed(&mut head.as_slice()))
}

/// Where in the format something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Top,
    Data,
    Host,
    User,
    Offline,
}

impl Level {
    fn words(self) -> &'static str {
        match self {
            Level::Top => "a file",
            Level::Data => "<server-data/>",
            Level::Host => "<host/>",
            Level::User => "<user/>",
            Level::Offline => "<offline-messages/>",
        }
    }
}

fn opens(namespace: &str, name: &str) -> bool {
    let names = ["server-data", "host", "user", "offline-messages"];
    [NS, NS_OLD].contains(&namespace) && names.contains(&name)
}

/// State. Invariant: `user` is there where a `<user/>` is open, unless its account cannot be taken.
struct Reading<'a> {
    hosts: &'a Hosts,
    now: SystemTime,
    sink: Sink<'a>,
    /// Included files lie in it or below it.
    folder: PathBuf,
    /// Files that are being read, each included by the one before.
    open: Vec<PathBuf>,
    /// The host as it is called there, and here.
    host: Option<(String, String)>,
    user: Option<Builder>,
    done: u64,
    total: u64,
}

impl Reading<'_> {
    fn file(&mut self, path: &Path, outer: Level) -> Result<(), Stop> {
        let fault = |step: &str, error: std::io::Error| {
            Stop::Fault(format!("cannot {step} {}: {error}", path.display()))
        };
        let mut file = File::open(path).map_err(|error| fault("open", error))?;
        let about = file.metadata().map_err(|error| fault("look at", error))?;
        if !about.is_file() {
            return Err(Stop::Fault(format!("{} is not a file", path.display())));
        }
        self.total += about.len();
        self.open.push(path.to_owned());
        let mut reader = DocumentReader::new(LIMITS, opens).known(ns::KNOWN);
        let mut levels = vec![outer];
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = match file.read(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(fault("read", error)),
            };
            let mut piece = &buffer[..length];
            let mut next = |reader: &mut DocumentReader| {
                let part = match length {
                    0 => reader.end().map(|()| None),
                    _ => reader.feed(&mut piece),
                };
                part.map_err(|error| Stop::Fault(format!("{}:{error}", path.display())))
            };
            while let Some(part) = next(&mut reader)? {
                let at = format!("{}:{}", path.display(), reader.position());
                self.part(part, at, &mut levels)?;
            }
            if length == 0 {
                self.open.pop();
                return Ok(());
            }
            self.done += length as u64;
            let (done, total) = (self.done, self.total.max(self.done));
            tell(self.sink, Found::Progress { done, total })?;
        }
    }

    fn part(&mut self, part: Part, at: String, levels: &mut Vec<Level>) -> Result<(), Stop> {
        let level = *levels.last().expect("a file stands somewhere");
        match part {
            Part::Open(tag) => {
                levels.push(self.enter(level, &tag, at)?);
                Ok(())
            }
            Part::Element(element) => self.element(level, &element, at),
            Part::Close => {
                levels.pop();
                match level {
                    Level::User => self.leave_user(),
                    Level::Host => {
                        self.host = None;
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// An element whose content comes part by part begins.
    fn enter(&mut self, level: Level, tag: &StartTag, at: String) -> Result<Level, Stop> {
        let is_ours = [NS, NS_OLD].contains(&tag.namespace());
        match (level, tag.name()) {
            (Level::Top, "server-data") if is_ours => Ok(Level::Data),
            (Level::Top | Level::Data, "host") if is_ours => {
                let jid = tag.attr("jid");
                let jid =
                    jid.ok_or_else(|| Stop::Fault(format!("{at}: <host/> lacks its `jid`")))?;
                let place = self.hosts.place(jid);
                self.host = Some(place.map_err(|why| Stop::Fault(format!("{at}: {why}")))?);
                Ok(Level::Host)
            }
            (Level::Host, "user") if is_ours => {
                self.enter_user(tag, at)?;
                Ok(Level::User)
            }
            (Level::User, "offline-messages") if is_ours => Ok(Level::Offline),
            (Level::Top, _) => Err(Stop::Fault(format!(
                "{at}: expected <server-data/> of `{NS}` (XEP-0227), found {}",
                user::unknown(tag.name(), tag.namespace())
            ))),
            (_, name) => Err(Stop::Fault(format!(
                "{at}: <{name}/> cannot stand in {}",
                level.words()
            ))),
        }
    }

    fn enter_user(&mut self, tag: &StartTag, at: String) -> Result<(), Stop> {
        let host = self.host.as_ref().expect("a <user/> stands in a <host/>");
        let name = tag.attr("name").unwrap_or_default();
        let built = match Builder::new(name, host, at.clone(), self.now) {
            Ok(built) => built,
            Err(why) => {
                let account = format!("{name}@{}", host.1);
                return tell(self.sink, Found::Unusable { at, account, why });
            }
        };
        let password = tag.attr("password").unwrap_or_default();
        let builder = self.user.insert(built);
        let said = user::password(builder, password);
        self.note(said, at)
    }

    fn leave_user(&mut self) -> Result<(), Stop> {
        match self.user.take() {
            Some(user) => tell(self.sink, Found::Account(Box::new(user.finish()))),
            None => Ok(()),
        }
    }

    /// A whole element.
    fn element(&mut self, level: Level, element: &Element, at: String) -> Result<(), Stop> {
        // What stands deeper belongs to the user (§ Security Considerations).
        let may_include = matches!(level, Level::Data | Level::Host | Level::User);
        if may_include && element.is("include", NS_XINCLUDE) {
            return self.include(level, element, &at);
        }
        let said = match (level, &mut self.user) {
            (Level::Top, _) => {
                let found = user::unknown(element.name(), element.namespace());
                return Err(Stop::Fault(format!(
                    "{at}: expected <server-data/> of `{NS}` (XEP-0227), found {found}"
                )));
            }
            (Level::Data | Level::Host, _) => {
                let what = user::unknown(element.name(), element.namespace());
                Err(Wrong::LeftOut(what))
            }
            // Of an account that cannot be taken nothing more is said.
            (Level::User | Level::Offline, None) => return Ok(()),
            (Level::User, Some(user)) => user::child(user, element),
            (Level::Offline, Some(user)) if element.name() == "message" => {
                user::message(user, element)
            }
            (Level::Offline, Some(_)) => {
                let what = user::unknown(element.name(), element.namespace());
                Err(Wrong::LeftOut(what))
            }
        };
        self.note(said, at)
    }

    /// Tells of what cannot be taken. An account of which one part cannot be read is not taken at all.
    fn note(&mut self, said: Result<(), Wrong>, at: String) -> Result<(), Stop> {
        match said {
            Ok(()) => Ok(()),
            Err(Wrong::LeftOut(what)) => tell(self.sink, Found::LeftOut { at, what }),
            Err(Wrong::Unusable(why)) => {
                let user = self.user.take();
                let account = user
                    .map(|user| user.address().to_string())
                    .unwrap_or_default();
                tell(self.sink, Found::Unusable { at, account, why })
            }
        }
    }

    /// Reads another file in place of an `<include/>` (§ Use of XInclude).
    fn include(&mut self, level: Level, element: &Element, at: &str) -> Result<(), Stop> {
        let refuse = |why: &str| Err(Stop::Fault(format!("{at}: {why}")));
        if element.attr("parse").is_some() || element.attr("xpointer").is_some() {
            return refuse("<include/> with `parse` or `xpointer` is not read");
        }
        let name = element.attr("href").and_then(decoded).map(PathBuf::from);
        let inside = |name: &PathBuf| {
            let mut parts = name.components();
            name.file_name().is_some()
                && parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        };
        let Some(name) = name.filter(inside) else {
            return refuse(
                "the `href` of <include/> is not a relative path below the folder of the file",
            );
        };
        let including = self.open.last().and_then(|file| file.parent());
        let path = including.unwrap_or(&self.folder).join(name);
        if self.open.contains(&path) {
            return refuse("a file includes itself");
        }
        if self.open.len() > DEEPEST {
            return refuse("files include one another too deep");
        }
        let outcome = self.file(&path, level);
        outcome.map_err(|stop| match stop {
            Stop::Fault(why) if why.starts_with("cannot open") => {
                Stop::Fault(format!("{at}: {why}"))
            }
            stop => stop,
        })
    }
}

/// The path in a URI reference; none where it has a scheme, an authority, a query or a fragment.
fn decoded(href: &str) -> Option<String> {
    if href.is_empty() || href.contains([':', '?', '#', '\\']) || href.starts_with('/') {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = href.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let code = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(code).ok()?);
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|path| !path.contains('\0'))
}
