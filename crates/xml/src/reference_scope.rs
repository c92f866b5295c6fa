//! Which prefix means which namespace, element by element.

use rxml::NcName;

use crate::{NS_XML, Namespace};

/// Declarations of the open elements, innermost last.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    bindings: Vec<Binding>,
}

#[derive(Debug)]
struct Binding {
    /// `None` declares the default namespace.
    prefix: Option<NcName>,
    namespace: Namespace,
    level: usize,
}

impl Scope {
    /// Adds a declaration made by the element at `level`; false when that element already made it.
    pub fn declare(&mut self, prefix: Option<NcName>, namespace: Namespace, level: usize) -> bool {
        let twice = self
            .bindings
            .iter()
            .rev()
            .take_while(|binding| binding.level == level)
            .any(|binding| binding.prefix == prefix);
        self.bindings.push(Binding {
            prefix,
            namespace,
            level,
        });
        !twice
    }

    /// Resolves a prefix: the namespace and the level of the element that declared it.
    pub fn resolve(&self, prefix: &str) -> Option<(Namespace, usize)> {
        if prefix == "xml" {
            return Some((Namespace::from_static(NS_XML), usize::MAX));
        }
        self.find(|declared| declared.is_some_and(|declared| declared == prefix))
    }

    /// Returns the default namespace and the level of the element that declared it (0: nobody).
    pub fn default_namespace(&self) -> (Namespace, usize) {
        self.find(|declared| declared.is_none())
            .unwrap_or((Namespace::NONE, 0))
    }

    fn find(&self, wanted: impl Fn(Option<&NcName>) -> bool) -> Option<(Namespace, usize)> {
        let binding = self
            .bindings
            .iter()
            .rev()
            .find(|binding| wanted(binding.prefix.as_ref()))?;
        Some((binding.namespace.clone(), binding.level))
    }

    /// Lists the declarations, outermost first.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&NcName>, &Namespace)> {
        self.bindings
            .iter()
            .map(|binding| (binding.prefix.as_ref(), &binding.namespace))
    }

    /// How many declarations are in scope.
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Forgets what elements deeper than the first `len` declarations said.
    pub fn truncate(&mut self, len: usize) {
        self.bindings.truncate(len);
    }

    /// Gives back the room for more than `kept` declarations that only a rare element needed.
    pub fn release(&mut self, kept: usize) {
        self.bindings.shrink_to(kept);
    }
}
