//! `/metrics`: what the server counts, as OpenMetrics 1.0 text.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use httpd::{Error, Handler, Outcome, Request};
use otp::{Counted, HISTOGRAM_BOUNDS, TreeNode};

use crate::Web;
use crate::access::admit;
use crate::page::is_read;

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The page of metrics, for those whom the configuration admits.
#[derive(Clone)]
pub(crate) struct Metrics(pub(crate) Web);

impl Handler for Metrics {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        admit(&self.0.settings().metrics, req)?;
        if is_read(req)? {
            let page = page(&self.0);
            req.reply(
                200,
                [("content-type", TYPE), ("cache-control", "no-store")],
                page,
            )?;
        }
        Ok(Outcome::Done)
    }
}

fn page(web: &Web) -> String {
    let parts = web.parts();
    let mut page = Page::default();

    page.family("natter", "info", "The server.");
    page.sample("natter_info", &[("version", parts.version)], 1);
    page.family("natter_uptime_seconds", "gauge", "Time since the start.");
    let uptime = parts.system.clock().now() - parts.system.started();
    page.sample("natter_uptime_seconds", &[], uptime.as_secs());

    let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
    for entry in parts.sessions.table.all() {
        *hosts
            .entry(entry.jid.domain().as_str().to_owned())
            .or_default() += 1;
    }
    page.family("natter_sessions", "gauge", "Clients with a resource.");
    for (host, count) in &hosts {
        page.sample("natter_sessions", &[("host", host)], count);
    }
    let help = "Stanzas from clients (in) and to clients (out).";
    page.family("natter_stanzas", "counter", help);
    for (direction, kind, count) in parts.sessions.stanzas.read() {
        let labels = [("direction", direction), ("kind", kind)];
        page.sample("natter_stanzas_total", &labels, count);
    }

    let mut kinds = BTreeMap::new();
    for root in parts.system.observe().tree() {
        gather(&root, &mut kinds);
    }
    let mut of_kinds = |name: &str, help: &str, value: fn(&Processes) -> u64| {
        page.family(name, "gauge", help);
        for (kind, processes) in &kinds {
            page.sample(name, &[("kind", kind)], value(processes));
        }
    };
    of_kinds("natter_processes", "Processes that live.", |of| of.count);
    of_kinds(
        "natter_mailbox_messages",
        "Messages that wait in the mailboxes of all processes of a kind.",
        |of| of.waiting,
    );
    of_kinds(
        "natter_mailbox_messages_longest",
        "Messages that wait in the longest mailbox of a kind.",
        |of| of.longest,
    );
    of_kinds(
        "natter_mailbox_bytes",
        "Bytes of stanzas that wait in mailboxes.",
        |of| of.bytes,
    );
    of_kinds(
        "natter_process_restarts",
        "How often the processes that live were started again.",
        |of| of.restarts,
    );

    page.family(
        "natter_storage_commits",
        "counter",
        "Transactions that were committed.",
    );
    page.sample("natter_storage_commits_total", &[], parts.storage.commits());
    let latencies = parts.router.latencies();
    let all: [(&str, &str, Counted); 4] = [
        (
            "natter_route_seconds",
            "Routing a stanza until it is handed over; one of 64 is measured.",
            latencies.routes.read(),
        ),
        (
            "natter_hook_seconds",
            "Folds of hooks that anybody listens to; one of 64 is measured.",
            latencies.hooks.read(),
        ),
        (
            "natter_iq_seconds",
            "Handlers of IQ requests.",
            latencies.iqs.read(),
        ),
        (
            "natter_storage_commit_seconds",
            "Transactions on their way to the disk.",
            parts.storage.commit_times(),
        ),
    ];
    for (name, help, counted) in &all {
        page.family(name, "histogram", help);
        page.histogram(name, &[], counted);
    }
    page.family("natter_http_connections", "gauge", "HTTP connections.");
    let connections = web.httpd().connections_now();
    page.sample("natter_http_connections", &[], connections);
    page.family("natter_http_requests", "counter", "HTTP requests.");
    page.sample("natter_http_requests_total", &[], web.requests());
    page.family(
        "natter_http_replies",
        "counter",
        "HTTP requests that ended.",
    );
    for ((handler, method, status), count) in web.tally().replies() {
        let labels = [("handler", handler), ("method", method), ("status", status)];
        page.sample("natter_http_replies_total", &labels, count);
    }
    let help = "HTTP requests from the head to the last byte of the reply.";
    page.family("natter_http_seconds", "histogram", help);
    for (handler, counted) in web.tally().times() {
        page.histogram("natter_http_seconds", &[("handler", handler)], &counted);
    }
    let help = "Posts of mod_http_offline.";
    page.family("natter_http_offline_posts", "counter", help);
    let posts = web.posts();
    for (outcome, count) in [
        ("sent", &posts.sent),
        ("dropped", &posts.dropped),
        ("given_up", &posts.given_up),
    ] {
        let count = count.load(Ordering::Relaxed);
        page.sample(
            "natter_http_offline_posts_total",
            &[("outcome", outcome)],
            count,
        );
    }
    page.end()
}

