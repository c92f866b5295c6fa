//! Scenarios, read: text to acts. The grammar is on one page: docs/SCENARIOS.md.

use std::fmt;
use std::time::Duration;

use crate::client::Login;
use crate::dom::Element;
use crate::sasl::Mechanism;
use crate::stage::Door;

/// A scenario: what it shows, and its acts in order.
#[derive(Debug)]
pub struct Script {
    /// File it came from, for messages.
    pub file: String,
    /// First comment line.
    pub title: String,
    /// TOML added to the server's usual configuration.
    pub configuration: String,
    /// Who is on stage.
    pub roles: Vec<Role>,
    /// How things stand when the play begins.
    pub givens: Vec<At<Given>>,
    /// What happens.
    pub acts: Vec<At<Act>>,
}

impl Script {
    /// Whether somebody comes by HTTP.
    pub fn needs_http(&self) -> bool {
        self.roles.iter().any(|role| role.login.door.is_http())
    }

    /// Has everybody come by `door`, where that can show anything: nobody chooses a door of his own, and nothing is in
    /// it that only TCP has.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn come_by(&mut self, door: Door) -> Result<(), &'static str> {
        if self.roles.iter().any(|role| role.login.door != Door::Plain) {
            return Err("somebody chooses a door");
        }
        let has = |is: fn(&Act) -> bool| self.acts.iter().any(|at| is(&at.what));
        if has(|act| matches!(act, Act::Sends(..))) {
            return Err("the bytes of a stream");
        }
        if has(|act| matches!(act, Act::TraceShows(_))) {
            return Err("the trace is told once");
        }
        if self.configuration.contains("mod_http_upload") {
            return Err("its links tell where HTTP is listened for");
        }
        if door == Door::Bosh {
            if has(|act| matches!(act, Act::Vanishes(_))) {
                return Err("who vanishes is missed later");
            }
            if self.configuration.contains("[http]") {
                return Err("HTTP is configured for something else");
            }
        }
        if has(|act| matches!(act, Act::Clock(_))) {
            return Err("nobody can show that he is there while the clock is turned");
        }
        for role in &mut self.roles {
            role.login.door = door;
        }
        Ok(())
    }
}

/// Something with the line it began on.
#[derive(Debug)]
pub struct At<T> {
    /// Counted from 1.
    pub line: usize,
    /// What stands there.
    pub what: T,
}

/// A player.
#[derive(Debug, Clone)]
pub struct Role {
    /// What the script calls it.
    pub name: String,
    /// How it logs in.
    pub login: Login,
    /// What it does once logged in.
    pub manner: Manner,
}

/// How far a player goes by itself after login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Logs in at all before the play begins.
    pub present: bool,
    /// Fetches the roster.
    pub interested: bool,
    /// Sends initial presence with this priority.
    pub priority: Option<i8>,
    /// Hears its own presence too.
    pub hears_itself: bool,
    /// Stands at the door: a stream that nobody logged in to, and no account.
    pub stranger: bool,
}

/// How things stand before the play.
#[derive(Debug)]
pub enum Given {
    /// Both see the other's presence.
    Friends(String, String),
    /// The first is subscribed to the second's presence.
    Sees(String, String),
    /// The first has the second in the roster, without a subscription.
    Knows(String, String),
    /// Nothing is between them; said for the reader.
    Strangers(String, String),
}

/// One thing that happens.
#[derive(Debug)]
pub enum Act {
    /// Sends well-formed XML.
    Says(String, String),
    /// Sends text as it is.
    Sends(String, String),
    /// Hears exactly these next, in this order.
    Hears(String, Vec<Element>),
    /// Hears exactly these next, in whatever order.
    HearsInAnyOrder(String, Vec<Element>),
    /// Has nothing more to hear; `None` is everyone.
    HearsNothing(Option<String>),
    /// From here on does not hear stanzas of this form.
    Ignores(String, Element),
    /// Closes the stream politely.
    Closes(String),
    /// Drops the connection.
    Vanishes(String),
    /// The server closed the stream.
    IsClosed(String),
    /// Logs in again, or for the first time.
    Reconnects(String, Option<Manner>),
    /// Moves the server's clock.
    Clock(Duration),
    /// Runs an admin command that succeeds.
    AdminRuns(Vec<String>),
    /// Runs an admin command that fails.
    AdminFails(Vec<String>),
    /// The last command printed these, in this order.
    AdminSees(Vec<String>),
    /// `natter::stanza` printed these since last asked, in this order.
    TraceShows(Vec<String>),
}

