//! `mod_caps`: what can this server do, and what can each client?
//!
//! Source: XEP-0115 v1.6.0 §5 (verification), §6.3 (stream feature). Hooks: `c2s_post_auth_features`,
//! `c2s_self_presence`, `unset_presence`, `disco_node`; answers `user_features`. Stores: `caps`. State: what each
//! client of the host has announced; what is behind a hash is asked of one client, checked, and kept for all.

mod hash;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gen_mod::command::{Arg, Args, Command, CommandError, Role, Scope, Value};
use gen_mod::prelude::*;
use minidom::Element;
use parking_lot::RwLock;
use router::IqKind;
use session::Sessions;
use session::hooks::{PostAuthFeatures, SelfPresence, WentOffline};
use xmpp::{Fragment, FullJid, Payload, push_attr};

use self::hash::{Algorithm, verification};
use crate::disco::{Kept, describe};
use crate::hooks::{DiscoNode, UserFeatures};

/// How long a client may take to say what it can.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Longest attribute of an announcement; longer ones are not heeded.
const MAX_ATTRIBUTE: usize = 512;

/// Largest answer that is kept for others, in bytes.
const MAX_INFO: usize = 64 * 1024;

/// Most hashes kept in the store.
const MOST_KEPT: u64 = 10_000;

/// Most hashes kept in memory.
const MOST_REMEMBERED: usize = 1000;

options! {
    /// How the server announces itself.
    pub struct CapsOpts {
        /// What the server calls its software; `@HOST@` is the host's name.
        pub node: String = "https://@HOST@/".into(),
    }
}

/// Entity Capabilities. Its process asks the clients.
pub struct ModCaps {
    clients: Clients,
    /// Hashes that somebody is being asked about, and who else announced them meanwhile.
    asking: HashMap<Key, VecDeque<FullJid>>,
    /// What is behind hashes that were verified.
    verified: HashMap<Key, Features>,
}

type Features = Arc<BTreeSet<String>>;

/// A hash that can be verified: function and value.
type Key = (Algorithm, String);

/// What a client says of itself in its presence (§4).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Announced {
    hash: String,
    node: String,
    ver: String,
}

/// What is known of a client.
struct Client {
    announced: Announced,
    /// Nothing until it is found out.
    features: Option<Features>,
    /// It is being asked.
    busy: bool,
}

/// The clients of the host: written by the module's process, read where the caller stands.
#[derive(Clone, Default)]
struct Clients(Arc<RwLock<HashMap<FullJid, Client>>>);

/// What the process hears.
enum Heard {
    /// A client announced itself.
    Announced(FullJid, Announced),
    /// A client is gone.
    Gone(FullJid),
    /// What came of asking a client.
    Learned(FullJid, Announced, Learned),
}

/// What came of asking about a hash.
enum Learned {
    /// It is what the hash says: true of all who announce that.
    Verified(Features),
    /// It is not, or cannot be checked: true of this client at most.
    Claimed(Features),
    /// No answer, or none that can be read.
    Nothing,
}

