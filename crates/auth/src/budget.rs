//! Failure budgets: how often a login may fail before the next has to wait.
//!
//! Counted by account, whether it exists or not, and by address: an IPv4 address, or the /64 network that one
//! customer is given in IPv6. The first failures are free; then each doubles the wait, up to a limit, and a quiet
//! time forgets all: nobody is banned for good. Three are let through: this machine's own loopback addresses
//! always; an address that the account has logged in from before, whatever others do to the account; and whoever
//! comes while the store cannot tell, which is no failure.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use otp::{Clock, Instant};
use parking_lot::{Mutex, RwLock};

/// How many budgets of a kind are remembered; those quiet for longest make room.
const REMEMBERED: usize = 50_000;

/// From how many addresses an account may have logged in and be let through.
const FAMILIAR: usize = 4;

/// How failures are borne.
#[derive(Clone, Debug)]
pub struct BudgetOptions {
    /// Failed logins of one account that are free. Default 10.
    pub per_account: u32,
    /// Failed logins from one address that are free. Default 30.
    pub per_address: u32,
    /// The wait after the first failure that is not free; each further one doubles it. Default 1 s.
    pub delay: Duration,
    /// The longest wait. Default 15 min.
    pub longest: Duration,
    /// How long after the last failure all are forgotten. Default 1 h.
    pub forget_after: Duration,
}

impl Default for BudgetOptions {
    fn default() -> BudgetOptions {
        BudgetOptions {
            per_account: 10,
            per_address: 30,
            delay: Duration::from_secs(1),
            longest: Duration::from_secs(15 * 60),
            forget_after: Duration::from_secs(3600),
        }
    }
}

/// One budget that was drawn on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The account's address, or the network address.
    pub who: String,
    /// How often a login failed.
    pub failures: u32,
    /// How long the next login has to wait.
    pub wait: Duration,
    /// How long ago the last one failed.
    pub quiet: Duration,
}

/// The failure budgets of one server.
pub struct Budgets {
    clock: Clock,
    options: RwLock<BudgetOptions>,
    spent: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    accounts: HashMap<String, Entry>,
    addresses: HashMap<IpAddr, Entry>,
    /// Where accounts have logged in from, the latest last.
    familiar: HashMap<String, Vec<IpAddr>>,
}

struct Entry {
    failures: u32,
    last: Instant,
    until: Option<Instant>,
}

/// Whose login is judged.
#[derive(Clone, Copy)]
pub(crate) struct Login<'a> {
    /// The account's bare JID; none for a name that cannot be one.
    pub(crate) account: Option<&'a str>,
    pub(crate) address: Option<SocketAddr>,
}

impl Budgets {
    /// Budgets that nothing was drawn on yet, for what else than logins may fail too often.
    pub fn new(clock: Clock, options: BudgetOptions) -> Budgets {
        Budgets {
            clock,
            options: RwLock::new(options),
            spent: Mutex::default(),
        }
    }

    /// Bears failures so from the next login on. Waits that were given stay.
    pub fn set(&self, options: BudgetOptions) {
        *self.options.write() = options;
    }

    fn options(&self) -> BudgetOptions {
        self.options.read().clone()
    }

    /// How long a login has to wait before it is judged at all.
    pub(crate) fn wait(&self, login: Login<'_>) -> Option<Duration> {
        let counted = Counted::of(login)?;
        let now = self.clock.now();
        let tables = self.spent.lock();
        let rest = |entry: Option<&Entry>| {
            let until = entry?.until?;
            (until > now).then(|| until - now)
        };
        let of_address = rest(counted.address.and_then(|at| tables.addresses.get(&at)));
        let of_account = counted
            .account
            .filter(|account| !tables.is_familiar(account, counted.address))
            .and_then(|account| rest(tables.accounts.get(account)));
        of_address.max(of_account)
    }

    /// How long whoever comes from `address` has to wait, because what he tried before failed.
    pub fn wait_at(&self, address: SocketAddr) -> Option<Duration> {
        self.wait(Login {
            account: None,
            address: Some(address),
        })
    }

    /// Counts a failure of somebody at `address`.
    pub fn failed_at(&self, address: SocketAddr) {
        self.failed(Login {
            account: None,
            address: Some(address),
        });
    }

