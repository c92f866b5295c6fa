//! Static files, and all the ways out of their directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::{Duration, UNIX_EPOCH};

use crate::stage::{Stage, any, body, status};
use httpd::http::HeaderValue;
use httpd::http::header::CACHE_CONTROL;
use httpd::{Path, Static};

/// A directory with files, a secret beside it, and links.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("www");
    fs::create_dir_all(root.join("sub/deep")).expect("made");
    let files: &[(&str, &[u8])] = &[
        ("www/a.txt", b"0123456789"),
        ("www/page.HTML", b"<p>"),
        ("www/noending", b"x"),
        ("www/sub/index.html", b"index"),
        ("www/app.js", b"plain"),
        ("www/app.js.gz", b"zipped"),
        ("www/app.js.br", b"brotli"),
        ("www/%2e%2e", b"a strange name"),
        ("www/empty.css", b""),
        ("www/d\u{e9}j\u{e0} vu.txt", b"again"),
        ("secret.txt", b"secret"),
    ];
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("written");
    }
    fs::write(root.join("big.bin"), vec![b'b'; 300_000]).expect("written");
    symlink(folder.path().join("secret.txt"), root.join("out.txt")).expect("linked");
    symlink(folder.path(), root.join("up")).expect("linked");
    symlink(root.join("a.txt"), root.join("within.txt")).expect("linked");
    folder
}

async fn stage(folder: &tempfile::TempDir) -> Stage {
    let root = folder.path().join("www");
    let public = HeaderValue::from_static("public");
    Stage::new(any(vec![
        Path::to("/f/[...]", Static::dir(&root).header(CACHE_CONTROL, public)),
        Path::to(
            "/i/[...]",
            Static::dir(&root).index("index.html").precompressed(),
        ),
        Path::to("/one", Static::file(root.join("a.txt"))),
        Path::to("/gone", Static::file(root.join("nothing"))),
        Path::to("/wrong", Static::dir(&root)),
        Path::to("/packed", Static::file(root.join("app.js")).precompressed()),
        Path::to("/none/[...]", Static::dir(root.join("none"))),
        Path::to(
            "/e/[...]",
            Static::embedded(&[
                ("app.js", b"embedded"),
                ("index.html", b"start"),
                ("app.js.gz", b"zip"),
            ])
            .index("index.html")
            .precompressed(),
        ),
    ]))
    .await
}

