//! Frames, the states of streams, and what each type of frame must be (RFC 9113 §4 to §6).

use super::*;

#[tokio::test]
async fn frames() {
    let part = &block("GET", "/")[..10];
    let large = vec![0; 16385];
    play(vec![
        (
            "9113 4.1, an unknown type",
            [frame(0x16, 0, 0, b"x"), get(1, "/")].concat(),
            &[OK],
        ),
        (
            "9113 4.1, unknown flags",
            frame(
                HEADERS,
                0xc2 | END_HEADERS | END_STREAM,
                1,
                &block("GET", "/"),
            ),
            &[OK],
        ),
        (
            "9113 4.1, the reserved bit",
            frame(PING, 0, 0x8000_0000, &[9; 8]),
            &[Nothing],
        ),
        (
            "9113 4.2, the largest frame",
            [post(1, "/echo"), frame(DATA, END_STREAM, 1, &large[1..])].concat(),
            &[OK],
        ),
        (
            "9113 4.2, a larger one",
            [post(1, "/echo"), frame(DATA, END_STREAM, 1, &large)].concat(),
            &[Gone(FRAME_SIZE_ERROR), Reset(FRAME_SIZE_ERROR)],
        ),
        (
            "9113 4.2, a larger head",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &large),
            &[Gone(FRAME_SIZE_ERROR)],
        ),
        (
            "9113 4.3, a block that breaks",
            raw_block(b"\x40\x02x"),
            &[Gone(COMPRESSION_ERROR), ENDED],
        ),
        (
            "9113 4.3, a priority within a block",
            [
                frame(HEADERS, END_STREAM, 1, part),
                frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
            ]
            .concat(),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 4.3, another stream within a block",
            [frame(HEADERS, END_STREAM, 1, part), get(3, "/")].concat(),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 5.5, an unknown type",
            frame(0xfe, 0, 1, b"whatever"),
            &[Nothing],
        ),
        (
            "9113 5.5, an unknown type within a block",
            [frame(HEADERS, END_STREAM, 1, part), frame(0xfe, 0, 1, b"")].concat(),
            &[Gone(PROTOCOL_ERROR)],
        ),
    ])
    .await;
}

