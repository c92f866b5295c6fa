//! Nonsense is answered with a failure, never a panic.

use crate::stage::{HOST, bound, stage};
use auth::{SaslCondition, SaslFailure, Step, decode_initial};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

#[test]
fn an_abort_has_its_answer() {
    assert_eq!(
        SaslFailure::from(SaslCondition::Aborted).condition.as_str(),
        "aborted"
    );
    assert_eq!(
        SaslFailure::from(SaslCondition::Aborted).to_string(),
        "aborted"
    );
}

/// Messages that come close to the grammar, and bytes that do not.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        Just("n".to_owned()),
        Just("y".to_owned()),
        Just("n=alice".to_owned()),
        Just("r=clientnonce".to_owned()),
        Just("c=biws".to_owned()),
        Just("p=AAAA".to_owned()),
        Just(String::new()),
        "[a-z]=[ -~]{0,8}",
        "\\PC{0,6}",
    ];
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec(field.clone(), 0..8)
            .prop_map(|fields| fields.join(",").into_bytes()),
        proptest::collection::vec(field, 0..4).prop_map(|fields| fields.join("\0").into_bytes()),
    ]
}

/// Whatever is sent at whichever step is answered, and nobody gets in by it.
#[test]
fn nonsense_is_answered_with_a_failure() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let stage = runtime.block_on(stage());
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(128)
    };
    proptest!(config, |(messages in proptest::collection::vec(message(), 1..4), proper_start: bool, which in 0..5_usize)| {
        let mechanism = ["PLAIN", "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS"][which];
        let ends = runtime.block_on(async {
            let mut exchange = stage.auth.start(HOST, mechanism, bound()).unwrap();
            if proper_start && mechanism != "PLAIN" {
                let flag = if mechanism.ends_with("-PLUS") { "p=tls-exporter" } else { "n" };
                let step = exchange.step(format!("{flag},,n=alice,r=clientnonce").as_bytes()).await;
                assert!(matches!(step, Step::Challenge(_)));
            }
            let mut steps = Vec::new();
            for message in &messages {
                steps.push(exchange.step(message).await);
            }
            steps
        });
        for step in ends {
            let is_success = matches!(step, Step::Success { .. });
            prop_assert!(!is_success);
        }
    });
    runtime.block_on(stage.processes.stop());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The text of an element is read or refused, never a panic, and what is read is what was meant.
    #[test]
    fn any_text_is_decoded_or_refused(text in "\\PC{0,40}", bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
        if let Err(failure) = decode_initial(&text) {
            prop_assert_eq!(failure.condition, SaslCondition::IncorrectEncoding);
        }
        let read = decode_initial(&STANDARD.encode(&bytes)).unwrap().unwrap();
        prop_assert_eq!(read.as_slice(), bytes.as_slice());
    }
}