/// What the processes of one kind have in common.
#[derive(Default)]
struct Processes {
    count: u64,
    waiting: u64,
    longest: u64,
    bytes: u64,
    restarts: u64,
}

fn gather(node: &TreeNode, kinds: &mut BTreeMap<&'static str, Processes>) {
    let of = kinds.entry(node.kind).or_default();
    let waiting = node.mailbox as u64;
    of.count += 1;
    of.waiting += waiting;
    of.longest = of.longest.max(waiting);
    of.bytes += node.mailbox_bytes as u64;
    of.restarts += u64::from(node.restarts);
    for child in &node.children {
        gather(child, kinds);
    }
}

/// A page that is being written.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# TYPE {name} {kind}").expect(FITS);
        if let Some((_, unit @ ("seconds" | "bytes"))) = name.rsplit_once('_') {
            writeln!(self.0, "# UNIT {name} {unit}").expect(FITS);
        }
        writeln!(self.0, "# HELP {name} {help}").expect(FITS);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (number, (label, text)) in labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            write!(self.0, "{before}{label}=\"{}\"", escaped(text)).expect(FITS);
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        writeln!(self.0, " {value}").expect(FITS);
    }

    /// The samples of a histogram, in seconds.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], counted: &Counted) {
        let bucket = format!("{name}_bucket");
        let bounds = HISTOGRAM_BOUNDS.map(|bound| canonical(bound.as_secs_f64()));
        let infinite = [("+Inf", counted.count)];
        let finite = bounds.iter().map(String::as_str).zip(counted.within);
        for (bound, count) in finite.chain(infinite) {
            let mut with_bound = labels.to_vec();
            with_bound.push(("le", bound));
            self.sample(&bucket, &with_bound, count);
        }
        self.sample(&format!("{name}_count"), labels, counted.count);
        let sum = counted.sum.as_secs_f64();
        self.sample(&format!("{name}_sum"), labels, sum);
    }

    fn end(mut self) -> String {
        self.0.push_str("# EOF\n");
        self.0
    }
}

const FITS: &str = "a String takes everything";

/// A bound as the standard has it in a label, where `1e-5` would be another than `1e-05`.
fn canonical(bound: f64) -> String {
    let shortest = format!("{bound:?}");
    match shortest.split_once("e-") {
        Some((digits, exponent)) => format!("{digits}e-{exponent:0>2}"),
        None => shortest,
    }
}

/// A label's value: backslash, quotation mark and line feed are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_as_the_standard_has_it() {
        let mut page = Page::default();
        page.family("a_b", "counter", "Things.");
        page.sample("a_b_total", &[("x", "1"), ("y", "a\"b\\c\nd")], 7);
        page.family("c_seconds", "gauge", "One.");
        page.sample("c_seconds", &[], 0);
        assert_eq!(
            page.end(),
            "# TYPE a_b counter\n# HELP a_b Things.\na_b_total{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 7\n\
             # TYPE c_seconds gauge\n# UNIT c_seconds seconds\n# HELP c_seconds One.\nc_seconds 0\n# EOF\n"
        );
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let times = otp::Histogram::default();
        times.add(std::time::Duration::from_millis(2));
        times.add(std::time::Duration::from_secs(60));
        let mut page = Page::default();
        page.histogram("t_seconds", &[("x", "1")], &times.read());
        let page = page.end();
        for line in [
            "t_seconds_bucket{x=\"1\",le=\"1e-05\"} 0\n",
            "t_seconds_bucket{x=\"1\",le=\"0.001\"} 0\n",
            "t_seconds_bucket{x=\"1\",le=\"0.005\"} 1\n",
            "t_seconds_bucket{x=\"1\",le=\"10.0\"} 1\n",
            "t_seconds_bucket{x=\"1\",le=\"+Inf\"} 2\n",
            "t_seconds_count{x=\"1\"} 2\n",
            "t_seconds_sum{x=\"1\"} 60.002\n",
        ] {
            assert!(page.contains(line), "no {line} in {page}");
        }
    }
}