impl Module for ModCaps {
    const NAME: &'static str = "mod_caps";
    const SOURCES: &'static [Source] = &[xep(
        115,
        "1.6.0",
        Partial("the server's own and those of the host's clients; no legacy format"),
    )];
    type Opts = CapsOpts;

    async fn start(ctx: &ModuleCtx, opts: CapsOpts) -> Result<(Self, Registrations), StartError> {
        let clients = Clients::default();
        let node: Arc<str> = opts.node.into();
        let own = OwnHash::default();
        let (offered, asked) = ((own.clone(), Arc::clone(&node)), (own, node));
        let (shown, listed) = (clients.clone(), clients.clone());
        let (comes, leaves) = (ctx.teller(), ctx.teller());
        // Those who were here before this process was.
        for entry in ctx.host.service::<Sessions>().table.all() {
            let local = entry.jid.domain().as_str() == &*ctx.host.name;
            if let Some(announced) = entry
                .presence()
                .filter(|_| local)
                .and_then(|p| announced(&p))
            {
                comes(Box::new(Heard::Announced((*entry.jid).clone(), announced)));
            }
        }
        let registrations = Registrations::new()
            .feature(ns::CAPS)
            .hook::<PostAuthFeatures>(Priority::NORMAL, move |host, stream| {
                offer(host, stream, &offered.0, &offered.1)
            })
            .hook::<SelfPresence>(Priority::NORMAL, move |_, shown| {
                if let Some(announced) = announced(&shown.presence) {
                    comes(Box::new(Heard::Announced(shown.user.clone(), announced)));
                }
                Flow::Next(shown)
            })
            .hook::<WentOffline>(Priority::NORMAL, move |_, gone| {
                leaves(Box::new(Heard::Gone(gone.user.clone())));
                Flow::Next(gone)
            })
            .hook::<DiscoNode>(Priority::NORMAL, move |host, node| {
                behind_own_hash(host, node, &asked.0, &asked.1)
            })
            .hook::<UserFeatures>(Priority::NORMAL, move |_, mut asked| {
                asked.features = shown.features(&asked.user);
                Flow::Next(asked)
            })
            .command(user_capabilities(listed));
        let module = ModCaps {
            clients,
            asking: HashMap::new(),
            verified: HashMap::new(),
        };
        Ok((module, registrations))
    }

    async fn handle_info(&mut self, info: Info, ctx: &ModuleCtx) {
        let Info::Message(message) = info else {
            return;
        };
        match message.downcast::<Heard>().map(|heard| *heard) {
            Ok(Heard::Announced(user, announced)) => self.announced(user, announced, ctx),
            Ok(Heard::Gone(user)) => {
                self.clients.0.write().remove(&user);
            }
            Ok(Heard::Learned(user, announced, learned)) => {
                self.learned(&user, &announced, learned, ctx);
            }
            Err(_) => {}
        }
    }
}

// What the server says of itself.

/// Announces the host on streams of those who logged in (§6.3).
fn offer(
    host: &Host,
    mut stream: PostAuthFeatures,
    own: &OwnHash,
    node: &str,
) -> Flow<PostAuthFeatures> {
    if let Some(ver) = own.of(host) {
        let mut feature = String::from("<c");
        let attrs = [
            ("xmlns", ns::CAPS),
            ("hash", Algorithm::Sha1.name()),
            ("node", node),
            ("ver", &*ver),
        ];
        for (name, value) in attrs {
            push_attr(name, value, &mut feature);
        }
        feature.push_str("/>");
        stream.features.push(feature);
    }
    Flow::Next(stream)
}

/// Says of the node that the hash makes what the host says of itself (§6.2).
fn behind_own_hash(
    host: &Host,
    mut asked: DiscoNode,
    own: &OwnHash,
    node: &str,
) -> Flow<DiscoNode> {
    let ver = asked
        .node
        .strip_prefix(node)
        .and_then(|rest| rest.strip_prefix('#'));
    let of_host = asked.to.node().is_none() && asked.to.domain().as_str() == &*host.name;
    if of_host && ver.is_some() && ver == own.of(host).as_deref() {
        asked.info = Some(describe(host, To::Host));
    }
    Flow::Next(asked)
}

/// The host's verification string; none when a module says something of the host that cannot have one.
#[derive(Clone, Default)]
struct OwnHash(Kept<Option<Arc<str>>>);

impl OwnHash {
    fn of(&self, host: &Host) -> Option<Arc<str>> {
        self.0.of(host, To::Host, |info| {
            let info: Element = info.to_fragment().as_str().parse().ok()?;
            verification(&info, Algorithm::Sha1).ok().map(Arc::from)
        })
    }
}

// What clients say of themselves.