/// A script that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// File.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.why)
    }
}

/// A line with those that continue it (they begin with white space).
pub(crate) struct Statement {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// Cuts `text` into statements. Empty lines and lines that begin with `#` are left out.
pub(crate) fn statements(file: &str, text: &str) -> Result<Vec<Statement>, Misread> {
    let mut found: Vec<Statement> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let misread = |why: &str| Misread {
            file: file.into(),
            line: at + 1,
            why: why.into(),
        };
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            let Some(last) = found.last_mut() else {
                return Err(misread("a continued line, but nothing to continue"));
            };
            last.text.push('\n');
            last.text.push_str(line.trim());
        } else {
            found.push(Statement {
                line: at + 1,
                text: line.trim_end().to_owned(),
            });
        }
    }
    Ok(found)
}

/// Reads a scenario.
///
/// # Errors
///
/// [`Misread`] with file and line.
pub fn read(file: &str, text: &str) -> Result<Script, Misread> {
    let misread = |line: usize, why: String| Misread {
        file: file.into(),
        line,
        why,
    };
    let title = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix('#'))
        .map(str::trim)
        .filter(|title| !title.is_empty())
        .ok_or_else(|| {
            misread(
                1,
                "the first line must be `# ` and what the scenario shows".into(),
            )
        })?;
    let mut script = Script {
        file: file.to_owned(),
        title: title.to_owned(),
        configuration: String::new(),
        roles: Vec::new(),
        givens: Vec::new(),
        acts: Vec::new(),
    };
    for statement in statements(file, text)? {
        statement_of(&mut script, &statement).map_err(|why| misread(statement.line, why))?;
    }
    if script.acts.is_empty() {
        return Err(misread(1, "nothing happens in this scenario".into()));
    }
    Ok(script)
}

fn statement_of(script: &mut Script, statement: &Statement) -> Result<(), String> {
    let text = statement.text.as_str();
    let line = statement.line;
    if let Some(rest) = word(text, "configured") {
        script.configuration.push_str(rest);
        script.configuration.push('\n');
        return Ok(());
    }
    if let Some(rest) = word(text, "on").and_then(|rest| word(rest, "stage")) {
        return roles(script, rest);
    }
    if let Some(rest) = word(text, "given") {
        if !script.acts.is_empty() {
            return Err("`given` stands before everything that happens".into());
        }
        let what = given(script, rest)?;
        script.givens.push(At { line, what });
        return Ok(());
    }
    let what = act(script, text)?;
    script.acts.push(At { line, what });
    Ok(())
}

/// The rest of `text` after its first word, if that is `wanted`.
fn word<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(wanted)?;
    match rest.starts_with(char::is_whitespace) || rest.is_empty() {
        true => Some(rest.trim_start()),
        false => None,
    }
}

fn split_word(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((first, rest)) => (first, rest.trim_start()),
        None => (text, ""),
    }
}

fn roles(script: &mut Script, text: &str) -> Result<(), String> {
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (jid, after) = split_word(rest);
        let mut role = role_of(jid)?;
        rest = after;
        if let Some(after) = word(rest, "as") {
            let (name, after) = split_word(after);
            role.name = name.to_owned();
            rest = after;
        }
        if let Some(after) = rest.strip_prefix('(') {
            let (inside, after) = after.split_once(')').ok_or("a parenthesis is not closed")?;
            role.manner = manner(inside, &mut role.login)?;
            rest = after.trim_start();
        }
        if ["admin", "everyone", "clock", "trace", "given", "configured"]
            .contains(&role.name.as_str())
        {
            return Err(format!("no player can be called {:?}", role.name));
        }
        if script.roles.iter().any(|other| other.name == role.name) {
            return Err(format!(
                "two players are called {0}: say `{jid} as NAME`",
                role.name
            ));
        }
        script.roles.push(role);
    }
    match script.roles.is_empty() {
        true => Err("who is on stage?".into()),
        false => Ok(()),
    }
}

