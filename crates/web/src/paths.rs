//! HTTP paths as a module's registration.

use gen_mod::{Host, Installed, Registration, StartError};

use crate::Web;

/// Paths that a module serves: found by requests from the module's start on, and by none after its end or fall.
/// A module has at most one such registration.
pub struct HttpPaths {
    module: &'static str,
    place: i32,
    hosts: Vec<httpd::Host>,
}

impl HttpPaths {
    /// What `module` serves. Its paths stand behind the server's own.
    #[must_use]
    pub fn new(module: &'static str, hosts: Vec<httpd::Host>) -> HttpPaths {
        HttpPaths {
            module,
            place: 100,
            hosts,
        }
    }

    /// What `module` serves under the name of its host alone.
    ///
    /// # Errors
    ///
    /// The host's name cannot be that of a site.
    pub fn of_host(
        module: &'static str,
        host: &Host,
        paths: Vec<httpd::Path>,
    ) -> Result<HttpPaths, StartError> {
        let name = &*host.name;
        let no_site = || StartError::Resource(format!("`{name}` cannot be the name of a site"));
        // Browsers ask for a name in its ASCII form.
        let ascii = idna::domain_to_ascii(name).map_err(|_| no_site())?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if !ascii.chars().all(is_plain) {
            return Err(no_site());
        }
        let mut site = httpd::Host::new(ascii);
        for path in paths {
            site = site.path(path);
        }
        Ok(HttpPaths::new(module, vec![site]))
    }
}

impl Registration for HttpPaths {
    fn install(self: Box<Self>, host: &Host) -> Result<Installed, StartError> {
        let routes = host.service::<Web>().routes().clone();
        let owner = format!("{} on {}", self.module, host.name);
        let added = routes.add(owner.clone(), self.place, self.hosts);
        added.map_err(|error| StartError::Resource(error.to_string()))?;
        Ok(Installed::new(move || {
            routes.remove(&owner);
        }))
    }
}