/// The announcement in a presence; none without a hash, which is the legacy format.
fn announced(presence: &Stanza) -> Option<Announced> {
    if !presence.has_child("c", ns::CAPS) {
        return None;
    }
    let c = presence
        .dom()
        .children()
        .find(|child| child.is("c", ns::CAPS))?;
    let read = |name| {
        let value = c.attr(name).filter(|value| !value.is_empty())?;
        (value.len() <= MAX_ATTRIBUTE).then(|| value.to_owned())
    };
    Some(Announced {
        hash: read("hash")?,
        node: read("node")?,
        ver: read("ver")?,
    })
}

impl Announced {
    /// What can be verified; none when the hash function is not known here.
    fn key(&self) -> Option<Key> {
        Algorithm::of(&self.hash).map(|algorithm| (algorithm, self.ver.clone()))
    }
}

impl Clients {
    fn features(&self, user: &FullJid) -> Option<Features> {
        self.0.read().get(user)?.features.clone()
    }

    /// Notes what a client can do, if it still announces that.
    fn learn(&self, user: &FullJid, announced: &Announced, features: &Features) {
        if let Some(client) = self.0.write().get_mut(user)
            && client.announced == *announced
        {
            client.features = Some(Arc::clone(features));
        }
    }
}

impl ModCaps {
    fn announced(&mut self, user: FullJid, announced: Announced, ctx: &ModuleCtx) {
        let mut clients = self.clients.0.write();
        let busy = match clients.get(&user) {
            Some(client) if client.announced == announced => return,
            Some(client) => client.busy,
            None => false,
        };
        let client = Client {
            announced,
            features: None,
            busy,
        };
        clients.insert(user.clone(), client);
        drop(clients);
        // Who is being asked about another hash is asked about this one afterwards.
        if !busy {
            self.find_out(user, ctx);
        }
    }

    /// Begins to find out what a client can, unless that is known or somebody else is being asked.
    fn find_out(&mut self, user: FullJid, ctx: &ModuleCtx) {
        let mut clients = self.clients.0.write();
        let Some(client) = clients.get_mut(&user) else {
            return;
        };
        let key = client.announced.key();
        if let Some(key) = key {
            if let Some(features) = self.verified.get(&key) {
                client.features = Some(Arc::clone(features));
                return;
            }
            if let Some(waiting) = self.asking.get_mut(&key) {
                waiting.push_back(user);
                return;
            }
            self.asking.insert(key, VecDeque::new());
        }
        client.busy = true;
        let announced = client.announced.clone();
        drop(clients);
        let (host, tell) = (ctx.host.clone(), ctx.teller());
        ctx.spawn(async move {
            let (learned, keep) = learn(&host, &user, &announced).await;
            tell(Box::new(Heard::Learned(user, announced, learned)));
            if let Some((algorithm, ver, info)) = keep {
                let caps = &host.storage.caps;
                let kept = caps.keep(algorithm.name(), &ver, info, MOST_KEPT).await;
                if let Err(error) = kept {
                    tracing::warn!(target: "natter::caps", %error, "capabilities not kept");
                }
            }
        });
    }

    fn learned(&mut self, user: &FullJid, asked: &Announced, learned: Learned, ctx: &ModuleCtx) {
        let changed = {
            let mut clients = self.clients.0.write();
            clients.get_mut(user).is_some_and(|client| {
                client.busy = false;
                client.announced != *asked
            })
        };
        let key = asked.key();
        let mut waiting = key
            .as_ref()
            .and_then(|key| self.asking.remove(key))
            .unwrap_or_default();
        match (learned, key) {
            (Learned::Verified(features), Some(key)) => {
                self.clients.learn(user, asked, &features);
                if self.verified.len() >= MOST_REMEMBERED {
                    self.verified.clear();
                }
                self.verified.insert(key, features);
            }
            (Learned::Verified(features) | Learned::Claimed(features), _) => {
                self.clients.learn(user, asked, &features);
            }
            (Learned::Nothing, _) => {}
        }
        if changed {
            waiting.push_back(user.clone());
        }
        // Each finds it known by now, or the first of them is asked and the others wait again.
        for other in waiting {
            self.find_out(other, ctx);
        }
    }
}

