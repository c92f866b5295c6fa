//! What is missing, and what each method does with what is there.

use super::*;

fn gone(set: &mut Set) {
    set.exists = false;
    set.existed = true;
}

fn none(set: &mut Set) {
    set.exists = false;
}

fn brew() -> Method {
    Method::from_bytes(b"BREW").expect("a method")
}

#[tokio::test]
async fn what_is_missing() {
    play(&[
        (none, "GET", 404, &["!content-type"]),
        (none, "DELETE", 404, &[]),
        (none, "GET\nif-match: *", 412, &[]),
        (gone, "GET", 410, &[]),
        (
            |set| {
                gone(set);
                set.moved = Some("/there");
            },
            "GET",
            301,
            &["location: /there\r\n"],
        ),
        (
            |set| {
                gone(set);
                set.moved_for_now = Some("/there");
            },
            "GET",
            307,
            &["location: /there\r\n"],
        ),
        (none, "POST\ncontent-type: text/plain", 204, &[]),
        (
            |set| {
                none(set);
                set.missing_post = false;
            },
            "POST\ncontent-type: text/plain",
            404,
            &[],
        ),
        (gone, "POST\ncontent-type: text/plain", 204, &[]),
        (
            |set| {
                gone(set);
                set.missing_post = false;
            },
            "POST\ncontent-type: text/plain",
            410,
            &[],
        ),
        (
            |set| {
                none(set);
                set.moved = Some("/there");
            },
            "PUT\ncontent-type: text/plain",
            301,
            &["location: /there\r\n"],
        ),
        (
            |set| {
                none(set);
                set.conflict = true;
            },
            "PUT\ncontent-type: text/plain",
            409,
            &[],
        ),
        (none, "PUT\ncontent-type: text/plain", 201, &[]),
        (
            |set| {
                none(set);
                set.located = Some("/new");
            },
            "POST\ncontent-type: text/plain",
            201,
            &["location: /new\r\n"],
        ),
        (none, "HEAD", 404, &["!content-type"]),
        (none, "PATCH\ncontent-type: text/plain", 404, &[]),
        (none, "GET\nif-none-match: *", 404, &[]),
        (none, "PUT\nif-match: malformed", 412, &[]),
        (
            none,
            "PUT\ncontent-type: text/plain\nif-none-match: *",
            201,
            &[],
        ),
        (
            |set| {
                gone(set);
                set.moved = Some("/there");
                set.moved_for_now = Some("/elsewhere");
            },
            "POST\ncontent-type: text/plain",
            301,
            &["location: /there\r\n", "!content-type"],
        ),
        (
            |set| {
                gone(set);
                set.moved_for_now = Some("/elsewhere");
            },
            "DELETE",
            307,
            &["location: /elsewhere\r\n"],
        ),
        // What has not been there has not gone anywhere.
        (
            |set| {
                none(set);
                set.moved = Some("/there");
            },
            "GET",
            404,
            &["!location"],
        ),
        (
            |set| {
                none(set);
                set.moved_for_now = Some("/there");
            },
            "PUT\ncontent-type: text/plain",
            201,
            &["!location"],
        ),
        (
            |set| {
                none(set);
                set.located = Some("/new");
            },
            "PUT\ncontent-type: text/plain",
            201,
            &["location: /new\r\n"],
        ),
        (
            |set| {
                none(set);
                set.says = "made";
            },
            "PUT\ncontent-type: text/plain",
            201,
            &["content-type: text/html\r\n", "made"],
        ),
        (
            |set| {
                none(set);
                set.says = "made";
            },
            "POST\ncontent-type: text/plain",
            200,
            &["made"],
        ),
        (
            |set| {
                none(set);
                set.accepted = Accepted::SeeOther("/other".to_owned());
            },
            "POST\ncontent-type: text/plain",
            303,
            &["location: /other\r\n"],
        ),
        (
            |set| {
                none(set);
                set.accepted = Accepted::No;
            },
            "PUT\ncontent-type: text/plain",
            400,
            &[],
        ),
        (
            |set| {
                none(set);
                set.known = vec![brew()];
                set.allowed = vec![brew()];
            },
            "BREW",
            404,
            &[],
        ),
    ])
    .await;
}

