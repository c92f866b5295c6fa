//! The commands by which an administrator sees the files of accounts and removes them.

use std::sync::Arc;

use gen_mod::command::{Arg, Args, Command, CommandError, Role, Scope, Value};
use xmpp::{format_date_time, parse_bare};

use super::service::Service;

/// How many rows one reading of the store brings.
const PAGE: usize = 500;

const HOST: Arg = Arg::host("host", "host of the accounts");

pub(crate) fn commands(service: &Arc<Service>) -> [Command; 2] {
    let (of_list, of_delete) = (Arc::clone(service), Arc::clone(service));
    [
        Command::new(
            "upload_list",
            "Lists the files that accounts have put on the server, and open slots.",
            move |_, args| {
                let service = Arc::clone(&of_list);
                async move { list(&service, &args).await }
            },
        )
        .arg(HOST)
        .arg(Arg::text("user", "name of the account; all of the host unless said").optional())
        .allow(Role::HostAdmin, Scope::Host)
        .reads()
        .returns("a table: id, account, name, type, bytes, stored, expires"),
        Command::new(
            "upload_delete",
            "Removes files that accounts have put on the server; their URLs lead nowhere from then on.",
            move |_, args| {
                let service = Arc::clone(&of_delete);
                async move { delete(&service, &args).await }
            },
        )
        .arg(HOST)
        .arg(Arg::text("ids", "what upload_list calls them").repeated())
        .allow(Role::HostAdmin, Scope::Host)
        .returns("how many there were"),
    ]
}

fn failed(error: impl std::fmt::Display) -> CommandError {
    CommandError::failed(format!("the store failed: {error}"))
}

async fn list(service: &Service, args: &Args) -> Result<Value, CommandError> {
    let host = &service.host;
    let owner = args.maybe_text("user").map(|user| {
        let account = format!("{user}@{}", host.name);
        parse_bare(&account).map_err(|error| CommandError::usage(format!("`{account}`: {error}")))
    });
    let owner = owner.transpose()?;
    let mut table = Value::table([
        "id", "account", "name", "type", "bytes", "stored", "expires",
    ]);
    let mut after: Option<String> = None;
    loop {
        let uploads = &host.storage.uploads;
        let page = uploads.list(&host.name, owner.as_ref(), after.as_deref(), PAGE);
        let page = page.await.map_err(failed)?;
        after = page.last().map(|upload| upload.id.clone());
        let is_last = page.len() < PAGE;
        for upload in page {
            let stored = upload.stored.map_or_else(String::new, format_date_time);
            table = table.row([
                Value::Text(upload.id),
                Value::Text(upload.owner.to_string()),
                Value::Text(upload.name),
                Value::Text(upload.media),
                Value::Integer(i64::try_from(upload.size).unwrap_or(i64::MAX)),
                Value::Text(stored),
                Value::Text(format_date_time(upload.expires)),
            ]);
        }
        if is_last {
            return Ok(table);
        }
    }
}

async fn delete(service: &Service, args: &Args) -> Result<Value, CommandError> {
    let (host, store) = (&service.host, &service.host.storage.uploads);
    let mut count = 0;
    for id in args.texts("ids") {
        let found = store.find(id).await.map_err(failed)?;
        let found = found.filter(|upload| upload.owner.domain().as_str() == &*host.name);
        let Some(upload) = found else {
            let why = format!("{} has no file `{id}`", host.name);
            return Err(CommandError::failed(why));
        };
        let removed = service.web().uploads().shelf.remove(&upload).await;
        removed
            .map_err(|error| CommandError::failed(format!("`{id}` was not removed: {error}")))?;
        let ids = vec![upload.id];
        count += store.remove(&host.name, ids).await.map_err(failed)?;
    }
    Ok(Value::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
}