/// Looks into the store, else asks the client and checks what it says (§5.4). Gives also what is to be kept.
async fn learn(
    host: &Host,
    user: &FullJid,
    announced: &Announced,
) -> (Learned, Option<(Algorithm, String, String)>) {
    let key = announced.key();
    if let Some((algorithm, ver)) = &key {
        match host.storage.caps.find(algorithm.name(), ver).await {
            Ok(Some(info)) => {
                if let Ok(info) = info.parse::<Element>() {
                    return (Learned::Verified(features_of(&info)), None);
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(target: "natter::caps", %error, "capabilities not looked up");
            }
        }
    }
    let Some(info) = ask(host, user, announced).await else {
        return (Learned::Nothing, None);
    };
    let features = features_of(&info);
    let Some((algorithm, ver)) = key else {
        return (Learned::Claimed(features), None);
    };
    match verification(&info, algorithm) {
        Ok(found) if found == ver => {}
        found => {
            tracing::info!(target: "natter::caps", %user, node = announced.node, ver, ?found, "announced another hash than that of what it can");
            return (Learned::Claimed(features), None);
        }
    }
    let info = String::from(&info);
    if info.len() > MAX_INFO {
        return (Learned::Claimed(features), None);
    }
    (Learned::Verified(features), Some((algorithm, ver, info)))
}

/// Asks a client what is behind its announcement.
async fn ask(host: &Host, user: &FullJid, announced: &Announced) -> Option<Element> {
    let from = xmpp::parse_jid(&host.name).expect("a host's name is a domain");
    let node = format!("{}#{}", announced.node, announced.ver);
    let query = Fragment::element("query", ns::DISCO_INFO, &[("node", &node)], "");
    let to = Jid::from(user.clone());
    let answer = host
        .router
        .ask(&from, &to, IqKind::Get, query, ANSWER_WITHIN)
        .await
        .ok()?;
    let info = answer.dom().children().next()?;
    info.is("query", ns::DISCO_INFO).then(|| info.clone())
}

fn features_of(info: &Element) -> Features {
    let features = info
        .children()
        .filter(|child| child.is("feature", ns::DISCO_INFO));
    let vars = features.filter_map(|feature| feature.attr("var"));
    Arc::new(vars.map(str::to_owned).collect())
}

/// What the clients of an account can do, for its administrator.
fn user_capabilities(clients: Clients) -> Command {
    let run = move |args: Args| {
        let (user, host) = (args.text("user"), args.text("host"));
        let account = xmpp::parse_bare(&format!("{user}@{host}"))
            .map_err(|error| CommandError::failed(format!("`{user}` is no name: {error}")))?;
        let clients = clients.0.read();
        let mut rows: Vec<(&FullJid, &Client)> = clients
            .iter()
            .filter(|(jid, _)| jid.to_bare() == account)
            .collect();
        rows.sort_by_key(|(jid, _)| *jid);
        let empty = Value::table(["resource", "software", "features"]);
        Ok(rows.into_iter().fold(empty, |table, (jid, client)| {
            let features = match &client.features {
                Some(features) => features
                    .iter()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .into(),
                None => Value::Nothing,
            };
            let resource = jid.resource().as_str();
            table.row([
                resource.into(),
                client.announced.node.as_str().into(),
                features,
            ])
        }))
    };
    Command::new(
        "user_capabilities",
        "Lists what the clients of an account announce that they can do.",
        move |_, args| {
            let answer = run(args);
            async move { answer }
        },
    )
    .arg(Arg::text("user", "name of the account, without its host"))
    .arg(Arg::host("host", "domain of the account"))
    .allow(Role::HostAdmin, Scope::Host)
    .reads()
    .returns("resource, software, features (nothing: not known yet)")
}
