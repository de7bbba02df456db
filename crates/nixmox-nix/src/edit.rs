//! Edits of a master's text that leave every other byte as it is.

mod layout;

use std::collections::HashMap;

use nixmox_tree::{SecretString, SecretTree, Value};
use zeroize::Zeroizing;

use crate::ast::{Ast, Attr, AttrName, BindingSyntax, Expr, ExprId, Names, SetSyntax};
use crate::error::{Error, Span};
use crate::parse::push_wiped;
use crate::print::{write_name, write_value};
use crate::{Limits, json, limited, on_own_stack, parse, scope};

/// Why a text was not edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The text cannot be read.
    #[error("the text is not valid Nix")]
    Text(#[source] Error),
    /// The edited text would not be valid.
    #[error("the edited text would not be valid Nix")]
    Result(#[source] Error),
    /// The path has no name.
    #[error("the path is empty")]
    EmptyPath,
    /// Nothing is defined at the path.
    #[error("attribute is missing")]
    Missing,
    /// What has the first `depth` names of the path is computed; only what is written as `{ … }` can be edited.
    #[error("attribute is computed, not written as a set")]
    Computed {
        /// How many names of the path lead there; 0 is the whole text.
        depth: usize,
        /// Where it is written.
        span: Span,
    },
    /// A plain value has the first `depth` names of the path.
    #[error("a value that is not a set is in the way")]
    InTheWay {
        /// How many names of the path lead there.
        depth: usize,
        /// Where it is written.
        span: Span,
    },
    /// The attribute comes from an `inherit`.
    #[error("attribute is inherited")]
    Inherited {
        /// How many names of the path lead there.
        depth: usize,
        /// Where it is written.
        span: Span,
    },
    /// A set on the path has a computed name, which may be the one that is meant.
    #[error("a computed name may define the same attribute")]
    ComputedName {
        /// Where it is written.
        span: Span,
    },
    /// The set is `rec` and the name is used as a variable: the edit would change what the variable means.
    #[error("the name is used as a variable")]
    NameInUse {
        /// Where the set is written.
        span: Span,
    },
    /// Nix cannot say the value: a text with a NUL, a float that is not finite, or data nested too deeply.
    #[error("the value cannot be written in Nix")]
    Unwritable,
}

impl From<Error> for EditError {
    fn from(error: Error) -> Self {
        Self::Text(error)
    }
}

/// Sets the value at a path, in the set where the path's names lead, and returns the new text.
///
/// An existing value is replaced, also one that is spread over several definitions; a new name is inserted into the
/// innermost set that exists, with the sets between. The text may be a set, or one behind `{ secrets, … }:`, `let`,
/// `with` and `assert`.
///
/// # Errors
///
/// [`EditError`]; the text is left alone then.
pub fn set(
    text: &str,
    path: &[&str],
    value: &Value,
    limits: &Limits,
) -> Result<SecretString, EditError> {
    if !is_writable(value, 0) || path.iter().any(|name| name.contains('\0')) {
        return Err(EditError::Unwritable);
    }
    edit(text, path, limits, |document, found| document.set(found, path, value))
}

/// Removes the value at a path and returns the new text; sets that become empty stay.
///
/// # Errors
///
/// [`EditError::Missing`] when there is nothing, else as [`set`].
pub fn unset(text: &str, path: &[&str], limits: &Limits) -> Result<SecretString, EditError> {
    edit(text, path, limits, |document, found| document.unset(found, path))
}

fn is_writable(value: &Value, depth: usize) -> bool {
    depth <= json::DEPTH
        && match value {
            Value::Null | Value::Bool(_) | Value::Int(_) => true,
            Value::Float(number) => number.is_normal() || **number == 0.0,
            Value::String(text) => !text.expose().contains('\0'),
            Value::List(items) => items.iter().all(|item| is_writable(item, depth + 1)),
            Value::Tree(tree) => {
                tree.iter().all(|(name, item)| !name.contains('\0') && is_writable(item, depth + 1))
            }
        }
}

/// A range of the text and what it becomes.
struct Change {
    from: usize,
    to: usize,
    text: Zeroizing<String>,
}

fn edit(
    text: &str,
    path: &[&str],
    limits: &Limits,
    plan: impl FnOnce(&Document<'_>, &Found<'_>) -> Result<Vec<Change>, EditError> + Send,
) -> Result<SecretString, EditError> {
    if path.is_empty() {
        return Err(EditError::EmptyPath);
    }
    let limits = limited(text, limits).map_err(EditError::Text)?;
    let options = parse::Options { depth: limits.depth, syntax: true };
    on_own_stack(limits.depth, move || {
        let mut names = Names::default();
        let ast = parse::parse(text, &mut names, options).map_err(EditError::Text)?;
        let document = Document::new(text, &ast, &names);
        let found = document.find(path)?;
        let edited = apply(text, plan(&document, &found)?);
        let mut names = Names::default();
        limited(&edited, &limits)
            .and_then(|limits| {
                let ast = parse::parse(&edited, &mut names, options)?;
                scope::resolve(&ast, &names, limits.depth)
            })
            .map_err(EditError::Result)?;
        Ok(SecretString::from(edited))
    })
}

fn apply(text: &str, mut changes: Vec<Change>) -> Zeroizing<String> {
    changes.sort_by_key(|change| change.from);
    let more: usize = changes.iter().map(|change| change.text.len()).sum();
    let mut out = Zeroizing::new(String::with_capacity(text.len() + more));
    let mut at = 0;
    for change in changes {
        push_wiped(&mut out, text.get(at..change.from).unwrap_or(""));
        push_wiped(&mut out, &change.text);
        at = at.max(change.to);
    }
    push_wiped(&mut out, text.get(at..).unwrap_or(""));
    out
}

struct Document<'a> {
    text: &'a str,
    ast: &'a Ast,
    names: &'a Names,
    sets: HashMap<ExprId, &'a SetSyntax>,
}

