//! `/api/COMMAND`: every command of the node, its arguments and result as JSON; `/api/openapi.json` describes them.
//!
//! A command that only tells may be asked for by GET or HEAD, with its arguments in the query; all others need POST with a
//! body of `application/json`, which no page of another site can send unasked.

use admin::{Caller, Given, HELP, Value as Told};
use httpd::http::{Method, StatusCode};
use httpd::{Error, Handler, Outcome, Request};
use serde_json::{Map, Value, json};

use crate::Web;
use crate::gate::{Identity, Refusal, enter};
use crate::given::{given, refusal};
use crate::page::is_read;

/// Bytes of the arguments of a command.
pub(crate) const MOST_BYTES: usize = 1024 * 1024;

/// The only version of the API.
const VERSION: &str = "v1";

/// Gives commands.
#[derive(Clone)]
pub(crate) struct Api(pub(crate) Web);

/// Tells of the commands that the asker may give.
#[derive(Clone)]
pub(crate) struct OpenApi(pub(crate) Web);

impl Handler for Api {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        dress(req)?;
        let identity = match enter(&self.0, req).await? {
            Ok(identity) => identity,
            Err(refused) => return refuse(req, &refused),
        };
        let name = req.binding("command").unwrap_or_default().to_owned();
        if let Some(version) = req.binding("version")
            && version != VERSION
        {
            let why = format!("there is no version `{version}` of the API, only {VERSION}");
            return refuse(req, &Refusal::new(404, "unknown", why));
        }
        let command = self.0.parts().commands.get(&name);
        // What there is not is asked for in vain by any method, and told so with what was probably meant.
        let reads = name == HELP || command.is_none_or(|command| command.reads);
        let methods: &[Method] = match reads {
            true => &[Method::GET, Method::HEAD, Method::POST],
            false => &[Method::POST],
        };
        if !methods.contains(req.method()) {
            let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
            let names = names.join(", ");
            let why = match reads {
                true => format!("`{name}` is given by one of {names}"),
                false => format!("`{name}` changes something: it needs POST"),
            };
            req.set_header("allow", names)?;
            return refuse(req, &Refusal::new(405, "usage", why));
        }
        let arguments = match arguments(req).await? {
            Ok(arguments) => arguments,
            Err(refused) => return refuse(req, &refused),
        };
        match execute(&self.0, &identity, &name, arguments).await {
            Ok(told) => req.reply_json(200, &told.to_json())?,
            Err(refused) => return refuse(req, &refused),
        }
        Ok(Outcome::Done)
    }
}

impl Handler for OpenApi {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        dress(req)?;
        let identity = match enter(&self.0, req).await? {
            Ok(identity) => identity,
            Err(refused) => return refuse(req, &refused),
        };
        if is_read(req)? {
            let parts = self.0.parts();
            let mut commands = parts.commands.list();
            commands.retain(|command| {
                command.role <= identity.caller.role && identity.may(command.name).is_ok()
            });
            req.reply_json(200, &crate::openapi::document(parts.version, &commands))?;
        }
        Ok(Outcome::Done)
    }
}

/// What every reply has: nobody keeps it, and nobody takes it for something else.
pub(crate) fn dress(req: &mut Request) -> Result<(), Error> {
    req.set_header("cache-control", "no-store")?;
    req.set_header("x-content-type-options", "nosniff")?;
    Ok(())
}

/// Says why not, in the words of ejabberd's API, with the argument beside.
pub(crate) fn refuse(req: &mut Request, refused: &Refusal) -> Result<Outcome, Error> {
    if refused.status == 401 {
        let offer = "Basic realm=\"Natter\", charset=\"UTF-8\", Bearer realm=\"Natter\"";
        req.set_header("www-authenticate", offer)?;
    }
    let mut told = json!({
        "status": "error",
        "code": refused.status,
        "kind": refused.kind,
        "message": refused.message,
    });
    if let Some(argument) = &refused.argument {
        told["argument"] = argument.as_str().into();
    }
    req.reply_json(refused.status, &told)?;
    Ok(Outcome::Done)
}

/// The media type of a request's body, in lower case, without its parameters.
pub(crate) fn media_type(req: &Request) -> String {
    let given = req.header("content-type").unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// The arguments in the query, or in the body of a POST.
async fn arguments(req: &mut Request) -> Result<Result<Map<String, Value>, Refusal>, Error> {
    let malformed = |why: String| Ok(Err(Refusal::new(400, "usage", why)));
    let Ok(query) = req.parse_qs() else {
        return malformed("the query is malformed".to_owned());
    };
    if req.method() != Method::POST {
        let mut arguments = Map::new();
        for (name, value) in query {
            let value = Value::from(value);
            match arguments.get_mut(&name) {
                None => drop(arguments.insert(name, value)),
                Some(Value::Array(values)) => values.push(value),
                Some(one) => *one = Value::Array(vec![one.take(), value]),
            }
        }
        return Ok(Ok(arguments));
    }
    // Passed over it would be missed, and taken it would stand in logs.
    if let Some((name, _)) = query.first() {
        let why = format!("{name}: the arguments of a POST stand in its body");
        return Ok(Err(Refusal::new(400, "usage", why).argument(name)));
    }
    if media_type(req) != "application/json" {
        let why = "the body of a command is of the type application/json";
        return Ok(Err(Refusal::new(415, "usage", why)));
    }
    let body = match req.body(MOST_BYTES).await {
        Ok(body) => body,
        Err(error) => match unread(&error) {
            Some(refused) => return Ok(Err(refused)),
            None => return Err(error),
        },
    };
    if body.is_empty() {
        return Ok(Ok(Map::new()));
    }
    match serde_json::from_slice(&body) {
        Ok(Value::Object(arguments)) => Ok(Ok(arguments)),
        Ok(_) => malformed("the body is no JSON object of arguments".to_owned()),
        Err(error) => malformed(format!("the body is no JSON: {error}")),
    }
}

/// What to say of a body that was not read to its end; none where nobody is left who could hear it.
pub(crate) fn unread(error: &Error) -> Option<Refusal> {
    let why = match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => format!("more than {MOST_BYTES} bytes of arguments"),
        StatusCode::REQUEST_TIMEOUT => "the arguments came too slowly".to_owned(),
        _ => return None,
    };
    Some(Refusal::new(error.status().as_u16(), "usage", why))
}

/// Gives a command in somebody's name.
///
/// # Errors
///
/// What to tell him.
pub(crate) async fn execute(
    web: &Web,
    identity: &Identity,
    name: &str,
    arguments: Map<String, Value>,
) -> Result<Told, Refusal> {
    identity.may(name)?;
    let commands = &web.parts().commands;
    let caller: &Caller = &identity.caller;
    let command = commands.get(name);
    let given = match &command {
        Some(command) if command.role <= caller.role => given(command, arguments)?,
        // What is not there, or not for the caller, is refused whatever it is given.
        _ => Given::words(arguments.get("command").and_then(Value::as_str)),
    };
    let told = commands.execute(caller, name, &given).await;
    told.map_err(|error| refusal(command.as_deref(), error))
}
