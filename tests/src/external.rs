//! A server that is already there: proves the languages against others, and ours as it is deployed.
//!
//! Accounts are made by in-band registration and cancelled when the play ends (XEP-0077 §3.1, §3.2). There is
//! no clock to turn, no admin to ask and no trace to read: scenarios that need them are skipped.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rustls::RootCertStore;

use crate::authority::roots_from_file;
use crate::client::{Client, Login, open};
use crate::dom::escape;
use crate::stage::{Asked, Door, Failure, NO_HTTP, Server, Troupe, Unable};
use crate::wire::Wire;

/// Where the doors of an external server are.
#[derive(Clone)]
pub struct External {
    plain: SocketAddr,
    starttls: SocketAddr,
    direct: SocketAddr,
    http: Option<SocketAddr>,
    roots: RootCertStore,
    authority_pem: String,
    accounts: Arc<Mutex<Vec<(String, String)>>>,
}

impl External {
    /// A server with its three doors for TCP, in the order of [`Door`], and the one for HTTP if it has any, trusted for the authority in the PEM file.
    ///
    /// # Errors
    ///
    /// A sentence when the file cannot be read or holds no certificate.
    pub fn new(
        doors: [SocketAddr; 3],
        http: Option<SocketAddr>,
        authority: &Path,
    ) -> Result<External, String> {
        let [plain, starttls, direct] = doors;
        let say = |error: std::io::Error| format!("{}: {error}", authority.display());
        let authority_pem = std::fs::read_to_string(authority).map_err(say)?;
        let roots = roots_from_file(authority)?;
        Ok(External {
            plain,
            starttls,
            direct,
            http,
            roots,
            authority_pem,
            accounts: Arc::default(),
        })
    }

    async fn register(&self, account: &str, password: &str) -> Result<(), String> {
        let (user, host) = account.split_once('@').ok_or("an account is user@host")?;
        let say = |broken: crate::wire::Broken| format!("registering {account}: {broken}");
        let mut wire = Wire::connect(self.plain).await.map_err(say)?;
        open(&mut wire, host).await.map_err(say)?;
        let request = format!(
            "<iq type='set' id='reg'><query xmlns='jabber:iq:register'><username>{}</username><password>{}</password></query></iq>",
            escape(user),
            escape(password)
        );
        wire.send(request.as_bytes()).await.map_err(say)?;
        let answer = wire
            .element("the result of registering")
            .await
            .map_err(say)?;
        let conflict = answer.children().any(|child| {
            child
                .children()
                .any(|condition| condition.name == "conflict")
        });
        if conflict {
            // A play that failed left it behind.
            self.cancel(account, password).await?;
            return Box::pin(self.register(account, password)).await;
        }
        if answer.attr("type") != Some("result") {
            return Err(format!("registering {account}: {answer}"));
        }
        self.accounts
            .lock()
            .push((account.to_owned(), password.to_owned()));
        Ok(())
    }

    async fn cancel(&self, account: &str, password: &str) -> Result<(), String> {
        let (user, host) = account.split_once('@').ok_or("an account is user@host")?;
        let mut login = Login::new(user, host, "cancel");
        login.password = password.to_owned();
        let mut client = Client::connect(self, &login)
            .await
            .map_err(|broken| broken.to_string())?;
        client
            .send(
                "<iq type='set' id='gone'><query xmlns='jabber:iq:register'><remove/></query></iq>",
            )
            .await
            .map_err(|broken| broken.to_string())?;
        // Servers answer, close, or both.
        let _ = client.answer_to("gone").await;
        Ok(())
    }
}

impl Troupe for External {
    fn start<'a>(
        &'a self,
        extra: &'a str,
        _http: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Server>, Failure>> {
        async move {
            match extra.is_empty() {
                true => Ok(Box::new(self.clone()) as Box<dyn Server>),
                false => Err(Failure::Unable(
                    "its configuration cannot be changed from here",
                )),
            }
        }
        .boxed()
    }

    fn at_once(&self) -> usize {
        1
    }
}

impl Server for External {
    fn address(&self, door: Door) -> Result<SocketAddr, Unable> {
        match door {
            Door::Plain => Ok(self.plain),
            Door::StartTls => Ok(self.starttls),
            Door::DirectTls => Ok(self.direct),
            Door::WebSocket | Door::Bosh => self.http.ok_or(NO_HTTP),
        }
    }

    fn roots(&self) -> RootCertStore {
        self.roots.clone()
    }

    fn authority_pem(&self) -> String {
        self.authority_pem.clone()
    }

    fn register<'a>(
        &'a self,
        account: &'a str,
        password: &'a str,
    ) -> BoxFuture<'a, Result<(), String>> {
        External::register(self, account, password).boxed()
    }

    fn admin(&self, _words: Vec<String>) -> BoxFuture<'_, Result<Asked, Unable>> {
        async { Err(Unable("it takes no admin commands from here")) }.boxed()
    }

    fn advance(&self, _by: Duration) -> BoxFuture<'_, Result<(), Unable>> {
        async { Err(Unable("its clock cannot be turned")) }.boxed()
    }

    fn tree(&self) -> BoxFuture<'_, Result<String, Unable>> {
        async { Err(Unable("its tree cannot be seen")) }.boxed()
    }

    fn trace(&self) -> Result<Vec<String>, Unable> {
        Err(Unable("its trace cannot be read"))
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            let accounts = std::mem::take(&mut *self.accounts.lock());
            for (account, password) in accounts {
                // An account that is gone already is what we want.
                let _ = self.cancel(&account, &password).await;
            }
        }
        .boxed()
    }
}