    /// Counts a login that failed by its credentials.
    pub(crate) fn failed(&self, login: Login<'_>) {
        let Some(counted) = Counted::of(login) else {
            return;
        };
        let (now, options) = (self.clock.now(), self.options());
        let mut tables = self.spent.lock();
        if let Some(address) = counted.address {
            let free = options.per_address;
            draw(&options, &mut tables.addresses, address, free, now);
        }
        if let Some(account) = counted.account
            && !tables.is_familiar(account, counted.address)
        {
            let (free, account) = (options.per_account, account.to_owned());
            draw(&options, &mut tables.accounts, account, free, now);
        }
    }

    /// A login succeeded: the account's failures are forgiven; those of the address are not, or its owner
    /// could try others' accounts between logins to its own.
    pub(crate) fn succeeded(&self, login: Login<'_>) {
        let (Some(counted), Some(account)) = (Counted::of(login), login.account) else {
            return;
        };
        let mut tables = self.spent.lock();
        tables.accounts.remove(account);
        let Some(address) = counted.address else {
            return;
        };
        if tables.familiar.len() >= REMEMBERED && !tables.familiar.contains_key(account) {
            tables.familiar.clear();
        }
        let familiar = tables.familiar.entry(account.to_owned()).or_default();
        familiar.retain(|known| *known != address);
        if familiar.len() == FAMILIAR {
            familiar.remove(0);
        }
        familiar.push(address);
    }

    /// The budgets that were drawn on and are not forgotten yet, the longest wait first.
    pub fn list(&self) -> Vec<Spent> {
        let (now, forget_after) = (self.clock.now(), self.options().forget_after);
        let tables = self.spent.lock();
        let accounts = tables
            .accounts
            .iter()
            .map(|(who, entry)| (who.clone(), entry));
        let addresses = tables
            .addresses
            .iter()
            .map(|(who, entry)| (who.to_string(), entry));
        let mut rows: Vec<Spent> = accounts
            .chain(addresses)
            .map(|(who, entry)| Spent {
                who,
                failures: entry.failures,
                wait: entry
                    .until
                    .filter(|until| *until > now)
                    .map_or(Duration::ZERO, |until| until - now),
                quiet: now - entry.last,
            })
            .filter(|row| row.quiet < forget_after)
            .collect();
        rows.sort_by(|a, b| b.wait.cmp(&a.wait).then_with(|| a.who.cmp(&b.who)));
        rows
    }

    /// Forgets the failures of an account or of an address, or all; how many budgets that were.
    pub fn clear(&self, who: Option<&str>) -> usize {
        let mut tables = self.spent.lock();
        let Some(who) = who else {
            let count = tables.accounts.len() + tables.addresses.len();
            tables.accounts.clear();
            tables.addresses.clear();
            return count;
        };
        let account = tables.accounts.remove(who).is_some();
        let address = who.parse().ok().map(network);
        let address = address.and_then(|at| tables.addresses.remove(&at));
        usize::from(account) + usize::from(address.is_some())
    }
}

fn draw<K: Eq + Hash + Clone>(
    options: &BudgetOptions,
    budgets: &mut HashMap<K, Entry>,
    who: K,
    free: u32,
    now: Instant,
) {
    if budgets.len() >= REMEMBERED && !budgets.contains_key(&who) {
        make_room(options, budgets, now);
    }
    let entry = budgets.entry(who).or_insert(Entry {
        failures: 0,
        last: now,
        until: None,
    });
    if now - entry.last >= options.forget_after {
        entry.failures = 0;
    }
    entry.failures = entry.failures.saturating_add(1);
    entry.last = now;
    entry.until = (entry.failures > free).then(|| now + delay(options, entry.failures - free - 1));
}

/// The wait after so many doublings.
fn delay(options: &BudgetOptions, doublings: u32) -> Duration {
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    let delay = options.delay.checked_mul(factor);
    delay.map_or(options.longest, |delay| delay.min(options.longest))
}

