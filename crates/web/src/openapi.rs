//! The commands as a document of OpenAPI 3.1, made of their declarations.

use std::sync::Arc;

use admin::{Arg, ArgType, Command};
use serde_json::{Map, Value, json};

/// Describes these commands.
pub(crate) fn document(version: &str, commands: &[Arc<Command>]) -> Value {
    let paths = commands.iter().map(|command| {
        let mut methods = Map::new();
        methods.insert("post".to_owned(), post(command));
        if command.reads {
            methods.insert("get".to_owned(), get(command));
        }
        (format!("/api/{}", command.name), Value::Object(methods))
    });
    let paths: Map<String, Value> = paths.collect();
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Natter", "version": version },
        "security": [{ "basic": [] }, { "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": { "type": "http", "scheme": "basic", "description": "An account's address and password." },
                "bearer": { "type": "http", "scheme": "bearer", "description": "A token made by token_create." },
            },
            "schemas": { "Error": {
                "type": "object",
                "required": ["status", "code", "kind", "message"],
                "properties": {
                    "status": { "const": "error" },
                    "code": { "type": "integer", "description": "The status of the reply." },
                    "kind": { "type": "string", "description": "The kind of error, for programs." },
                    "message": { "type": "string", "description": "What is wrong, for people." },
                    "argument": { "type": "string", "description": "The argument that is at fault." },
                },
            }},
            "responses": { "Error": {
                "description": "Nothing was done, or what was tried failed.",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
            }},
        },
    })
}

fn post(command: &Command) -> Value {
    let args = command
        .args
        .iter()
        .map(|arg| (arg.name.to_owned(), schema(arg)));
    let flags = command
        .flags
        .iter()
        .map(|flag| (flag.name.to_owned(), switch(flag.doc)));
    let properties: Map<String, Value> = args.chain(flags).collect();
    let required: Vec<&str> = command
        .args
        .iter()
        .filter(|arg| !arg.optional)
        .map(|arg| arg.name)
        .collect();
    let mut body = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        body["required"] = json!(required);
    }
    let mut operation = operation(command, command.name.to_owned());
    operation["requestBody"] = json!({
        "required": !required.is_empty(),
        "content": { "application/json": { "schema": body } },
    });
    operation
}

fn get(command: &Command) -> Value {
    let parameter = |name: &str, doc: &str, required: bool, schema: Value| json!({ "name": name, "in": "query", "description": doc, "required": required, "schema": schema });
    let args = command
        .args
        .iter()
        .map(|arg| parameter(arg.name, arg.doc, !arg.optional, in_query(arg)));
    let flags = command
        .flags
        .iter()
        .map(|flag| parameter(flag.name, flag.doc, false, switch(flag.doc)));
    let mut operation = operation(command, format!("get_{}", command.name));
    operation["parameters"] = args.chain(flags).collect();
    operation
}

/// What both methods have in common.
fn operation(command: &Command, id: String) -> Value {
    json!({
        "operationId": id,
        "summary": command.doc,
        "description": format!("Gives {}. For role {}.", command.result, command.role),
        "responses": {
            "200": {
                "description": format!("Done: {}.", command.result),
                "content": { "application/json": { "schema": {} } },
            },
            "default": { "$ref": "#/components/responses/Error" },
        },
    })
}

fn switch(doc: &str) -> Value {
    json!({ "type": "boolean", "default": false, "description": doc })
}

fn schema(arg: &Arg) -> Value {
    let mut one = match arg.kind {
        ArgType::Text => json!({ "type": "string", "minLength": 1 }),
        ArgType::Host => json!({ "type": "string", "format": "idn-hostname" }),
        ArgType::Integer(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        ArgType::Duration => json!({ "type": "string", "examples": ["5 s"] }),
        ArgType::Bytes => json!({ "type": "string", "examples": ["256 KiB"] }),
        ArgType::Choice(words) => json!({ "type": "string", "enum": words }),
        ArgType::Secret => json!({ "type": "string", "format": "password", "writeOnly": true }),
        ArgType::Pairs => {
            let mut pairs =
                json!({ "type": "object", "additionalProperties": { "type": "string" } });
            pairs["description"] = arg.doc.into();
            return pairs;
        }
    };
    if arg.repeated {
        let least = usize::from(!arg.optional);
        one = json!({ "type": "array", "items": one, "minItems": least });
    }
    one["description"] = arg.doc.into();
    one
}

/// As [`schema`], where there are no objects.
fn in_query(arg: &Arg) -> Value {
    match arg.kind {
        ArgType::Pairs => json!({
            "type": "array",
            "items": { "type": "string", "pattern": "^[^=]+=" },
            "description": arg.doc,
        }),
        _ => schema(arg),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_becomes_an_operation() {
        let command = Command::new("look", "Looks.", |_, _| async { Ok(admin::Value::Nothing) })
            .arg(Arg::host("host", "Where."))
            .arg(Arg::new("most", ArgType::Integer(1, 9), "How many.").optional())
            .arg(Arg::text("users", "Whom.").optional().repeated())
            .flag("all", "Shows all.")
            .returns("a list")
            .reads();
        let page = document("1.0", &[Arc::new(command)]);
        let look = &page["paths"]["/api/look"];
        let body = &look["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["required"], json!(["host"]));
        assert_eq!(
            body["properties"]["most"],
            json!({ "type": "integer", "minimum": 1, "maximum": 9, "description": "How many." })
        );
        assert_eq!(body["properties"]["users"]["items"]["type"], "string");
        assert_eq!(body["properties"]["all"]["type"], "boolean");
        assert_eq!(look["post"]["operationId"], "look");
        let names: Vec<&Value> = look["get"]["parameters"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|parameter| &parameter["name"])
            .collect();
        assert_eq!(names, ["host", "most", "users", "all"]);
        assert_eq!(page["openapi"], "3.1.0");
    }

    #[test]
    fn pairs_are_an_object_but_in_a_query() {
        let command = Command::new("find", "Finds.", |_, _| async { Ok(admin::Value::Nothing) })
            .arg(Arg::pairs("where", "Which."))
            .reads();
        let page = document("1.0", &[Arc::new(command)]);
        let find = &page["paths"]["/api/find"];
        let body = &find["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["properties"]["where"]["type"], "object");
        let pairs = &find["get"]["parameters"][0]["schema"];
        assert_eq!(pairs["items"]["pattern"], "^[^=]+=");
    }

    #[test]
    fn a_command_that_changes_is_not_offered_by_get() {
        let command = Command::new("stop", "Ends.", |_, _| async { Ok(admin::Value::Nothing) });
        let page = document("1.0", &[Arc::new(command)]);
        assert!(page["paths"]["/api/stop"].get("get").is_none());
        assert_eq!(
            page["paths"]["/api/stop"]["post"]["requestBody"]["required"],
            false
        );
    }
}
