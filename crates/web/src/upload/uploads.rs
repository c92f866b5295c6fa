//! What the upload services of all hosts share: where the files lie, and which of them come in now.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use gen_mod::{Host, Installed, Registration, StartError};
use httpd::Path;
use parking_lot::{Mutex, RwLock};

use super::files::Files;
use super::service::Service;
use super::shelf::Shelf;
use crate::Web;

/// Lives as long as the HTTP server, so that what comes in outlasts a fall of the module.
pub(crate) struct Uploads {
    pub(crate) shelf: Shelf,
    services: RwLock<HashMap<Arc<str>, Arc<Service>>>,
    coming: Arc<Mutex<HashSet<String>>>,
    /// The paths that are served, and how many services have each.
    paths: Mutex<BTreeMap<String, usize>>,
}

impl Uploads {
    pub(crate) fn new(folder: PathBuf) -> Uploads {
        Uploads {
            shelf: Shelf::new(folder),
            services: RwLock::default(),
            coming: Arc::default(),
            paths: Mutex::default(),
        }
    }

    /// The service of a host, while its module runs.
    pub(crate) fn service(&self, host: &str) -> Option<Arc<Service>> {
        self.services.read().get(host).cloned()
    }

    /// Takes a slot to put a file into; `None` while another has it.
    pub(crate) fn claim(&self, id: &str) -> Option<Claim> {
        let is_free = self.coming.lock().insert(id.to_owned());
        is_free.then(|| Claim {
            coming: Arc::clone(&self.coming),
            id: id.to_owned(),
        })
    }

    /// Whether a file comes in now.
    pub(crate) fn is_coming(&self, id: &str) -> bool {
        self.coming.lock().contains(id)
    }

    /// As [`Uploads::is_coming`], for a thread that removes what is left.
    pub(crate) fn coming(&self) -> impl Fn(&str) -> bool + Send + 'static {
        let coming = Arc::clone(&self.coming);
        move |id| coming.lock().contains(id)
    }
}

/// The only right to put a file into a slot; given back when it is dropped.
pub(crate) struct Claim {
    coming: Arc<Mutex<HashSet<String>>>,
    id: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.coming.lock().remove(&self.id);
    }
}

/// A service, found by its host as long as its module runs, and the paths of its URLs. Services of several hosts may have
/// the same: it is there as long as one of them is.
pub(crate) struct Served {
    pub(crate) service: Arc<Service>,
    pub(crate) paths: BTreeSet<String>,
}

/// Where the paths stand in the table: with those of modules.
const PLACE: i32 = 100;

impl Registration for Served {
    fn install(self: Box<Self>, host: &Host) -> Result<Installed, StartError> {
        let Served { service, paths } = *self;
        let web = host.service::<Web>().clone();
        let name = Arc::clone(&host.name);
        let mut served = Vec::new();
        for path in paths {
            // Those before are taken back with what is dropped here.
            served.push(open(&web, path)?);
        }
        let services = &web.uploads().services;
        services.write().insert(Arc::clone(&name), service);
        let web = web.clone();
        Ok(Installed::new(move || {
            web.uploads().services.write().remove(&name);
            drop(served);
        }))
    }
}

/// Serves a path, if nobody does yet.
fn open(web: &Web, path: String) -> Result<Installed, StartError> {
    let owner = format!("mod_http_upload at {path}/");
    let mut open = web.uploads().paths.lock();
    let count = open.entry(path.clone()).or_default();
    if *count == 0 {
        let files = Path::to(format!("{path}/:id/:name"), Files(web.clone()));
        let hosts = vec![httpd::Host::any().path(files)];
        let added = web.routes().add(owner.clone(), PLACE, hosts);
        added.map_err(|error| StartError::Resource(error.to_string()))?;
    }
    *count += 1;
    drop(open);
    let web = web.clone();
    Ok(Installed::new(move || {
        let mut open = web.uploads().paths.lock();
        if let Some(count) = open.get_mut(&path) {
            *count -= 1;
            if *count == 0 {
                open.remove(&path);
                web.routes().remove(&owner);
            }
        }
    }))
}