/// Forgets what is quiet, and at least an eighth.
fn make_room<K: Eq + Hash + Clone>(
    options: &BudgetOptions,
    budgets: &mut HashMap<K, Entry>,
    now: Instant,
) {
    budgets.retain(|_, entry| now - entry.last < options.forget_after);
    if budgets.len() < REMEMBERED {
        return;
    }
    let mut by_age: Vec<(Instant, K)> = budgets
        .iter()
        .map(|(who, entry)| (entry.last, who.clone()))
        .collect();
    by_age.sort_by_key(|(last, _)| *last);
    for (_, who) in by_age.into_iter().take(REMEMBERED / 8) {
        budgets.remove(&who);
    }
}

impl Tables {
    fn is_familiar(&self, account: &str, address: Option<IpAddr>) -> bool {
        let known = self.familiar.get(account);
        address.is_some_and(|address| known.is_some_and(|known| known.contains(&address)))
    }
}

/// By what a login is counted.
struct Counted<'a> {
    account: Option<&'a str>,
    address: Option<IpAddr>,
}

impl<'a> Counted<'a> {
    /// None for a login from this machine itself.
    fn of(login: Login<'a>) -> Option<Counted<'a>> {
        let address = login.address.map(|at| network(at.ip()));
        if login
            .address
            .is_some_and(|at| at.ip().to_canonical().is_loopback())
        {
            return None;
        }
        Some(Counted {
            account: login.account,
            address,
        })
    }
}

/// What an address is counted by.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otp::ClockHand;

    const ALICE: &str = "alice@a.example";

    fn login(account: &'static str, address: &str) -> Login<'static> {
        Login {
            account: Some(account),
            address: Some(SocketAddr::new(address.parse().unwrap(), 40_000)),
        }
    }

    fn budgets() -> (Budgets, ClockHand) {
        let (clock, hand) = Clock::manual();
        let options = BudgetOptions {
            per_account: 2,
            per_address: 4,
            ..BudgetOptions::default()
        };
        (Budgets::new(clock, options), hand)
    }

    fn seconds(budgets: &Budgets, login: Login<'_>) -> u64 {
        budgets.wait(login).map_or(0, |wait| wait.as_secs())
    }

    #[tokio::test]
    async fn waits_double_up_to_the_longest_and_pass() {
        let (budgets, hand) = budgets();
        let from = |number: u32| format!("192.0.2.{number}");
        let mut waits = Vec::new();
        for number in 0..14 {
            // Each from another address: it is the account that is counted.
            budgets.failed(login(ALICE, &from(number)));
            waits.push(seconds(&budgets, login(ALICE, "198.51.100.1")));
        }
        assert_eq!(
            waits,
            [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]
        );
        assert_eq!(seconds(&budgets, login("bob@a.example", "198.51.100.1")), 0);
        hand.advance(Duration::from_secs(899)).await;
        assert_eq!(seconds(&budgets, login(ALICE, "198.51.100.1")), 1);
        hand.advance(Duration::from_secs(1)).await;
        assert_eq!(
            seconds(&budgets, login(ALICE, "198.51.100.1")),
            0,
            "never for good"
        );
        // What is not forgotten yet goes on where it was.
        budgets.failed(login(ALICE, "192.0.2.99"));
        assert_eq!(seconds(&budgets, login(ALICE, "198.51.100.1")), 900);
        hand.advance(Duration::from_secs(3600)).await;
        assert!(budgets.list().is_empty());
        budgets.failed(login(ALICE, "192.0.2.98"));
        assert_eq!(
            seconds(&budgets, login(ALICE, "198.51.100.1")),
            0,
            "forgotten"
        );
    }

    #[tokio::test]
    async fn an_address_waits_whatever_the_account() {
        let (budgets, _hand) = budgets();
        for name in ["a@x", "b@x", "c@x", "d@x"] {
            budgets.failed(login(name, "192.0.2.1"));
            assert_eq!(seconds(&budgets, login(ALICE, "192.0.2.1")), 0);
        }
        // A success with its own account does not free it.
        budgets.succeeded(login("a@x", "192.0.2.1"));
        budgets.failed(login("e@x", "192.0.2.1"));
        assert_eq!(seconds(&budgets, login(ALICE, "192.0.2.1")), 1);
        assert_eq!(seconds(&budgets, login(ALICE, "::ffff:192.0.2.1")), 1);
        assert_eq!(seconds(&budgets, login(ALICE, "192.0.2.2")), 0);
        let nameless = Login {
            account: None,
            address: login(ALICE, "192.0.2.1").address,
        };
        assert_eq!(seconds(&budgets, nameless), 1);
    }

    #[tokio::test]
    async fn a_network_of_ipv6_is_one_address() {
        let (budgets, _hand) = budgets();
        for last in 0..5 {
            budgets.failed(login("a@x", &format!("2001:db8:0:1::{last}")));
        }
        assert_eq!(seconds(&budgets, login(ALICE, "2001:db8:0:1:ffff::9")), 1);
        assert_eq!(seconds(&budgets, login(ALICE, "2001:db8:0:2::1")), 0);
    }

    #[tokio::test]
    async fn this_machine_is_never_counted() {
        let (budgets, _hand) = budgets();
        for _ in 0..20 {
            for own in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
                budgets.failed(login(ALICE, own));
            }
        }
        assert!(budgets.list().is_empty());
        // Nor does it wait for what others did.
        for number in 0..9 {
            budgets.failed(login(ALICE, &format!("192.0.2.{number}")));
        }
        assert_eq!(seconds(&budgets, login(ALICE, "127.0.0.1")), 0);
        assert_ne!(seconds(&budgets, login(ALICE, "0.0.0.0")), 0);
    }