fn role_of(jid: &str) -> Result<Role, String> {
    let (bare, resource) = match jid.split_once('/') {
        Some((bare, resource)) => (bare, Some(resource.to_owned())),
        None => (jid, None),
    };
    let (user, host) = bare
        .split_once('@')
        .ok_or_else(|| format!("{jid:?} is not user@host/resource"))?;
    let mut login = Login::new(user, host, "");
    login.resource = resource;
    Ok(Role {
        name: user.to_owned(),
        login,
        manner: Manner {
            present: true,
            interested: true,
            priority: Some(0),
            hears_itself: false,
            stranger: false,
        },
    })
}

fn manner(text: &str, login: &mut Login) -> Result<Manner, String> {
    let mut manner = Manner {
        present: true,
        interested: true,
        priority: Some(0),
        hears_itself: false,
        stranger: false,
    };
    for part in text.split(',') {
        let words: Vec<&str> = part.split_whitespace().collect();
        match words.as_slice() {
            ["available"] => {}
            ["absent"] => manner.present = false,
            ["stranger"] => {
                (manner.interested, manner.priority) = (false, None);
                manner.stranger = true;
            }
            ["connected"] => (manner.interested, manner.priority) = (false, None),
            ["interested"] => manner.priority = None,
            ["uninterested"] => manner.interested = false,
            ["hears", "itself"] => manner.hears_itself = true,
            ["priority", number] => {
                let number = number
                    .parse()
                    .map_err(|_| format!("{number:?} is no priority (-128 to 127)"))?;
                manner.priority = Some(number);
            }
            ["via", door] => {
                login.door =
                    Door::named(door).ok_or_else(|| format!("no door is called {door:?}"))?
            }
            ["with", name] => {
                let mechanism = Mechanism::named(name)
                    .ok_or_else(|| format!("no mechanism is called {name:?}"))?;
                login.mechanism = Some(mechanism);
            }
            _ => return Err(format!("players cannot be ({})", part.trim())),
        }
    }
    Ok(manner)
}

fn player(script: &Script, name: &str) -> Result<String, String> {
    if script.roles.iter().any(|role| role.name == name) {
        return Ok(name.to_owned());
    }
    let known: Vec<&str> = script.roles.iter().map(|role| role.name.as_str()).collect();
    Err(format!(
        "nobody called {name:?} is on stage (there: {})",
        known.join(", ")
    ))
}

fn given(script: &Script, text: &str) -> Result<Given, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let who = |name: &str| player(script, name);
    match words.as_slice() {
        [one, "and", other, "are", "friends"] => Ok(Given::Friends(who(one)?, who(other)?)),
        [one, "and", other, "are", "strangers"] => Ok(Given::Strangers(who(one)?, who(other)?)),
        [one, "sees", other] => Ok(Given::Sees(who(one)?, who(other)?)),
        [one, "knows", other] => Ok(Given::Knows(who(one)?, who(other)?)),
        _ => Err(format!(
            "what is given by {text:?}? (A and B are friends, A and B are strangers, A sees B, A knows B)"
        )),
    }
}

fn act(script: &Script, text: &str) -> Result<Act, String> {
    let (subject, rest) = split_word(text);
    let (verb, rest) = split_word(rest);
    match (subject, verb) {
        ("clock", by) => clock(by, rest),
        ("admin", "runs") => Ok(Act::AdminRuns(command(rest)?)),
        ("admin", "fails") => Ok(Act::AdminFails(command(rest)?)),
        ("admin", "sees") => Ok(Act::AdminSees(lines(rest)?)),
        ("admin", other) => Err(format!("admin cannot {other:?} (runs, fails, sees)")),
        ("trace", "shows") => Ok(Act::TraceShows(lines(rest)?)),
        ("everyone", "hears") if rest == "nothing" => Ok(Act::HearsNothing(None)),
        (name, verb) => spoken(player(script, name)?, verb, rest),
    }
}