#[tokio::test]
async fn methods() {
    play(&[
        (|set| set.choices = true, "GET", 300, &[]),
        (
            |set| set.content = None,
            "GET",
            200,
            &["!content-type", "content-length: 0\r\n"],
        ),
        (same, "DELETE", 500, &[]),
        (|set| set.deletes = true, "DELETE", 204, &[]),
        (
            |set| {
                set.deletes = true;
                set.completes = false;
            },
            "DELETE",
            202,
            &[],
        ),
        (
            |set| {
                set.deletes = true;
                set.says = "gone";
            },
            "DELETE",
            200,
            &["gone"],
        ),
        (same, "POST", 415, &[]),
        (same, "POST\ncontent-type: image/png", 415, &[]),
        (same, "POST\ncontent-type: text", 415, &[]),
        (
            same,
            "POST\ncontent-type: text/plain; charset=utf-8",
            415,
            &[],
        ),
        (
            |set| set.takes = vec![],
            "POST\ncontent-type: text/plain",
            415,
            &[],
        ),
        (
            |set| set.takes = vec![Some("a/b"), None],
            "POST",
            204,
            &["x-taken: 1\r\n"],
        ),
        (
            |set| set.takes = vec![Some("multipart/form-data")],
            "POST\ncontent-type: multipart/form-data; boundary=x",
            204,
            &[],
        ),
        (
            |set| set.takes = vec![Some("text/plain; a=1; b=2")],
            "POST\ncontent-type: text/plain;b=2;a=1",
            415,
            &[],
        ),
        (
            |set| set.takes = vec![Some("text/plain; a=1; b=2")],
            "POST\ncontent-type: Text/plain;A=1;b=2",
            204,
            &[],
        ),
        (
            same,
            "POST\ncontent-type: text/plain",
            204,
            &["x-taken: 0\r\n"],
        ),
        (
            |set| set.says = "taken",
            "POST\ncontent-type: text/plain",
            200,
            &["taken"],
        ),
        (
            |set| {
                set.says = "taken";
                set.choices = true;
            },
            "PATCH\ncontent-type: text/plain",
            300,
            &[],
        ),
        (
            |set| set.accepted = Accepted::No,
            "POST\ncontent-type: text/plain",
            400,
            &[],
        ),
        (
            |set| set.accepted = Accepted::Created("/new".to_owned()),
            "POST\ncontent-type: text/plain",
            201,
            &["location: /new\r\n"],
        ),
        (
            |set| set.accepted = Accepted::SeeOther("/other".to_owned()),
            "POST\ncontent-type: text/plain",
            303,
            &["location: /other\r\n"],
        ),
        (
            |set| set.accepted = Accepted::Created("/new".to_owned()),
            "PUT\ncontent-type: text/plain",
            500,
            &[],
        ),
        (
            |set| set.conflict = true,
            "PUT\ncontent-type: text/plain",
            409,
            &[],
        ),
        (same, "PUT\ncontent-type: text/plain", 204, &[]),
        (
            |set| {
                set.known = vec![brew()];
                set.allowed = vec![brew()];
            },
            "BREW",
            200,
            &["content-length: 0\r\n", "!content-type"],
        ),
        (
            |set| {
                set.known = vec![brew()];
                set.allowed = vec![brew()];
                set.choices = true;
            },
            "BREW",
            300,
            &[],
        ),
        // A method that is known is not served for that.
        (|set| set.known = vec![brew()], "BREW", 405, &[]),
        (|set| set.allowed = vec![], "GET", 405, &["allow: \r\n"]),
        (|set| set.choices = true, "HEAD", 300, &[]),
        (
            |set| {
                set.content = None;
                set.languages = Some(vec!["de"]);
            },
            "GET",
            200,
            &["!content-type", "!content-language"],
        ),
        (
            |set| {
                set.deletes = true;
                set.completes = false;
                set.says = "later";
            },
            "DELETE",
            202,
            &["content-type: text/html\r\n", "later"],
        ),
        (|set| set.deletes = true, "DELETE", 204, &["!content-type"]),
        // What is said with a failure has its type.
        (|set| set.says = "why", "DELETE", 500, &["text/html", "why"]),
        (
            |set| {
                set.accepted = Accepted::No;
                set.says = "why";
            },
            "POST\ncontent-type: text/plain",
            400,
            &["content-type: text/html\r\n", "why"],
        ),
        (
            |set| {
                set.accepted = Accepted::SeeOther("/other".to_owned());
                set.says = "there";
            },
            "POST\ncontent-type: text/plain",
            303,
            &["there"],
        ),
        (
            |set| {
                set.accepted = Accepted::Created("/new".to_owned());
                set.says = "made";
            },
            "POST\ncontent-type: text/plain",
            201,
            &["location: /new\r\n", "made"],
        ),
        (
            |set| set.accepted = Accepted::SeeOther("/x".to_owned()),
            "PATCH\ncontent-type: text/plain",
            500,
            &[],
        ),
        (
            |set| set.accepted = Accepted::Created("/a\r\nb: c".to_owned()),
            "POST\ncontent-type: text/plain",
            500,
            &["!b: c"],
        ),
        // What was there is there no more anew.
        (
            |set| set.located = Some("/new"),
            "PUT\ncontent-type: text/plain",
            204,
            &["location: /new\r\n"],
        ),
        (
            |set| set.located = Some("/new"),
            "POST\ncontent-type: text/plain",
            204,
            &[],
        ),
        (same, "PATCH\ncontent-type: text/plain", 204, &[]),
        (same, "PATCH\ncontent-type: image/png", 415, &[]),
        (same, "PUT", 415, &[]),
        (
            |set| set.open_takes = true,
            "POST\ncontent-type: text/plain; charset=utf-8; x=y",
            204,
            &[],
        ),
        (
            |set| set.takes = vec![Some("text/*")],
            "POST\ncontent-type: text/csv",
            204,
            &[],
        ),
        (
            |set| set.takes = vec![Some("*/*")],
            "POST\ncontent-type: a/b",
            204,
            &[],
        ),
        // Names of charsets have no case, other values do.
        (
            |set| set.takes = vec![Some("text/plain; charset=utf-8")],
            "POST\ncontent-type: text/plain; charset=\"UTF-8\"",
            204,
            &[],
        ),
        (
            |set| set.takes = vec![Some("text/plain; a=b")],
            "POST\ncontent-type: text/plain; a=B",
            415,
            &[],
        ),
        (
            |set| set.takes = vec![Some("text/plain; a=b")],
            "POST\ncontent-type: text/plain",
            415,
            &[],
        ),
        (
            |set| set.takes = vec![Some("text/plain")],
            "POST\ncontent-type: text/plain; boundary=x",
            415,
            &[],
        ),
        (
            |set| set.takes = vec![None],
            "POST\ncontent-type: text",
            415,
            &[],
        ),
        (
            |set| set.takes = vec![Some("text/plain"), None, Some("text/html")],
            "POST\ncontent-type: text/html",
            204,
            &["x-taken: 1\r\n"],
        ),
    ])
    .await;
}