    #[tokio::test]
    async fn nobody_is_locked_out_of_a_familiar_place() {
        let (budgets, _hand) = budgets();
        budgets.succeeded(login(ALICE, "198.51.100.1"));
        for number in 0..9 {
            budgets.failed(login(ALICE, &format!("192.0.2.{number}")));
        }
        assert_ne!(seconds(&budgets, login(ALICE, "203.0.113.1")), 0);
        assert_eq!(seconds(&budgets, login(ALICE, "198.51.100.1")), 0);
        // Mistakes made there count for the address alone.
        for _ in 0..5 {
            budgets.failed(login(ALICE, "198.51.100.1"));
        }
        assert_eq!(seconds(&budgets, login(ALICE, "198.51.100.1")), 1);
        // The account's own success forgives it.
        budgets.succeeded(login(ALICE, "203.0.113.1"));
        assert_eq!(seconds(&budgets, login(ALICE, "192.0.2.77")), 0);
        // Only the last few places are familiar.
        for number in 1..=4 {
            budgets.succeeded(login(ALICE, &format!("203.0.113.{number}")));
        }
        for number in 0..9 {
            budgets.failed(login(ALICE, &format!("192.0.2.{number}")));
        }
        assert_ne!(seconds(&budgets, login(ALICE, "198.51.100.1")), 0);
        assert_eq!(seconds(&budgets, login(ALICE, "203.0.113.4")), 0);
    }

    #[tokio::test]
    async fn what_was_spent_is_listed_and_cleared() {
        let (budgets, hand) = budgets();
        for _ in 0..3 {
            budgets.failed(login(ALICE, "192.0.2.1"));
        }
        hand.advance(Duration::from_millis(500)).await;
        let row = |who: &str, wait| Spent {
            who: who.to_owned(),
            failures: 3,
            wait: Duration::from_millis(wait),
            quiet: Duration::from_millis(500),
        };
        assert_eq!(budgets.list(), [row(ALICE, 500), row("192.0.2.1", 0)]);
        assert_eq!(budgets.clear(Some("nobody@a.example")), 0);
        assert_eq!(budgets.clear(Some(ALICE)), 1);
        assert_eq!(budgets.list(), [row("192.0.2.1", 0)]);
        assert_eq!(budgets.clear(Some("::ffff:192.0.2.1")), 1);
        budgets.failed(login(ALICE, "192.0.2.1"));
        assert_eq!(budgets.clear(None), 2);
        assert!(budgets.list().is_empty());
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let (budgets, hand) = budgets();
        budgets.failed(login("first@x", "192.0.2.1"));
        hand.advance(Duration::from_secs(1)).await;
        for number in 0..REMEMBERED {
            let name = format!("{number}@x");
            budgets.failed(Login {
                account: Some(&name),
                address: None,
            });
        }
        let listed = budgets.list();
        assert!(listed.len() <= REMEMBERED + 1, "{}", listed.len());
        assert!(
            !listed.iter().any(|row| row.who == "first@x"),
            "the oldest went"
        );
    }
}
