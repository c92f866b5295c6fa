//! The document of the API by the letter of OpenAPI 3.1 and JSON Schema 2020-12, and whether it tells the truth.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::browser::Browser;
use crate::house::House;
use crate::http::{HTTP, door};

const JSON: &str = "Content-Type: application/json";

/// A document and what was found wrong in it.
struct Reader<'a> {
    document: &'a Value,
    operations: BTreeSet<String>,
    wrong: Vec<String>,
}

/// Reads a document; what is wrong in it.
fn read(document: &Value) -> Vec<String> {
    let mut reader = Reader {
        document,
        operations: BTreeSet::new(),
        wrong: Vec::new(),
    };
    reader.document();
    reader.wrong
}

impl Reader<'_> {
    fn demand(&mut self, is_so: bool, at: &str, what: &str) {
        if !is_so {
            self.wrong.push(format!("{at}: {what}"));
        }
    }

    /// The fields of an object: all that must be there are, and no others than these.
    fn fields<'a>(
        &mut self,
        value: &'a Value,
        at: &str,
        must: &[&str],
        may: &[&str],
    ) -> Map<String, Value> {
        let none = Map::new();
        let fields: &'a Map<String, Value> = match value.as_object() {
            Some(fields) => fields,
            None => {
                self.wrong.push(format!("{at}: no object"));
                return none;
            }
        };
        for name in must {
            self.demand(fields.contains_key(*name), at, &format!("no {name}"));
        }
        for name in fields.keys() {
            let is_known = must.contains(&name.as_str()) || may.contains(&name.as_str());
            self.demand(is_known, at, &format!("unknown {name}"));
        }
        fields.clone()
    }

    fn text(&mut self, value: Option<&Value>, at: &str) {
        let is_text = value.is_none_or(|value| value.as_str().is_some_and(|text| !text.is_empty()));
        self.demand(is_text, at, "no text");
    }

    /// What a reference leads to, or the value itself.
    fn resolved(&mut self, value: &Value, at: &str) -> Value {
        let Some(reference) = value.get("$ref") else {
            return value.clone();
        };
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
        let found = pointer
            .and_then(|pointer| self.document.pointer(pointer))
            .cloned();
        self.demand(found.is_some(), at, &format!("{reference} leads nowhere"));
        found.unwrap_or_default()
    }

    fn document(&mut self) {
        let document = self.document;
        let must = ["openapi", "info", "paths"];
        let top = self.fields(
            document,
            "document",
            &must,
            &["components", "security", "servers", "tags"],
        );
        let version = top.get("openapi").and_then(Value::as_str);
        self.demand(
            version.is_some_and(|it| it.starts_with("3.1.")),
            "openapi",
            "no 3.1",
        );
        let info = self.fields(
            &document["info"],
            "info",
            &["title", "version"],
            &["summary", "description"],
        );
        info.iter()
            .for_each(|(name, value)| self.text(Some(value), name));
        self.components();
        self.security(top.get("security"));
        for (path, item) in document["paths"].as_object().cloned().unwrap_or_default() {
            let is_plain = path.starts_with('/') && !path.contains(['{', '}', '?', '#']);
            self.demand(is_plain, &path, "no path without parts to fill in");
            for (method, operation) in self.fields(&item, &path, &[], &["get", "post"]) {
                self.operation(&operation, &format!("{method} {path}"), &method);
            }
        }
    }

    fn components(&mut self) {
        let components = &self.document["components"];
        let may = ["securitySchemes", "schemas", "responses"];
        let all = self.fields(components, "components", &[], &may);
        for (name, scheme) in all
            .get("securitySchemes")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
        {
            let fields = self.fields(
                &scheme,
                &name,
                &["type", "scheme"],
                &["description", "bearerFormat"],
            );
            self.demand(
                fields.get("type") == Some(&json!("http")),
                &name,
                "no scheme of HTTP",
            );
        }
        for (name, schema) in all
            .get("schemas")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
        {
            self.schema(&schema, &name);
        }
        for (name, response) in all
            .get("responses")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
        {
            self.response(&response, &name);
        }
    }

    fn security(&mut self, security: Option<&Value>) {
        let schemes = &self.document["components"]["securitySchemes"];
        let asked = security
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        self.demand(!asked.is_empty(), "security", "none is asked for");
        for one in asked {
            for (name, scopes) in one.as_object().cloned().unwrap_or_default() {
                self.demand(
                    schemes.get(&name).is_some(),
                    "security",
                    &format!("{name} is not declared"),
                );
                self.demand(scopes == json!([]), "security", "scopes of what has none");
            }
        }
    }

    fn operation(&mut self, operation: &Value, at: &str, method: &str) {
        let may = [
            "operationId",
            "summary",
            "description",
            "parameters",
            "requestBody",
            "tags",
        ];
        let fields = self.fields(operation, at, &["responses"], &may);
        self.text(fields.get("summary"), at);
        self.text(fields.get("description"), at);
        let id = fields
            .get("operationId")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let is_word = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        self.demand(is_word, at, "an operationId that is no word");
        let is_new = self.operations.insert(id.to_owned());
        self.demand(is_new, at, "an operationId that another has");
        let mut names = BTreeSet::new();
        for parameter in fields
            .get("parameters")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
        {
            let may = ["description", "required", "style", "explode"];
            let parameter = self.fields(&parameter, at, &["name", "in", "schema"], &may);
            let name = parameter
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let at = format!("{at} {name}");
            self.demand(
                parameter.get("in") == Some(&json!("query")),
                &at,
                "not in the query",
            );
            self.demand(
                parameter.get("required").is_none_or(Value::is_boolean),
                &at,
                "required is no truth",
            );
            self.demand(names.insert(name), &at, "is there twice");
            self.text(parameter.get("description"), &at);
            let schema = parameter.get("schema").cloned().unwrap_or_default();
            // What the style of a query makes of an object is nothing that is taken here.
            self.demand(schema["type"] != "object", &at, "an object in a query");
            self.schema(&schema, &at);
        }
        if let Some(body) = fields.get("requestBody") {
            self.demand(method != "get", at, "a GET with a body");
            let body = self.fields(body, at, &["content"], &["required", "description"]);
            self.content(body.get("content"), at);
        }
        let responses = fields
            .get("responses")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        self.demand(!responses.is_empty(), at, "no responses");
        for (status, response) in responses {
            let is_status =
                status == "default" || status.parse().is_ok_and(|it: u16| (100..600).contains(&it));
            self.demand(is_status, at, &format!("{status} is no status"));
            let response = self.resolved(&response, at);
            self.response(&response, at);
        }
    }

    fn response(&mut self, response: &Value, at: &str) {
        let fields = self.fields(response, at, &["description"], &["content", "headers"]);
        self.text(fields.get("description"), at);
        self.content(fields.get("content"), at);
    }

    fn content(&mut self, content: Option<&Value>, at: &str) {
        for (media, of) in content
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
        {
            self.demand(
                media.split('/').count() == 2,
                at,
                &format!("{media} is no media type"),
            );
            let of = self.fields(&of, at, &[], &["schema", "example", "examples"]);
            if let Some(schema) = of.get("schema") {
                self.schema(schema, at);
            }
        }
    }

    fn schema(&mut self, schema: &Value, at: &str) {
        if schema.get("$ref").is_some() {
            self.fields(schema, at, &["$ref"], &["description"]);
            self.resolved(schema, at);
            return;
        }
        let may = [
            "type",
            "description",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "minItems",
            "minimum",
            "maximum",
            "minLength",
            "format",
            "enum",
            "const",
            "default",
            "examples",
            "writeOnly",
            "pattern",
        ];
        let fields = self.fields(schema, at, &[], &may);
        self.text(fields.get("description"), at);
        let kind = fields.get("type").and_then(Value::as_str);
        let kinds = [
            "string", "integer", "number", "boolean", "array", "object", "null",
        ];
        self.demand(
            fields.get("type").is_none() || kind.is_some_and(|it| kinds.contains(&it)),
            at,
            "no type",
        );
        for (word, of) in [
            ("properties", "object"),
            ("required", "object"),
            ("additionalProperties", "object"),
            ("items", "array"),
            ("minItems", "array"),
            ("minimum", "integer"),
            ("maximum", "integer"),
            ("minLength", "string"),
            ("format", "string"),
            ("pattern", "string"),
        ] {
            self.demand(
                !fields.contains_key(word) || kind == Some(of),
                at,
                &format!("{word} says nothing"),
            );
        }
        let number = |name: &str| fields.get(name).and_then(Value::as_i64);
        if let (Some(least), Some(most)) = (number("minimum"), number("maximum")) {
            self.demand(least <= most, at, "nothing is between minimum and maximum");
        }
        if let Some(words) = fields.get("enum") {
            let words = words.as_array().cloned().unwrap_or_default();
            let all: BTreeSet<String> = words.iter().map(Value::to_string).collect();
            self.demand(!words.is_empty() && all.len() == words.len(), at, "no enum");
            self.demand(
                words.iter().all(Value::is_string),
                at,
                "an enum of other things",
            );
        }
        let examples = fields.get("examples");
        self.demand(
            examples.is_none_or(Value::is_array),
            at,
            "examples are a list",
        );
        let default = fields.get("default");
        self.demand(
            default.is_none_or(|it| it.is_boolean() == (kind == Some("boolean"))),
            at,
            "another default",
        );
        let properties = fields
            .get("properties")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        for name in fields
            .get("required")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
        {
            let is_one = name
                .as_str()
                .is_some_and(|name| properties.contains_key(name));
            self.demand(is_one, at, &format!("{name} is required and not described"));
        }
        for (name, property) in properties {
            self.schema(&property, &format!("{at} {name}"));
        }
        for inner in ["items", "additionalProperties"] {
            match fields.get(inner) {
                None | Some(Value::Bool(_)) => {}
                Some(schema) => self.schema(schema, &format!("{at} {inner}")),
            }
        }
    }
}

