//! What is missing, and what each method does with what is there.

use super::*;

fn gone(set: &mut Set) {
    set.exists = false;
    set.existed = true;
}

fn none(set: &mut Set) {
    set.exists = false;
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
                set.known
                    .push(Method::from_bytes(b"BREW").expect("a method"));
                set.allowed = set.known.clone();
            },
            "BREW",
            200,
            &["content-length: 0\r\n"],
        ),
    ])
    .await;
}