/// A set on the way, and how many names of the path lead to it.
#[derive(Clone, Copy)]
struct Home<'a> {
    set: &'a SetSyntax,
    depth: usize,
}

#[derive(Default)]
struct Found<'a> {
    /// The definitions of the path itself, or of something below it.
    definitions: Vec<(Home<'a>, &'a BindingSyntax)>,
    /// The sets that the path leads through; never empty.
    homes: Vec<Home<'a>>,
}

impl<'a> Document<'a> {
    fn new(text: &'a str, ast: &'a Ast, names: &'a Names) -> Self {
        let sets = ast.syntax.iter().map(|set| (set.set, set)).collect();
        Self { text, ast, names, sets }
    }

    fn find(&self, path: &[&str]) -> Result<Found<'a>, EditError> {
        let mut root = self.ast.root;
        let set = loop {
            root = match &self.ast.node(root).expr {
                Expr::Lambda(lambda) => lambda.body,
                Expr::Let(_, body) | Expr::With(_, body) | Expr::Assert(_, body) => *body,
                Expr::Set(_) => break self.sets.get(&root).copied(),
                _ => break None,
            };
        };
        let span = self.ast.span(root);
        let set = set.ok_or(EditError::Computed { depth: 0, span })?;
        let mut found = Found::default();
        self.collect(Home { set, depth: 0 }, path, &mut found)?;
        Ok(found)
    }

    fn name(&self, attr: Attr) -> Option<&str> {
        match attr.name {
            AttrName::Static(name) => Some(self.names.text(name)),
            AttrName::Dynamic(_) => None,
        }
    }

    /// Counts the names that a binding has in common with a path; a computed name may be any.
    fn common(&self, binding: &BindingSyntax, rest: &[&str]) -> Result<usize, EditError> {
        for (at, (attr, name)) in binding.path.iter().zip(rest).enumerate() {
            match self.name(*attr) {
                None => return Err(EditError::ComputedName { span: attr.span }),
                Some(own) if own != *name => return Ok(at),
                Some(_) => {}
            }
        }
        Ok(binding.path.len().min(rest.len()))
    }

    fn collect(
        &self,
        home: Home<'a>,
        path: &[&str],
        found: &mut Found<'a>,
    ) -> Result<(), EditError> {
        found.homes.push(home);
        let rest = path.get(home.depth..).unwrap_or(&[]);
        for binding in &home.set.bindings {
            let Some((value, span)) = binding.value else {
                let inherited = |attr: &&Attr| self.name(**attr) == rest.first().copied();
                if let Some(attr) = binding.path.iter().find(inherited) {
                    let depth = home.depth + 1;
                    return Err(EditError::Inherited { depth, span: attr.span });
                }
                continue;
            };
            let common = self.common(binding, rest)?;
            if common == rest.len() {
                found.definitions.push((home, binding));
            } else if common == binding.path.len() {
                let depth = home.depth + common;
                match self.sets.get(&value) {
                    Some(set) => self.collect(Home { set, depth }, path, found)?,
                    None => return Err(self.obstacle(value, depth, span)),
                }
            }
        }
        Ok(())
    }

    fn obstacle(&self, value: ExprId, depth: usize, span: Span) -> EditError {
        match &self.ast.node(value).expr {
            Expr::Int(_) | Expr::Float(_) | Expr::Str(_) | Expr::Text(_) | Expr::List(_) => {
                EditError::InTheWay { depth, span }
            }
            Expr::Var(name, _) if matches!(self.names.text(*name), "null" | "true" | "false") => {
                EditError::InTheWay { depth, span }
            }
            _ => EditError::Computed { depth, span },
        }
    }

    fn set(
        &self,
        found: &Found<'_>,
        path: &[&str],
        value: &Value,
    ) -> Result<Vec<Change>, EditError> {
        let exact = |(home, binding): &&(Home<'_>, &BindingSyntax)| {
            home.depth + binding.path.len() == path.len()
        };
        let kept = found.definitions.iter().find(exact).or(found.definitions.first());
        let Some((home, kept)) = kept else { return self.insert(found, path, value) };
        let rest = path.get(home.depth..).unwrap_or(&[]);
        let mut changes = self.remove_all(found, Some(kept));
        changes.push(self.redefine(kept, rest, value));
        Ok(changes)
    }

    fn unset(&self, found: &Found<'_>, path: &[&str]) -> Result<Vec<Change>, EditError> {
        let Some((home, first)) = found.definitions.first() else { return Err(EditError::Missing) };
        for (home, binding) in &found.definitions {
            let name = path.get(home.depth).copied().unwrap_or("");
            if binding.path.len() == 1 && path.len() == home.depth + 1 {
                self.check_free(home.set, name)?;
            }
        }
        let Some((_, above)) = path.split_last() else { return Err(EditError::EmptyPath) };
        if above.is_empty() || found.homes.iter().any(|home| home.depth == above.len()) {
            return Ok(self.remove_all(found, None));
        }
        // The set above exists only through dotted names: when the last of them goes, it is written out.
        let around = self.find(above)?;
        if around.definitions.len() > found.definitions.len() {
            return Ok(self.remove_all(found, None));
        }
        let mut changes = self.remove_all(found, Some(first));
        let rest = above.get(home.depth..).unwrap_or(&[]);
        changes.push(self.redefine(first, rest, &SecretTree::new().into()));
        Ok(changes)
    }

    fn remove_all(&self, found: &Found<'_>, but: Option<&BindingSyntax>) -> Vec<Change> {
        let gone = found
            .definitions
            .iter()
            .filter(|(_, binding)| but.is_none_or(|kept| kept.span != binding.span));
        gone.map(|(_, binding)| layout::removal(self.text, binding.span)).collect()
    }

    /// Gives a binding another value, and another name when its own is longer than the path.
    fn redefine(&self, binding: &BindingSyntax, rest: &[&str], value: &Value) -> Change {
        let span = binding.value.map_or(binding.span, |(_, span)| span);
        let mut text = Zeroizing::new(String::new());
        let mut from = span.start();
        if binding.path.len() != rest.len() {
            from = binding.span.start();
            write_path(rest, &mut text);
            push_wiped(&mut text, " = ");
        }
        let indent = layout::indent(self.text, binding.span.start());
        write_value(value, indent, false, &mut text);
        Change { from, to: span.end(), text }
    }

    fn insert(
        &self,
        found: &Found<'_>,
        path: &[&str],
        value: &Value,
    ) -> Result<Vec<Change>, EditError> {
        let home = found.homes.iter().max_by_key(|home| home.depth);
        let Some(home) = home else { return Err(EditError::EmptyPath) };
        let rest = path.get(home.depth..).unwrap_or(&[]);
        let mut anchor = None;
        let mut most = 0;
        for binding in home.set.bindings.iter().filter(|binding| binding.value.is_some()) {
            let common = self.common(binding, rest)?;
            if common > 0 && common >= most {
                (anchor, most) = (Some(binding), common);
            }
        }
        let (Some((first, below)), true) = (rest.split_first(), most == 0) else {
            // The first names are dotted names already: the new one joins them.
            return Ok(vec![layout::insertion(self.text, home.set, anchor, (rest, value))]);
        };
        self.check_free(home.set, first)?;
        let nested = below.iter().rev().fold(value.clone(), |value, name| {
            Value::Tree([((*name).to_owned(), value)].into_iter().collect())
        });
        Ok(vec![layout::insertion(self.text, home.set, None, (&[first], &nested))])
    }

    /// In a `rec` set, a name that comes or goes must not be a variable somewhere.
    fn check_free(&self, set: &SetSyntax, name: &str) -> Result<(), EditError> {
        let rec = matches!(&self.ast.node(set.set).expr, Expr::Set(bindings) if bindings.rec);
        let used =
            |expr: &Expr| matches!(expr, Expr::Var(used, _) if self.names.text(*used) == name);
        if rec && self.ast.nodes().iter().any(|node| used(&node.expr)) {
            return Err(EditError::NameInUse { span: set.span });
        }
        Ok(())
    }
}

fn write_path(path: &[&str], out: &mut Zeroizing<String>) {
    for (at, name) in path.iter().enumerate() {
        push_wiped(out, if at > 0 { "." } else { "" });
        write_name(name, out);
    }
}
