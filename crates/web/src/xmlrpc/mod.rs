//! `/xmlrpc`: the same commands as XML-RPC, for programs that speak it to ejabberd.
//!
//! The method is the command; the last parameter is a struct of its arguments. As with ejabberd a struct with `user`,
//! `server` and `password` may stand before it, in the place of credentials in the header.

mod wire;

use httpd::http::Method;
use httpd::http::header::AUTHORIZATION;
use httpd::{Error, Handler, Outcome, Request};
use serde_json::{Map, Value};

use crate::Web;
use crate::api::{MOST_BYTES, dress, execute, media_type, refuse, unread};
use crate::gate::{Identity, Refusal, enter_as, password_of};
use wire::Call;

/// Gives commands by XML-RPC.
#[derive(Clone)]
pub(crate) struct XmlRpc(pub(crate) Web);

impl Handler for XmlRpc {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        dress(req)?;
        // Before anything of it is read: where it comes from. Who sent it may stand inside.
        let has_header = req.headers().contains_key(AUTHORIZATION);
        let identity = match enter_as(&self.0, req, has_header).await? {
            Ok(identity) => identity,
            Err(refused) => return refuse(req, &refused),
        };
        if req.method() != Method::POST {
            req.set_header("allow", "POST")?;
            return refuse(req, &Refusal::new(405, "usage", "a call needs POST"));
        }
        if !matches!(media_type(req).as_str(), "text/xml" | "application/xml") {
            let why = "the body of a call is of the type text/xml";
            return refuse(req, &Refusal::new(415, "usage", why));
        }
        let answer = match req.body(MOST_BYTES).await {
            Ok(body) => match wire::read(&body) {
                Ok(call) => self.call(req, identity, call).await,
                Err(why) => Err(Refusal::new(400, "usage", why)),
            },
            Err(error) => match unread(&error) {
                Some(refused) => return refuse(req, &refused),
                None => return Err(error),
            },
        };
        let text = match answer {
            Ok(value) => wire::response(&value),
            Err(refused) if refused.status == 401 => return refuse(req, &refused),
            Err(refused) => wire::fault(refused.status, &refused.message),
        };
        req.reply(200, [("content-type", "text/xml; charset=utf-8")], text)?;
        Ok(Outcome::Done)
    }
}

impl XmlRpc {
    async fn call(
        &self,
        req: &Request,
        identity: Option<Identity>,
        call: Call,
    ) -> Result<Value, Refusal> {
        let usage = |why: &str| Refusal::new(400, "usage", why);
        let is_struct = |value: Value| match value {
            Value::Object(members) => Ok(members),
            _ => Err(usage("the arguments of a command are a struct")),
        };
        let mut structs = Vec::new();
        for value in call.params {
            structs.push(is_struct(value)?);
        }
        let (credentials, arguments) = match (structs.pop(), structs.pop()) {
            (None, _) => (None, Map::new()),
            (Some(arguments), None) => (None, arguments),
            (Some(arguments), credentials) if structs.is_empty() => (credentials, arguments),
            _ => return Err(usage("a call has at most two parameters")),
        };
        let identity = match (identity, credentials) {
            (Some(identity), _) => identity,
            (None, Some(credentials)) => self.inside(req, &credentials).await?,
            (None, None) => {
                return Err(Refusal::new(401, "unauthorized", "credentials are needed"));
            }
        };
        let told = execute(&self.0, &identity, &call.method, arguments).await?;
        Ok(told.to_json())
    }

    /// Who the struct of credentials names.
    async fn inside(
        &self,
        req: &Request,
        credentials: &Map<String, Value>,
    ) -> Result<Identity, Refusal> {
        let member = |name: &str| {
            let value = credentials.get(name).and_then(Value::as_str);
            let why = format!("the credentials have no `{name}`");
            value.ok_or_else(|| Refusal::new(401, "unauthorized", why))
        };
        let name = format!("{}@{}", member("user")?, member("server")?);
        password_of(&self.0, req, &name, member("password")?).await
    }
}