#[tokio::test]
async fn files_are_served_with_their_type_and_date() {
    let long = format!("/f/{}", "x".repeat(300));
    let folder = folder();
    let stage = stage(&folder).await;
    let mut client = stage.connect().await;
    for (path, code, wanted) in [
        (
            "/f/a.txt",
            200,
            &[
                "content-type: text/plain; charset=utf-8\r\n",
                "cache-control: public\r\n",
                "last-modified: ",
                "etag: \"a-",
                "accept-ranges: bytes\r\n",
                "x-content-type-options: nosniff\r\n",
                "\r\n\r\n0123456789",
            ][..],
        ),
        ("/one", 200, &["0123456789"]),
        (
            "/f/page.HTML",
            200,
            &["content-type: text/html; charset=utf-8\r\n"],
        ),
        (
            "/f/noending",
            200,
            &["content-type: application/octet-stream\r\n"],
        ),
        ("/f//a.txt", 200, &["0123456789"]),
        ("/f/within.txt", 200, &["0123456789"]),
        ("/f/sub/../a.txt", 200, &["0123456789"]),
        ("/f/sub", 403, &[]),
        ("/f", 403, &[]),
        ("/f/nothing", 404, &[]),
        ("/f/a.txt/x", 404, &[]),
        ("/gone", 404, &[]),
        ("/wrong", 500, &[]),
        (
            "/i/sub",
            200,
            &["content-type: text/html; charset=utf-8\r\n", "index"],
        ),
        ("/i/sub/deep", 404, &[]),
        (
            "/f/empty.css",
            200,
            &[
                "content-type: text/css; charset=utf-8\r\n",
                "content-length: 0\r\n",
            ],
        ),
        ("/f/d%C3%A9j%C3%A0%20vu.txt", 200, &["again"]),
        ("/f/%ff", 404, &[]),
        (long.as_str(), 404, &[]),
        ("/none", 404, &[]),
        ("/none/a.txt", 404, &[]),
        ("/f///sub//index.html/", 200, &["index"]),
        ("/f/A.txt", 404, &[]),
        // What is asked for by its own name is what it is.
        (
            "/i/app.js.gz",
            200,
            &["content-type: application/gzip\r\n", "zipped"],
        ),
    ] {
        let reply = client.get(path).await;
        assert_eq!(status(&reply), code, "{path}\n{reply}");
        for wanted in wanted {
            assert!(reply.contains(wanted), "{path}: {wanted}\n{reply}");
        }
    }
    let big = client.get("/f/big.bin").await;
    assert_eq!(body(&big).len(), 300_000);
    client
        .say("POST /f/a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(status(&client.reply().await), 405);
    client
        .say("HEAD /f/a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let head = client.through("\r\n\r\n").await;
    assert!(head.contains("content-length: 10\r\n"), "{head}");
    assert_eq!(
        status(&client.get("/one").await),
        200,
        "nothing came behind the head"
    );
}

#[tokio::test]
async fn nothing_outside_is_served() {
    let folder = folder();
    let stage = stage(&folder).await;
    let mut client = stage.connect().await;
    for (path, code) in [
        ("/f/../secret.txt", 404),
        ("/f/../../../../etc/passwd", 404),
        ("/f/%2e%2e/secret.txt", 404),
        ("/f/sub/../../../secret.txt", 404),
        ("/f/..%2fsecret.txt", 400),
        ("/f/%2e%2e%2fsecret.txt", 400),
        ("/f/..%5csecret.txt", 400),
        ("/f/%2fetc%2fpasswd", 400),
        ("/f/a.txt%00.html", 400),
        ("/f/%00", 400),
        ("/f/..\\secret.txt", 400),
        ("/f/%c0%ae%c0%ae/secret.txt", 404),
        ("/f/out.txt", 404),
        ("/f/up/secret.txt", 404),
        ("/f/up/www/a.txt", 200),
        // Decoded once: this is a name.
        ("/f/%252e%252e", 200),
        ("/f/%252e%252e/secret.txt", 404),
        ("/e/../secret.txt", 404),
        ("/e/..%2fsecret.txt", 400),
    ] {
        let reply = client.get(path).await;
        assert_eq!(status(&reply), code, "{path}\n{reply}");
        assert!(
            !reply.contains("secret") && !reply.contains("root:"),
            "{path}\n{reply}"
        );
    }
}

#[tokio::test]
async fn conditions_ranges_and_variants() {
    let folder = folder();
    let stage = stage(&folder).await;
    let mut client = stage.connect().await;
    let reply = client.get("/f/a.txt").await;
    let line = |name: &str| {
        let found = reply.lines().find_map(|line| line.strip_prefix(name));
        found.expect("the header").to_owned()
    };
    let (etag, date) = (line("etag: "), line("last-modified: "));
    for (path, headers, code, wanted) in [
        ("/f/a.txt", format!("If-None-Match: {etag}\r\n"), 304, ""),
        (
            "/f/a.txt",
            format!("Range: bytes=2-3\r\nIf-Range: {etag}\r\n"),
            206,
            "\r\n\r\n23",
        ),
        (
            "/f/a.txt",
            format!("Range: bytes=2-3\r\nIf-Range: {date}\r\n"),
            206,
            "\r\n\r\n23",
        ),
        (
            "/f/a.txt",
            "Range: bytes=2-3\r\nIf-Range: \"x\"\r\n".to_owned(),
            200,
            "0123456789",
        ),
        (
            "/f/a.txt",
            "Range: bytes=20-\r\n".to_owned(),
            416,
            "content-range: bytes */10\r\n",
        ),
        (
            "/f/big.bin",
            "Range: bytes=100000-299999\r\n".to_owned(),
            206,
            "content-length: 200000\r\n",
        ),
        (
            "/f/app.js",
            "Accept-Encoding: gzip, br\r\n".to_owned(),
            200,
            "plain",
        ),
        (
            "/i/app.js",
            "Accept-Encoding: gzip, br\r\n".to_owned(),
            200,
            "content-encoding: br\r\n",
        ),
        (
            "/i/app.js",
            "Accept-Encoding: gzip\r\n".to_owned(),
            200,
            "zipped",
        ),
        (
            "/i/app.js",
            "Accept-Encoding: br;q=0, gzip\r\n".to_owned(),
            200,
            "vary: accept-encoding\r\n",
        ),
        ("/i/app.js", String::new(), 200, "plain"),
        (
            "/e/app.js",
            "Accept-Encoding: gzip\r\n".to_owned(),
            200,
            "zip",
        ),
        ("/e/app.js", String::new(), 200, "embedded"),
        ("/e", String::new(), 200, "start"),
        ("/e/nothing", String::new(), 404, ""),
    ] {
        client
            .say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
            .await;
        let reply = client.reply().await;
        assert_eq!(status(&reply), code, "{path} {headers}\n{reply}");
        assert!(
            reply.contains(wanted),
            "{path} {headers}: {wanted}\n{reply}"
        );
        if reply.contains("content-encoding") {
            assert!(
                reply.contains("content-type: text/javascript"),
                "the type is that of what is inside: {reply}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_opened() {
    let folder = folder();
    let root = folder.path().join("www");
    let _socket = UnixListener::bind(root.join("socket")).expect("bound");
    symlink("/dev/zero", root.join("zero")).expect("linked");
    symlink(root.join("loop"), root.join("loop")).expect("linked");
    symlink(root.join("nothing"), root.join("dangling")).expect("linked");
    let stage = stage(&folder).await;
    let mut client = stage.connect().await;
    for path in [
        "/f/socket",
        "/f/zero",
        "/f/loop",
        "/f/dangling",
        "/f/socket/x",
    ] {
        assert_eq!(status(&client.get(path).await), 404, "{path}");
    }
    let zero = Stage::new(any(vec![Path::to("/", Static::file("/dev/zero"))])).await;
    assert_eq!(status(&zero.get("/").await), 404);
}

#[tokio::test]
async fn methods_types_and_what_is_said_without_a_body() {
    let folder = folder();
    let stage = stage(&folder).await;
    let mut client = stage.connect().await;
    const BOTH: &str = "Accept-Encoding: gzip, br\r\n";
    for (said, headers, code, wanted) in [
        (
            "OPTIONS /f/a.txt",
            "",
            200,
            &["allow: GET, HEAD, OPTIONS\r\n", "!\r\ncontent-type"][..],
        ),
        ("OPTIONS /i/app.js", BOTH, 200, &["!content-encoding"]),
        (
            "POST /i/app.js",
            BOTH,
            405,
            &["allow: GET, HEAD, OPTIONS\r\n", "!content-encoding"],
        ),
        ("DELETE /f/a.txt", "", 405, &[]),
        ("PUT /f/new.txt", "", 404, &[]),
        ("GET /f/a.txt", "Accept: image/*\r\n", 406, &["!0123"]),
        ("GET /f/a.txt", "Accept: text/*\r\n", 200, &["0123456789"]),
        (
            "GET /i/app.js",
            "Accept-Encoding: br\r\nIf-None-Match: *\r\n",
            304,
            &["vary: accept-encoding\r\n", "!content-encoding", "etag: "],
        ),
        (
            "GET /i/app.js",
            "Accept-Encoding: br\r\nRange: bytes=9-\r\n",
            416,
            &["content-range: bytes */6\r\n", "!content-encoding"],
        ),
        // Ranges are of the bytes that are sent.
        (
            "GET /i/app.js",
            "Accept-Encoding: br\r\nRange: bytes=0-1\r\n",
            206,
            &[
                "content-range: bytes 0-1/6\r\n",
                "content-encoding: br\r\n",
                "\r\n\r\nbr",
            ],
        ),
        (
            "GET /i/app.js",
            "Accept-Encoding: br;q=0.5, gzip;q=0.6\r\n",
            200,
            &["content-encoding: gzip\r\n", "zipped"],
        ),
        (
            "GET /packed",
            BOTH,
            200,
            &["content-encoding: br\r\n", "brotli"],
        ),
        (
            "GET /i/app.js",
            "Accept-Encoding: gzip\r\nAccept-Encoding: br\r\n",
            200,
            &["content-encoding: br\r\n"],
        ),
        (
            "GET /i/app.js",
            "Accept-Encoding: gzip;q=0.5, identity\r\n",
            200,
            &["plain", "!content-encoding"],
        ),
        (
            "GET /i/app.js",
            "Accept-Encoding: *\r\n",
            200,
            &["plain", "vary: accept-encoding\r\n"],
        ),
        (
            "GET /i/a.txt",
            BOTH,
            200,
            &[
                "0123456789",
                "!content-encoding",
                "vary: accept-encoding\r\n",
            ],
        ),
        (
            "GET /e/app.js",
            "If-None-Match: *\r\n",
            304,
            &["etag: ", "!last-modified"],
        ),
        (
            "GET /e/app.js",
            "Range: bytes=-3\r\n",
            206,
            &["\r\n\r\nded", "accept-ranges: bytes\r\n"],
        ),
        (
            "GET /f/a.txt",
            "Range: bytes=0-0, -2\r\n",
            206,
            &[
                "content-range: bytes 0-0/10\r\n\r\n0\r\n--",
                "content-range: bytes 8-9/10\r\n\r\n89\r\n--",
            ],
        ),
        (
            "GET /f/big.bin",
            "Range: bytes=0-,0-\r\n",
            200,
            &["content-length: 300000\r\n"],
        ),
        (
            "GET /f/a.txt",
            "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n",
            200,
            &[],
        ),
        (
            "GET /f/a.txt",
            "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n",
            412,
            &[],
        ),
        ("GET /f/a.txt", "If-Match: \"x\"\r\n", 412, &[]),
    ] {
        client
            .say(format!("{said} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
            .await;
        let reply = client.reply().await;
        assert_eq!(status(&reply), code, "{said} {headers}\n{reply}");
        for word in wanted {
            let is_good = match word.strip_prefix('!') {
                Some(unwanted) => !reply.contains(unwanted),
                None => reply.contains(word),
            };
            assert!(is_good, "{said} {headers}: {word}\n{reply}");
        }
    }
}

#[tokio::test]
async fn a_file_is_known_by_its_size_its_date_and_its_coding() {
    let folder = folder();
    let root = folder.path().join("www");
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let dated = |name: &str, bytes: &[u8], seconds: u64| {
        fs::write(root.join(name), bytes).expect("written");
        let file = fs::File::options().write(true).open(root.join(name));
        let file = file.expect("there");
        file.set_modified(at(seconds)).expect("dated");
    };
    let stage = stage(&folder).await;
    let mut client = stage.connect().await;
    let mut about = async |path: &str, headers: &str| {
        client
            .say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
            .await;
        let reply = client.reply().await;
        let line = |name: &str| {
            let found = reply.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_default().to_owned()
        };
        (line("etag: "), line("last-modified: "))
    };
    dated("b.js", b"same", 1_000_000_000);
    dated("b.js.gz", b"same", 1_000_000_000);
    let first = about("/i/b.js", "").await;
    assert_eq!(first.1, "Sun, 09 Sep 2001 01:46:40 GMT");
    assert_eq!(about("/i/b.js", "").await, first);
    let zipped = about("/i/b.js", "Accept-Encoding: gzip\r\n").await;
    assert_ne!(zipped.0, first.0, "another coding is another body");
    dated("b.js", b"longer", 1_000_000_000);
    assert_ne!(about("/i/b.js", "").await.0, first.0);
    dated("b.js", b"same", 1_000_000_001);
    assert_ne!(about("/i/b.js", "").await.0, first.0);
    // A date that is yet to come is told as now, which is 2030 on the stage.
    dated("b.js", b"same", 2_000_000_000);
    let (_, date) = about("/i/b.js", "").await;
    assert_eq!(date, "Tue, 01 Jan 2030 00:00:00 GMT");
}