/// A house with an administrator's token, and what the document says there.
async fn open() -> (House, Browser, String, Value) {
    let house = House::start(HTTP).await;
    house.done("register root a.example secret").await;
    house.done("set_role root a.example admin").await;
    for module in [
        "mod_http_upload",
        "mod_invites",
        "mod_announce",
        "mod_shared_roster",
    ] {
        // Some run already.
        let _ = house
            .runs(&format!("module_start a.example {module}"))
            .await;
    }
    let made = house.done("token_create root a.example").await;
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let token = format!(
        "Authorization: Bearer {}",
        made["token"].as_str().expect("a token")
    );
    let mut browser = Browser::dial(door(&house)).await;
    let page = browser
        .asks("GET", "localhost", "/api/openapi.json", &[&token], "")
        .await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "application/json");
    let document = page.json();
    (house, browser, token, document)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_by_the_standard() {
    let (house, _browser, _token, document) = open().await;
    assert_eq!(read(&document), Vec::<String>::new());
    // Who reads it would find what is wrong.
    for (pointer, value, why) in [
        ("/openapi", json!("3.0.0"), "no 3.1"),
        ("/info", json!({}), "no title"),
        (
            "/security",
            json!([{ "cookie": [] }]),
            "cookie is not declared",
        ),
        ("/paths", json!({ "api": {} }), "no path"),
        (
            "/paths/~1api~1status/get/operationId",
            json!("register"),
            "another has",
        ),
        (
            "/paths/~1api~1status/get/responses/default",
            json!({ "$ref": "#/x" }),
            "leads nowhere",
        ),
        (
            "/paths/~1api~1register/post/requestBody/content",
            json!({ "json": {} }),
            "no media type",
        ),
        (
            "/paths/~1api~1register/post",
            json!({ "responses": {} }),
            "no responses",
        ),
        (
            "/components/schemas/Error/required",
            json!(["x"]),
            "not described",
        ),
        (
            "/components/schemas/Error/properties/code/type",
            json!("int"),
            "no type",
        ),
        (
            "/components/schemas/Error/properties/code",
            json!({ "minimum": 1 }),
            "says nothing",
        ),
    ] {
        let mut broken = document.clone();
        *broken.pointer_mut(pointer).expect(pointer) = value;
        let wrong = read(&broken);
        assert!(
            wrong.iter().any(|it| it.contains(why)),
            "{pointer}: {wrong:?}"
        );
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_tells_the_truth() {
    let (house, mut browser, token, document) = open().await;
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 40, "{}", paths.len());
    let mut asked = 0;
    for (path, item) in paths {
        // Nothing is done: what no command knows is refused before anything else.
        let headers = [token.as_str(), JSON];
        let unknown = browser
            .asks(
                "POST",
                "localhost",
                path,
                &headers,
                r#"{"no such thing": 1}"#,
            )
            .await;
        assert_eq!(unknown.status, 400, "{path}: {unknown:?}");
        assert_eq!(unknown.json()["argument"], "no such thing", "{path}");
        let schema = &item["post"]["requestBody"]["content"]["application/json"]["schema"];
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        if let Some(first) = required.first() {
            let missing = browser
                .asks("POST", "localhost", path, &headers, "{}")
                .await;
            assert_eq!(missing.status, 400, "{path}: {missing:?}");
            assert_eq!(missing.json()["argument"], *first, "{path}");
        }
        let got = browser.asks("GET", "localhost", path, &[&token], "").await;
        match item.get("get") {
            None => assert_eq!((got.status, got.header("allow")), (405, "post"), "{path}"),
            Some(_) if !required.is_empty() => {
                assert_eq!(got.status, 400, "{path}: {got:?}");
                assert_eq!(got.json()["argument"], required[0], "{path}");
            }
            Some(_) => {
                assert!([200, 422].contains(&got.status), "{path}: {got:?}");
                asked += 1;
            }
        }
        if got.status != 200 {
            let error = got.json();
            let fields: BTreeSet<&str> = error
                .as_object()
                .expect("an object")
                .keys()
                .map(String::as_str)
                .collect();
            for name in ["status", "code", "kind", "message"] {
                assert!(fields.contains(name), "{path}: {error}");
            }
            assert_eq!(error["code"], got.status);
        }
    }
    assert!(asked > 5, "{asked} commands need nothing to tell something");
    house.stop().await;
}
