//! Files by HTTP: put into a slot, got in parts, gone with their time and their account.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::browser::Browser;
use crate::house::House;
use crate::http::{HTTP, door};
use crate::peer::Peer;

/// Files are kept for an hour.
const UPLOAD: &str = "[modules.mod_http_upload]\nenabled = true\nkeep_for = \"1 h\"\n";

const JPEG: &str = "Content-Type: image/jpeg";

struct Stage {
    house: House,
    /// None once she has left.
    alice: Option<Peer>,
}

impl Stage {
    async fn open() -> Stage {
        let house = House::start(&format!("{HTTP}{UPLOAD}")).await;
        house.done("register alice a.example secret").await;
        let mut alice = Peer::dial(house.server.addresses()[0].at).await;
        alice.logs_in("alice", "a.example", "secret").await;
        let alice = Some(alice);
        Stage { house, alice }
    }

    /// Alice leaves first: with its clock standing still the server would wait for her.
    async fn stop(self) {
        drop(self.alice);
        self.house.stop().await;
    }

    async fn browser(&self) -> Browser {
        Browser::dial(door(&self.house)).await
    }

    /// Asks for a slot; the path of its URL, which is the same to put and to get.
    async fn slot(&mut self, name: &str, size: usize, media: &str) -> String {
        self.alice.as_mut().expect("she is there").says(&format!(
                "<iq type='get' id='s' to='upload.a.example'><request xmlns='urn:xmpp:http:upload:0' \
                 filename='{name}' size='{size}' content-type='{media}'/></iq>"
            ))
            .await;
        let heard = self
            .alice
            .as_mut()
            .expect("she is there")
            .hears("</slot>")
            .await;
        let (_, rest) = heard.split_once("<put url=\"").expect("a URL to put to");
        let (put, rest) = rest.split_once('"').expect("its end");
        let (_, rest) = rest.split_once("<get url=\"").expect("a URL to get from");
        let (got, _) = rest.split_once('"').expect("its end");
        assert_eq!(put, got);
        let site = format!("http://a.example:{}", door(&self.house).port());
        put.strip_prefix(&site).expect("the listener's").to_owned()
    }

