//! The preface, windows, and who asks for too much (RFC 9113 §3.4, §5.1.2, §6.9, §10.5).

use super::*;

#[tokio::test]
async fn the_preface_comes_first() {
    let server = Server::new(paths(), Limits::default()).await;
    // §3.4: the server's first frame is its settings.
    let mut peer = server.silent().await;
    peer.say(PREFACE).await;
    peer.say(&frame(SETTINGS, 0, 0, b"")).await;
    let first = peer.hear().await.expect("settings");
    assert_eq!((first.kind, first.flags & ACK), (SETTINGS, 0));
    let most = first.payload.chunks(6).find(|it| it[..2] == [0, 3]);
    assert_eq!(most.expect("so many streams")[2..], 100_u32.to_be_bytes());
    // What is no preface is told so, or not even that.
    let mut peer = server.silent().await;
    peer.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut last = NO_ERROR;
    while let Some(came) = peer.hear().await {
        assert_ne!(came.kind, HEADERS);
        if came.kind == GOAWAY {
            last = came.code();
        }
    }
    assert!([NO_ERROR, PROTOCOL_ERROR].contains(&last), "{last}");
    // §3.4: settings follow it. The library serves those who forget them as if they had none.
    let mut peer = server.silent().await;
    peer.say(&[PREFACE, &get(1, "/")].concat()).await;
    let found = find(&mut peer).await;
    assert!([ENDED, OK].contains(&found), "{found:?}");
}

#[tokio::test]
async fn windows_are_kept_to() {
    let server = Server::new(paths(), Limits::default()).await;
    // §6.9.2: with a window of one byte the reply comes byte by byte, as the window grows.
    let mut peer = server.open().await;
    peer.say(&frame(SETTINGS, 0, 0, &setting(4, 1))).await;
    peer.say(&get(1, "/")).await;
    let mut body: Vec<u8> = Vec::new();
    loop {
        let came = peer.hear().await.expect("more");
        if came.kind != DATA {
            continue;
        }
        assert!(came.payload.len() <= 1, "{came:?}");
        body.extend(&came.payload);
        if came.flags & END_STREAM != 0 {
            break;
        }
        peer.say(&frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()))
            .await;
    }
    assert_eq!(body, b"hello");
    // A window that is made smaller than what is under way is below nothing, and nothing comes until it is above again.
    let mut peer = server.open().await;
    peer.say(&frame(SETTINGS, 0, 0, &setting(4, 3))).await;
    peer.say(&get(1, "/")).await;
    let mut body: Vec<u8> = Vec::new();
    while body.len() < 3 {
        let came = peer.hear().await.expect("more");
        if came.kind == DATA {
            body.extend(came.payload);
        }
    }
    peer.say(&frame(SETTINGS, 0, 0, &setting(4, 1))).await;
    peer.say(&frame(WINDOW_UPDATE, 0, 1, &2_u32.to_be_bytes()))
        .await;
    assert_eq!(find(&mut peer).await, Nothing);
    peer.say(&frame(WINDOW_UPDATE, 0, 1, &2_u32.to_be_bytes()))
        .await;
    while body.len() < 5 {
        let came = peer.hear().await.expect("more");
        if came.kind == DATA {
            body.extend(came.payload);
        }
    }
    assert_eq!(body, b"hello");
    // §6.9.1: who sends more than our window holds is told.
    let mut peer = server.open().await;
    peer.say(&post(1, "/waits")).await;
    let mut ended = None;
    // 256 MiB at the most; it ends far before.
    for _ in 0..16384 {
        peer.say(&frame(DATA, 0, 1, &[0; 16384])).await;
        peer.say(&ping(1)).await;
        let came = loop {
            match peer.hear().await {
                Some(came) if came.kind == PING => break None,
                Some(came) if matches!(came.kind, RST_STREAM | GOAWAY) => break Some(came),
                Some(_) => {}
                None => panic!("closed without a word"),
            }
        };
        if came.is_some() {
            ended = came;
            break;
        }
    }
    assert_eq!(ended.expect("it ends").code(), FLOW_CONTROL_ERROR);
}

#[tokio::test]
async fn who_asks_for_too_much_is_calmed() {
    let limits = Limits {
        streams: 3,
        ..Limits::default()
    };
    let server = Server::new(paths(), limits).await;
    // §5.1.2: more streams than were offered.
    let mut peer = server.open().await;
    for stream in [1, 3, 5, 7] {
        peer.say(&get(stream, "/waits")).await;
    }
    let found = find(&mut peer).await;
    assert!(
        [Reset(REFUSED_STREAM), Gone(PROTOCOL_ERROR)].contains(&found),
        "{found:?}"
    );
    // Streams that are opened and reset at once (CVE-2023-44487). Each is served before the next is read, or they are
    // counted; in the end the peer is sent away.
    let server = Server::new(paths(), Limits::default()).await;
    let mut peer = server.open().await;
    let mut batch = Vec::new();
    for number in 0..500 {
        let stream = 1 + 2 * number;
        batch.extend(get(stream, "/waits"));
        batch.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    peer.say(&batch).await;
    assert_eq!(find(&mut peer).await, Gone(ENHANCE_YOUR_CALM));
    // Streams that we reset because of the peer's errors (CVE-2025-8671).
    let mut peer = server.open().await;
    let mut batch = Vec::new();
    for number in 0..3000 {
        let stream = 1 + 2 * number;
        batch.extend(get(stream, "/waits"));
        let most = 0x7fff_ffff_u32.to_be_bytes();
        batch.extend(frame(WINDOW_UPDATE, 0, stream, &most).repeat(2));
    }
    peer.say(&batch).await;
    let gone = loop {
        match peer.hear().await {
            Some(came) if came.kind == GOAWAY => break Some(came.code()),
            Some(_) => {}
            None => break None,
        }
    };
    assert_eq!(gone, Some(ENHANCE_YOUR_CALM));
    // A header block without end (CVE-2024-27316), of fields and of nothing.
    for part in [field("x", &"y".repeat(100)).repeat(100), Vec::new()] {
        let mut peer = server.open().await;
        peer.say(&frame(HEADERS, END_STREAM, 1, &block("GET", "/waits")))
            .await;
        let mut batch = Vec::new();
        for _ in 0..1000 {
            batch.extend(frame(CONTINUATION, 0, 1, &part));
        }
        peer.say(&batch).await;
        let found = find(&mut peer).await;
        assert_eq!(found, Gone(ENHANCE_YOUR_CALM), "{} bytes", part.len());
    }
    // A head that is larger than was said to be taken.
    let mut peer = server.open().await;
    let fields = field("x", &"y".repeat(120)).repeat(120);
    peer.say(&frame(HEADERS, END_STREAM, 1, &block("GET", "/")))
        .await;
    for _ in 0..4 {
        peer.say(&frame(CONTINUATION, 0, 1, &fields)).await;
    }
    peer.say(&frame(CONTINUATION, END_HEADERS, 1, &fields))
        .await;
    let found = find(&mut peer).await;
    assert!(
        // 431, not indexed.
        [Reply(0x48), Reply(0x08), Gone(ENHANCE_YOUR_CALM)].contains(&found)
            || matches!(found, Reset(_)),
        "{found:?}"
    );
    // Whoever was beside all this is served.
    let mut peer = server.open().await;
    peer.say(&get(1, "/")).await;
    assert_eq!(find(&mut peer).await, OK);
}
