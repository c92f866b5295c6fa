//! All modules there are, of all crates that have some, in the order of their names.

use gen_mod::ModuleKind;

const OF_MODULES: &[ModuleKind] = modules::ALL;
const OF_WEB: &[ModuleKind] = web::ALL;

/// All modules.
pub(crate) static ALL: &[ModuleKind] = &MERGED;

static MERGED: [ModuleKind; OF_MODULES.len() + OF_WEB.len()] = {
    let mut all = [OF_MODULES[0]; OF_MODULES.len() + OF_WEB.len()];
    let (mut one, mut other) = (0, 0);
    while one + other < all.len() {
        let takes_one = other == OF_WEB.len()
            || (one < OF_MODULES.len() && is_before(OF_MODULES[one].name, OF_WEB[other].name));
        if takes_one {
            all[one + other] = OF_MODULES[one];
            one += 1;
        } else {
            all[one + other] = OF_WEB[other];
            other += 1;
        }
    }
    all
};

/// Compares names while compiling, where `<` is not to be had.
const fn is_before(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() {
        if one[at] != other[at] {
            return one[at] < other[at];
        }
        at += 1;
    }
    one.len() < other.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_there_once_and_in_order() {
        let names: Vec<&str> = ALL.iter().map(|kind| kind.name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
        assert!(names.contains(&"mod_host_meta") && names.contains(&"mod_ping"));
    }
}
