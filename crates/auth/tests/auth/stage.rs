//! A server where alice has the password `pencil`, and a client of SCRAM.

use auth::{Auth, AuthOptions, Channel, Exchange, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use otp::{Clock, ClockHand, SupPid, Supervisor, System};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use storage::Storage;
use tempfile::TempDir;
use xmpp::BareJid;

pub const HOST: &str = "a.example";

pub struct Stage {
    pub auth: Auth,
    pub storage: Storage,
    pub system: System,
    pub hand: ClockHand,
    pub processes: SupPid,
    _folder: TempDir,
}

/// A server where alice has the password `pencil`.
pub async fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = Clock::manual();
    let system = System::new("auth", clock);
    let storage = Storage::open(folder.path(), &system).unwrap();
    let mut supervisor = Supervisor::new(otp::Strategy::OneForOne);
    for child in storage.children() {
        supervisor = supervisor.child(child);
    }
    let processes = supervisor.start(&system, "storage_sup").await.unwrap();
    let options = AuthOptions {
        iterations: 4096,
        ..AuthOptions::default()
    };
    let auth = Auth::new(storage.clone(), &system, options);
    auth.register(&alice(), "pencil".into()).await.unwrap();
    Stage {
        auth,
        storage,
        system,
        hand,
        processes,
        _folder: folder,
    }
}

pub fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

pub fn alice() -> BareJid {
    jid("alice@a.example")
}

/// An encrypted channel that nothing can be bound to.
pub fn protected() -> Channel {
    Channel {
        protected: true,
        ..Channel::default()
    }
}

/// An encrypted channel with two bindings.
pub fn bound() -> Channel {
    Channel {
        bindings: vec![
            ("tls-exporter", b"exported".to_vec()),
            ("tls-server-end-point", b"hash".to_vec()),
        ],
        ..protected()
    }
}

/// A client of SCRAM, written from the RFC and sharing no code with the server.
pub struct Client {
    pub mechanism: &'static str,
    pub gs2_header: &'static str,
    /// The data of the channel binding.
    pub binding: &'static str,
    /// What the server knows of the connection.
    pub channel: Channel,
    pub user: &'static str,
    pub password: &'static str,
}

impl Client {
    pub fn new(mechanism: &'static str, user: &'static str, password: &'static str) -> Client {
        Client {
            mechanism,
            gs2_header: "n,,",
            binding: "",
            channel: Channel::default(),
            user,
            password,
        }
    }

    fn hmac(&self, key: &[u8], data: &[u8]) -> Vec<u8> {
        fn sign<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
            let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
            mac.update(data);
            mac.finalize().into_bytes().to_vec()
        }
        match self.mechanism {
            "SCRAM-SHA-1" | "SCRAM-SHA-1-PLUS" => sign::<Hmac<Sha1>>(key, data),
            "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS" => sign::<Hmac<Sha256>>(key, data),
            _ => sign::<Hmac<Sha512>>(key, data),
        }
    }

    fn digest(&self, data: &[u8]) -> Vec<u8> {
        match self.mechanism {
            "SCRAM-SHA-1" | "SCRAM-SHA-1-PLUS" => Sha1::digest(data).to_vec(),
            "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS" => Sha256::digest(data).to_vec(),
            _ => Sha512::digest(data).to_vec(),
        }
    }

    /// `Hi` of RFC 5802 §2.2, step by step.
    fn salted(&self, salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut block = self.hmac(
            self.password.as_bytes(),
            &[salt, &1_u32.to_be_bytes()].concat(),
        );
        let mut result = block.clone();
        for _ in 1..iterations {
            block = self.hmac(self.password.as_bytes(), &block);
            result
                .iter_mut()
                .zip(&block)
                .for_each(|(sum, byte)| *sum ^= byte);
        }
        result
    }

    fn first(&self) -> String {
        format!("{}n={},r=clientnonce", self.gs2_header, self.user)
    }

    pub async fn start(&self, stage: &Stage) -> (Exchange, Step) {
        let channel = self.channel.clone();
        let mut exchange = stage.auth.start(HOST, self.mechanism, channel).unwrap();
        let step = exchange.begin(Some(self.first().as_bytes())).await;
        (exchange, step)
    }

    /// The final message with its proof, and the signature the server must show.
    pub fn last(&self, challenge: &str) -> (String, String) {
        let mut fields = challenge.split(',');
        let nonce = fields.next().unwrap().strip_prefix("r=").unwrap();
        assert!(nonce.starts_with("clientnonce") && nonce.len() > "clientnonce".len() + 16);
        let salt = STANDARD
            .decode(fields.next().unwrap().strip_prefix("s=").unwrap())
            .unwrap();
        let iterations = fields
            .next()
            .unwrap()
            .strip_prefix("i=")
            .unwrap()
            .parse()
            .unwrap();
        let salted = self.salted(&salt, iterations);
        let bound = STANDARD.encode(format!("{}{}", self.gs2_header, self.binding));
        let without_proof = format!("c={bound},r={nonce}");
        let message = format!("n={},r=clientnonce,{challenge},{without_proof}", self.user);
        let client_key = self.hmac(&salted, b"Client Key");
        let signature = self.hmac(&self.digest(&client_key), message.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(key, byte)| key ^ byte)
            .collect();
        let server = self.hmac(&self.hmac(&salted, b"Server Key"), message.as_bytes());
        (
            format!("{without_proof},p={}", STANDARD.encode(proof)),
            format!("v={}", STANDARD.encode(server)),
        )
    }

    pub async fn run(&self, stage: &Stage) -> Step {
        let (mut exchange, step) = self.start(stage).await;
        let Step::Challenge(challenge) = step else {
            return step;
        };
        let (last, signature) = self.last(std::str::from_utf8(&challenge).unwrap());
        let step = exchange.step(last.as_bytes()).await;
        if let Step::Success { data, .. } = &step {
            assert_eq!(
                data.as_deref(),
                Some(signature.as_bytes()),
                "the server proves itself"
            );
        }
        step
    }
}