    fn uploads(&self) -> PathBuf {
        self.house.folder.path().join("data").join("uploads")
    }
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("listed").path());
    let below = |path: PathBuf| {
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    };
    paths.flat_map(below).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_put_once_and_got_in_parts() {
    let mut stage = Stage::open().await;
    let path = stage.slot("très cool.jpg", 10, "image/jpeg").await;
    assert!(
        path.starts_with("/upload/") && path.ends_with("/tr%C3%A8s%20cool.jpg"),
        "{path}"
    );
    let mut browser = stage.browser().await;
    let early = browser.asks("GET", "a.example", &path, &[], "").await;
    assert_eq!(early.status, 404);
    for (headers, body, status) in [
        (&[JPEG][..], "123456789", 400),
        (&["Content-Type: text/html"][..], "0123456789", 415),
        (&[JPEG][..], "0123456789", 201),
        (&[JPEG][..], "9876543210", 409),
    ] {
        let put = browser.asks("PUT", "a.example", &path, headers, body).await;
        assert_eq!(put.status, status, "{headers:?} {body}");
        assert_eq!(
            put.header("access-control-allow-origin"),
            "*",
            "{}",
            put.head
        );
    }
    let got = browser
        .asks("GET", "anything", &path, &["Accept: text/html"], "")
        .await;
    assert_eq!((got.status, got.body.as_str()), (200, "0123456789"));
    for (name, value) in [
        ("content-type", "image/jpeg"),
        ("content-length", "10"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'; sandbox",
        ),
        ("access-control-allow-origin", "*"),
        ("cache-control", "private, immutable, max-age=3600"),
        (
            "content-disposition",
            "inline; filename=\"tr_s cool.jpg\"; filename*=utf-8''tr%c3%a8s%20cool.jpg",
        ),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    let tag = got.header("etag").to_owned();
    assert!(tag.len() > 30, "{tag}");
    let head = browser.asks("HEAD", "a.example", &path, &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, "10"));
    // The id is case-sensitive, and so is its tag: the one that was heard is in lower case.
    let id = path.split('/').nth(2).expect("an id");
    let same = format!("If-None-Match: \"{id}\"");
    let same = browser.asks("GET", "a.example", &path, &[&same], "").await;
    assert_eq!(same.status, 304);
    for (range, status, body, told) in [
        ("bytes=2-4", 206, "234", "bytes 2-4/10"),
        ("bytes=-3", 206, "789", "bytes 7-9/10"),
        ("bytes=8-", 206, "89", "bytes 8-9/10"),
        ("bytes=10-", 416, "", "bytes */10"),
    ] {
        let header = format!("Range: {range}");
        let part = browser
            .asks("GET", "a.example", &path, &[&header], "")
            .await;
        assert_eq!((part.status, part.body.as_str()), (status, body), "{range}");
        assert_eq!(part.header("content-range"), told);
    }
    let asked = browser.asks("OPTIONS", "a.example", &path, &[], "").await;
    assert_eq!(asked.status, 204);
    assert!(asked.header("access-control-allow-methods").contains("put"));
    let posted = browser.asks("POST", "a.example", &path, &[], "x").await;
    assert_eq!(posted.status, 405);
    for wrong in [
        path.replace("cool", "hot"),
        path.replace(id, "..%2f..%2fnatter.db"),
        format!("/upload/{id}/x/y"),
        "/upload/x/y".to_owned(),
    ] {
        let none = browser.asks("GET", "a.example", &wrong, &[], "").await;
        assert_eq!(none.status, 404, "{wrong}");
    }
    stage
        .house
        .done("module_stop a.example mod_http_upload")
        .await;
    let none = browser.asks("GET", "a.example", &path, &[], "").await;
    assert_eq!(
        none.status, 404,
        "the other host's service does not serve it"
    );
    stage
        .house
        .done("module_start a.example mod_http_upload")
        .await;
    let again = browser.asks("GET", "a.example", &path, &[], "").await;
    assert_eq!(again.status, 200);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_half_put_is_served() {
    let mut stage = Stage::open().await;
    let page = stage.slot("a.html", 4, "text/html").await;
    let mut browser = stage.browser().await;
    let chunked = ["Transfer-Encoding: chunked"];
    let body = "4\r\nabcd\r\n0\r\n\r\n";
    let mut raw = Peer::dial(door(&stage.house)).await;
    raw.says(&format!(
        "PUT {page} HTTP/1.1\r\nHost: a.example\r\n{}\r\n\r\n{body}",
        chunked[0]
    ))
    .await;
    raw.hears("HTTP/1.1 411 ").await;
    let long = browser.asks("PUT", "a.example", &page, &[], "abcde").await;
    assert_eq!(long.status, 413);

    let half = |path: &str| {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut raw = Peer::dial(door(&stage.house)).await;
    raw.says(&half(&page)).await;
    // It is asked for the body: the slot is its own from now on.
    raw.hears("100 Continue\r\n\r\n").await;
    raw.says("ab").await;
    let mut other = stage.browser().await;
    let busy = other.asks("PUT", "a.example", &page, &[], "wxyz").await;
    assert_eq!(busy.status, 409);
    let early = other.asks("GET", "a.example", &page, &[], "").await;
    assert_eq!(early.status, 404);
    // Its module falls and comes back meanwhile.
    stage
        .house
        .done("restart_module a.example mod_http_upload")
        .await;
    drop(raw);
    let mut tries = 0;
    loop {
        let again = stage
            .browser()
            .await
            .asks("PUT", "a.example", &page, &[], "wxyz")
            .await;
        if again.status == 201 {
            break;
        }
        assert_eq!(
            again.status, 409,
            "until the server has seen that the first is gone"
        );
        tries += 1;
        assert!(tries < 2000, "the slot is not free");
    }
    let mut other = stage.browser().await;
    let got = other.asks("GET", "a.example", &page, &[], "").await;
    assert_eq!(got.body, "wxyz");
    assert!(
        got.header("content-disposition")
            .starts_with("attachment; ")
    );
    assert_eq!(files(&stage.uploads()).len(), 1);

    let survives = stage.slot("b.txt", 4, "text/plain").await;
    let mut raw = Peer::dial(door(&stage.house)).await;
    raw.says(&half(&survives)).await;
    raw.hears("100 Continue\r\n\r\n").await;
    raw.says("ab").await;
    stage
        .house
        .done("restart_module a.example mod_http_upload")
        .await;
    raw.says("cd").await;
    raw.hears("HTTP/1.1 201 ").await;
    let got = other.asks("GET", "a.example", &survives, &[], "").await;
    assert_eq!(got.body, "abcd");

    let unlucky = stage.slot("c.txt", 4, "text/plain").await;
    let drafts = stage.uploads().join(".tmp");
    std::fs::remove_dir(&drafts).expect("it is empty");
    std::fs::write(&drafts, "in the way").expect("the folder is ours");
    let failed = stage
        .browser()
        .await
        .asks("PUT", "a.example", &unlucky, &[], "abcd")
        .await;
    assert_eq!(failed.status, 500);
    let none = other.asks("GET", "a.example", &unlucky, &[], "").await;
    assert_eq!(none.status, 404);
    std::fs::remove_file(&drafts).expect("the folder is ours");
    let put = stage
        .browser()
        .await
        .asks("PUT", "a.example", &unlucky, &[], "abcd")
        .await;
    assert_eq!(put.status, 201, "the slot is open still");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_when_its_module_stops_comes_to_its_end() {
    const LENGTH: usize = 8 << 20;
    let mut stage = Stage::open().await;
    let large = stage.slot("large", LENGTH, "text/plain").await;
    let put = stage
        .browser()
        .await
        .asks("PUT", "a.example", &large, &[], &"x".repeat(LENGTH))
        .await;
    assert_eq!(put.status, 201);
    let path = stage.slot("a.txt", 4, "text/plain").await;
    let mut putting = Peer::dial(door(&stage.house)).await;
    putting
        .says(&format!(
            "PUT {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await;
    putting.hears("100 Continue\r\n\r\n").await;
    putting.says("ab").await;
    // More than fits between the two: the rest is not read from the disk yet.
    let mut getting = Peer::dial(door(&stage.house)).await;
    getting
        .says(&format!(
            "GET {large} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
        ))
        .await;
    getting.hears("\r\n\r\n").await;
    for host in ["a.example", "b.example"] {
        stage
            .house
            .done(&format!("module_stop {host} mod_http_upload"))
            .await;
    }
    let routes = stage.house.done("http_routes").await;
    assert!(!routes.contains("/upload/"), "{routes}");
    putting.says("cd").await;
    putting.hears("HTTP/1.1 201 ").await;
    assert_eq!(getting.rest().await.len(), LENGTH);
    let mut browser = stage.browser().await;
    let gone = browser.asks("GET", "a.example", &path, &[], "").await;
    assert_eq!(gone.status, 404, "nobody serves it");
    stage
        .house
        .done("module_start a.example mod_http_upload")
        .await;
    let back = browser.asks("GET", "a.example", &path, &[], "").await;
    assert_eq!((back.status, back.body.as_str()), (200, "abcd"));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_with_their_time_their_account_and_by_command() {
    let mut stage = Stage::open().await;
    let mut paths = Vec::new();
    for name in ["a", "b"] {
        let path = stage.slot(name, 4, "text/plain").await;
        let put = stage
            .browser()
            .await
            .asks("PUT", "a.example", &path, &[], "abcd")
            .await;
        assert_eq!(put.status, 201);
        paths.push(path);
    }
    let lapsing = stage.slot("c", 4, "text/plain").await;
    let listed = stage.house.done("upload_list a.example alice").await;
    assert_eq!(listed.matches("alice@a.example").count(), 3, "{listed}");
    let id = paths[0].split('/').nth(2).expect("an id");
    let elsewhere = stage
        .house
        .refused(&format!("upload_delete b.example {id}"))
        .await;
    assert!(elsewhere.contains("has no file"), "{elsewhere}");
    let deleted = stage
        .house
        .done(&format!("upload_delete a.example {id}"))
        .await;
    assert_eq!(deleted, "1");
    assert_eq!(files(&stage.uploads()).len(), 1);
    let gone = stage
        .browser()
        .await
        .asks("GET", "a.example", &paths[0], &[], "")
        .await;
    assert_eq!(gone.status, 404);

    stage.house.hand.advance(Duration::from_secs(301)).await;
    let late = stage
        .browser()
        .await
        .asks("PUT", "a.example", &lapsing, &[], "abcd")
        .await;
    assert!([410, 404].contains(&late.status), "{}", late.status);
    stage.house.hand.advance(Duration::from_secs(3600)).await;
    let old = stage
        .browser()
        .await
        .asks("GET", "a.example", &paths[1], &[], "")
        .await;
    assert_eq!(old.status, 404);
    // The next look for what is old removes it.
    stage.house.hand.advance(Duration::from_secs(600)).await;
    let mut asked = 0;
    while stage.house.done("upload_list a.example").await != "[]" {
        asked += 1;
        assert!(asked < 2000, "what is old stays");
    }
    assert!(files(&stage.uploads()).is_empty());

    let mut alice = Peer::dial(stage.house.server.addresses()[0].at).await;
    alice.logs_in("alice", "a.example", "secret").await;
    stage.alice = Some(alice);
    let path = stage.slot("d", 4, "text/plain").await;
    let put = stage
        .browser()
        .await
        .asks("PUT", "a.example", &path, &[], "abcd")
        .await;
    assert_eq!(put.status, 201);
    assert_eq!(files(&stage.uploads()).len(), 1);
    stage.house.done("unregister alice a.example").await;
    assert!(files(&stage.uploads()).is_empty());
    let gone = stage
        .browser()
        .await
        .asks("GET", "a.example", &path, &[], "")
        .await;
    assert_eq!(gone.status, 404);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_holds_files_and_strays_are_removed() {
    let mut stage = Stage::open().await;
    let path = stage.slot("a.txt", 4, "text/plain").await;
    let put = stage
        .browser()
        .await
        .asks("PUT", "a.example", &path, &[], "abcd")
        .await;
    assert_eq!(put.status, 201);
    let backup = stage.house.folder.path().join("backup");
    stage
        .house
        .done(&format!("backup {}", backup.display()))
        .await;
    let id = path.split('/').nth(2).expect("an id").to_owned();
    stage
        .house
        .done(&format!("upload_delete a.example {id}"))
        .await;
    let file = files(&backup.join("uploads"));
    assert_eq!(file.len(), 1, "{file:?}");
    stage.alice = None;
    stage
        .house
        .done(&format!("restore {}", backup.display()))
        .await;
    let got = stage
        .browser()
        .await
        .asks("GET", "a.example", &path, &[], "")
        .await;
    assert_eq!((got.status, got.body.as_str()), (200, "abcd"));

    // A file that no row knows, as a server leaves it that ends between the two.
    let kept = files(&stage.uploads()).remove(0);
    std::fs::write(kept.with_file_name("stray"), "x").expect("the folder is ours");
    std::fs::create_dir_all(stage.uploads().join(".tmp")).expect("the folder is ours");
    std::fs::write(stage.uploads().join(".tmp").join("draft"), "x").expect("the folder is ours");
    stage
        .house
        .done("restart_module a.example mod_http_upload")
        .await;
    let mut looked = 0;
    while files(&stage.uploads()) != [kept.clone()] {
        // The store is asked meanwhile: it has the search behind it when it has this one.
        stage.house.done("upload_list a.example").await;
        looked += 1;
        assert!(looked < 2000, "{:?}", files(&stage.uploads()));
    }
    stage.stop().await;
}

/// A disk with room for so many bytes; a file that does not fit is left half written.
struct Small(std::sync::Mutex<usize>);

impl web::Disk for Small {
    fn write(&self, mut file: &std::fs::File, bytes: &[u8]) -> std::io::Result<()> {
        use std::io::Write as _;
        let mut left = self.0.lock().expect("nobody falls with it");
        let fits = bytes.len().min(*left);
        *left -= fits;
        file.write_all(&bytes[..fits])?;
        match fits == bytes.len() {
            true => Ok(()),
            false => Err(std::io::ErrorKind::StorageFull.into()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_takes_nothing_with_it() {
    let mut stage = Stage::open().await;
    let host = stage.house.server.node().hosts.get("a.example");
    let host = host.expect("it is served");
    let web = host.service::<web::Web>();
    let before = stage.slot("before", 4, "text/plain").await;
    let mut browser = stage.browser().await;
    let put = browser.asks("PUT", "a.example", &before, &[], "safe").await;
    assert_eq!(put.status, 201);
    web.set_disk(std::sync::Arc::new(Small(std::sync::Mutex::new(600_000))));
    // The first fits; the second is broken off in the middle.
    let size = 500_000;
    let (one, two) = (
        stage.slot("one", size, "text/plain").await,
        stage.slot("two", size, "text/plain").await,
    );
    let body = "x".repeat(size);
    let put = browser.asks("PUT", "a.example", &one, &[], &body).await;
    assert_eq!(put.status, 201);
    let mut other = stage.browser().await;
    let full = other.asks("PUT", "a.example", &two, &[], &body).await;
    assert_eq!((full.status, full.body.as_str()), (507, ""));
    assert_eq!(full.header("access-control-allow-origin"), "*");
    assert_eq!(files(&stage.uploads()).len(), 2, "nothing of it is left");
    // All else goes on: what was there, logins, slots, other requests.
    let mut browser = stage.browser().await;
    for (path, length) in [(&before, "4"), (&one, "500000")] {
        let head = browser.asks("HEAD", "a.example", path, &[], "").await;
        assert_eq!((head.status, head.header("content-length")), (200, length));
    }
    let none = browser.asks("GET", "a.example", &two, &[], "").await;
    assert_eq!(none.status, 404);
    let ready = browser.asks("GET", "a.example", "/health", &[], "").await;
    assert_eq!(ready.status, 200);
    stage.house.done("register bob a.example secret").await;
    let mut bob = Peer::dial(stage.house.server.addresses()[0].at).await;
    bob.logs_in("bob", "a.example", "secret").await;
    // The slot is still its owner's: with room again it takes the file.
    web.set_disk(std::sync::Arc::new(Small(std::sync::Mutex::new(size))));
    let put = browser.asks("PUT", "a.example", &two, &[], &body).await;
    assert_eq!(put.status, 201);
    assert_eq!(files(&stage.uploads()).len(), 3);
    drop((bob, browser, other));
    stage.stop().await;
}