#[tokio::test]
async fn states_of_streams() {
    let lies = frame(CONTINUATION, END_HEADERS, 1, &block("GET", "/"));
    let reset = frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    let update = frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
    let data = frame(DATA, END_STREAM, 1, b"x");
    let closed: &[Found] = &[Gone(STREAM_CLOSED), Reset(STREAM_CLOSED), ENDED];
    play(vec![
        (
            "9113 5.1, idle: data",
            data.clone(),
            &[Gone(PROTOCOL_ERROR), Gone(STREAM_CLOSED)],
        ),
        (
            "9113 5.1, idle: reset",
            reset.clone(),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 5.1, idle: window update",
            update.clone(),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 5.1, idle: continuation",
            lies.clone(),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 5.1, idle: priority",
            frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
            &[Nothing],
        ),
        (
            "9113 5.1, half closed: data",
            [get(1, "/waits"), data.clone()].concat(),
            closed,
        ),
        (
            "9113 5.1, half closed: headers",
            [get(1, "/waits"), get(1, "/waits")].concat(),
            closed,
        ),
        (
            "9113 5.1, half closed: continuation",
            [get(1, "/waits"), lies].concat(),
            &[Gone(PROTOCOL_ERROR), Gone(STREAM_CLOSED)],
        ),
        (
            "9113 5.1, half closed: window update",
            [get(1, "/waits"), update].concat(),
            &[Nothing],
        ),
        (
            "9113 5.1, closed by reset: data",
            [post(1, "/waits"), reset.clone(), data].concat(),
            &[Gone(STREAM_CLOSED), Reset(STREAM_CLOSED), Nothing],
        ),
        (
            "9113 5.1, closed by reset: headers",
            [post(1, "/waits"), reset.clone(), get(1, "/")].concat(),
            closed,
        ),
        (
            "9113 5.1, closed by reset: another reset",
            [post(1, "/waits"), reset.clone(), reset].concat(),
            &[Nothing, Gone(STREAM_CLOSED)],
        ),
        (
            "9113 5.1.1, an even stream",
            get(2, "/"),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 5.1.1, a lower stream",
            [get(5, "/waits"), get(3, "/")].concat(),
            &[Gone(PROTOCOL_ERROR)],
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_each_frame_must_be() {
    let half = &block("GET", "/")[..10];
    let rest = &block("GET", "/")[10..];
    let max = 0x7fff_ffff_u32.to_be_bytes();
    let zero = 0_u32.to_be_bytes();
    let settings = |number, value| frame(SETTINGS, 0, 0, &setting(number, value));
    play(vec![
        (
            "9113 6.1, data on no stream",
            frame(DATA, END_STREAM, 0, b"x"),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.1, more padding than frame",
            [
                post(1, "/waits"),
                frame(DATA, END_STREAM | PADDED, 1, b"\x05xy"),
            ]
            .concat(),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.1, padding",
            [
                post(1, "/echo"),
                frame(DATA, END_STREAM | PADDED, 1, b"\x02xy\0\0"),
            ]
            .concat(),
            &[OK],
        ),
        (
            "9113 6.2, headers on no stream",
            frame(HEADERS, END_HEADERS | END_STREAM, 0, &block("GET", "/")),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.2, more padding than frame",
            frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\xff\x82"),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.3, priority on no stream",
            frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 1]),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.3, a short priority",
            [get(1, "/waits"), frame(PRIORITY, 0, 1, &[0, 0, 0, 0])].concat(),
            &[Gone(FRAME_SIZE_ERROR), Reset(FRAME_SIZE_ERROR), ENDED],
        ),
        (
            "9113 6.4, reset on no stream",
            frame(RST_STREAM, 0, 0, &zero),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.4, a short reset",
            [get(1, "/waits"), frame(RST_STREAM, 0, 1, &zero[1..])].concat(),
            &[Gone(FRAME_SIZE_ERROR), ENDED],
        ),
        (
            "9113 6.5, an acknowledgement with more",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            &[Gone(FRAME_SIZE_ERROR), ENDED],
        ),
        (
            "9113 6.5, settings on a stream",
            frame(SETTINGS, 0, 1, &setting(3, 1)),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.5, half a setting",
            frame(SETTINGS, 0, 0, &[0, 3, 0]),
            &[Gone(FRAME_SIZE_ERROR), ENDED],
        ),
        (
            "9113 6.5.2, push of another kind",
            settings(2, 2),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.5.2, a window that is too large",
            settings(4, 0x8000_0000),
            &[Gone(FLOW_CONTROL_ERROR), ENDED],
        ),
        (
            "9113 6.5.2, frames that are too small",
            settings(5, 16383),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.5.2, frames that are too large",
            settings(5, 1 << 24),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.5.2, an unknown one",
            [settings(0xff, 1), get(1, "/")].concat(),
            &[OK],
        ),
        (
            "9113 6.6, a promise",
            frame(
                PUSH_PROMISE,
                END_HEADERS,
                1,
                &[&[0, 0, 0, 2], &block("GET", "/")[..]].concat(),
            ),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.7, a ping on a stream",
            frame(PING, 0, 1, &[0; 8]),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.7, a short ping",
            frame(PING, 0, 0, &[0; 6]),
            &[Gone(FRAME_SIZE_ERROR), ENDED],
        ),
        (
            "9113 6.7, an answer that nobody asked",
            frame(PING, ACK, 0, &[7; 8]),
            &[Nothing],
        ),
        (
            "9113 6.8, going on a stream",
            frame(GOAWAY, 0, 1, &[0; 8]),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.9, a window of the connection that does not grow",
            frame(WINDOW_UPDATE, 0, 0, &zero),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.9, one of a stream",
            [get(1, "/waits"), frame(WINDOW_UPDATE, 0, 1, &zero)].concat(),
            &[Gone(PROTOCOL_ERROR), Reset(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.9, a short update",
            frame(WINDOW_UPDATE, 0, 0, &zero[1..]),
            &[Gone(FRAME_SIZE_ERROR), ENDED],
        ),
        (
            "9113 6.9.1, a window of the connection beyond the largest",
            frame(WINDOW_UPDATE, 0, 0, &max).repeat(2),
            &[Gone(FLOW_CONTROL_ERROR)],
        ),
        (
            "9113 6.9.1, one of a stream",
            [get(1, "/waits"), frame(WINDOW_UPDATE, 0, 1, &max).repeat(2)].concat(),
            &[Gone(FLOW_CONTROL_ERROR), Reset(FLOW_CONTROL_ERROR)],
        ),
        (
            "9113 6.10, a block in three",
            [
                frame(HEADERS, END_STREAM, 1, half),
                frame(CONTINUATION, 0, 1, rest),
                frame(CONTINUATION, END_HEADERS, 1, b""),
            ]
            .concat(),
            &[OK],
        ),
        (
            "9113 6.10, behind the end",
            [get(1, "/waits"), frame(CONTINUATION, END_HEADERS, 1, rest)].concat(),
            &[Gone(PROTOCOL_ERROR), Gone(STREAM_CLOSED)],
        ),
        (
            "9113 6.10, on no stream",
            [
                frame(HEADERS, END_STREAM, 1, half),
                frame(CONTINUATION, END_HEADERS, 0, rest),
            ]
            .concat(),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.10, on another stream",
            [
                frame(HEADERS, END_STREAM, 1, half),
                frame(CONTINUATION, END_HEADERS, 3, rest),
            ]
            .concat(),
            &[Gone(PROTOCOL_ERROR)],
        ),
        (
            "9113 6.10, behind data",
            [
                post(1, "/waits"),
                frame(DATA, 0, 1, b"x"),
                frame(CONTINUATION, END_HEADERS, 1, rest),
            ]
            .concat(),
            &[Gone(PROTOCOL_ERROR)],
        ),
    ])
    .await;
}