fn spoken(name: String, verb: &str, rest: &str) -> Result<Act, String> {
    let silent = |act: Act| match rest.is_empty() {
        true => Ok(act),
        false => Err(format!("`{verb}` stands alone, but {rest:?} follows")),
    };
    match verb {
        "says" => {
            elements(rest)?;
            Ok(Act::Says(name, rest.to_owned()))
        }
        "sends" if rest.is_empty() => Err("sends what?".into()),
        "sends" => Ok(Act::Sends(name, rest.to_owned())),
        "hears" if rest == "nothing" => Ok(Act::HearsNothing(Some(name))),
        "hears" => match rest.strip_prefix("in any order") {
            Some(rest) => Ok(Act::HearsInAnyOrder(name, elements(rest.trim())?)),
            None => Ok(Act::Hears(name, elements(rest)?)),
        },
        "ignores" => Ok(Act::Ignores(name, Element::parse(rest)?)),
        "closes" => silent(Act::Closes(name)),
        "vanishes" => silent(Act::Vanishes(name)),
        "is" if rest == "closed" => Ok(Act::IsClosed(name)),
        "reconnects" if rest.is_empty() => Ok(Act::Reconnects(name, None)),
        "reconnects" => {
            let inside = rest
                .strip_prefix('(')
                .and_then(|rest| rest.strip_suffix(')'));
            let inside =
                inside.ok_or_else(|| format!("reconnects how? {rest:?} has no parentheses"))?;
            // Doors and mechanisms stay those of the first login.
            Ok(Act::Reconnects(
                name,
                Some(manner(inside, &mut Login::new("", "", ""))?),
            ))
        }
        other => Err(format!(
            "players cannot {other:?} (says, sends, hears, ignores, closes, vanishes, is closed, reconnects)"
        )),
    }
}

fn elements(text: &str) -> Result<Vec<Element>, String> {
    let found = Element::parse_all(text)?;
    match found.is_empty() {
        true => Err("an element is missing".into()),
        false => Ok(found),
    }
}

fn lines(text: &str) -> Result<Vec<String>, String> {
    match text.is_empty() {
        true => Err("lines are missing".into()),
        false => Ok(text.lines().map(|line| line.trim().to_owned()).collect()),
    }
}

fn command(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted
                .split_once('"')
                .ok_or("a quotation mark is not closed")?,
            None => split_word(rest),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    match words.is_empty() {
        true => Err("a command is missing".into()),
        false => Ok(words),
    }
}

fn clock(by: &str, unit: &str) -> Result<Act, String> {
    let say = || {
        format!(
            "the clock moves by `+NUMBER s`, `+NUMBER min`, `+NUMBER h` or `+NUMBER d`, not by {by:?} {unit:?}"
        )
    };
    let number: u64 = by
        .strip_prefix('+')
        .and_then(|number| number.parse().ok())
        .ok_or_else(say)?;
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(say()),
    };
    Ok(Act::Clock(Duration::from_secs(number * seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_play_is_read() {
        let text = "# A title.  XEP-0012 §3\n\n\
            on stage   alice@a.example/desk   bob@a.example/phone as b (priority -1, via starttls)\n\
            given      alice and b are friends\n\n\
            alice says <presence>\n             <status>x</status></presence>\n\
            clock      +90 s\n\
            b hears in any order <presence/>\n             <message/>\n\
            admin runs module_start localhost \"a b\"\n";
        let script = read("x.txt", text).expect("a good script");
        assert_eq!(script.title, "A title.  XEP-0012 §3");
        assert_eq!(script.roles[1].name, "b");
        assert_eq!(script.roles[1].manner.priority, Some(-1));
        assert_eq!(script.roles[1].login.door, Door::StartTls);
        assert_eq!(script.acts.len(), 4);
        assert!(matches!(&script.acts[1].what, Act::Clock(by) if by.as_secs() == 90));
        assert!(matches!(&script.acts[2].what, Act::HearsInAnyOrder(_, all) if all.len() == 2));
        assert!(matches!(&script.acts[3].what, Act::AdminRuns(words) if words[2] == "a b"));
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let said = |text: &str| read("x.txt", text).expect_err("a mistake").to_string();
        assert!(said("on stage a@b").starts_with("x.txt:1: the first line"));
        let wrong = "# t\non stage alice@a/x\n\nalice says <presence>\n";
        assert!(
            said(wrong).starts_with("x.txt:4: not well-formed"),
            "{}",
            said(wrong)
        );
        let nobody = "# t\non stage alice@a/x\nbob says <presence/>\n";
        assert!(said(nobody).starts_with("x.txt:3: nobody called \"bob\""));
        let verb = "# t\non stage alice@a/x\nalice sings <presence/>\n";
        assert!(said(verb).starts_with("x.txt:3: players cannot \"sings\""));
    }
}
