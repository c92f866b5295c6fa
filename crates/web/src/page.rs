//! What pages that are only read have in common.

use httpd::http::Method;
use httpd::{Error, Request};

/// Answers requests that are not one of these methods with 405 and says so; `false` for those.
///
/// # Errors
///
/// None but ours.
pub(crate) fn takes(req: &mut Request, methods: &[Method]) -> Result<bool, Error> {
    if methods.contains(req.method()) {
        return Ok(true);
    }
    let allow: Vec<&str> = methods.iter().map(Method::as_str).collect();
    req.reply(405, [("allow", allow.join(", "))], "")?;
    Ok(false)
}

/// As [`takes`], for what can only be read.
///
/// # Errors
///
/// None but ours.
pub(crate) fn is_read(req: &mut Request) -> Result<bool, Error> {
    takes(req, &[Method::GET, Method::HEAD])
}
