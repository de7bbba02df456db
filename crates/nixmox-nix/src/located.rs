//! Values that know where they are written, through `let`, `//`, `inherit` and imported files.

use std::collections::BTreeMap;

use nixmox_tree::SecretString;

use crate::ast::{Ast, Expr, ExprId, Names, Slot};
use crate::error::{Error, ErrorKind, Span};
use crate::json::DEPTH;
use crate::machine::{Imports, Machine, ThunkId, V};
use crate::{Limits, limited, on_own_stack, parse, scope};

/// The most files that one text may bring in.
pub const MAX_FILES: usize = 256;

/// A file that was read: the text itself, or one that it imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, as it was asked for.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// A range of one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which file.
    pub file: usize,
    /// Where in it.
    pub span: Span,
}

/// Plain data and where it is written.
#[derive(Debug, Clone)]
pub struct Located {
    /// The data.
    pub data: Data,
    /// The expression that is the value; none when a function computed it.
    pub place: Option<Place>,
}

/// Plain data.
#[derive(Debug, Clone)]
pub enum Data {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A text.
    String(SecretString),
    /// A list.
    List(Vec<Located>),
    /// A set, in byte order of its names.
    Set(Vec<LocatedAttr>),
}

/// An attribute of a set.
#[derive(Debug, Clone)]
pub struct LocatedAttr {
    /// Its name.
    pub name: String,
    /// Where the name is written; for a computed name, the call that computed it.
    pub name_place: Place,
    /// Its value.
    pub value: Located,
}

/// An error and the file it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct LocatedError {
    /// Which file.
    pub file: usize,
    /// What is wrong, and where in that file.
    pub error: Error,
}

/// Evaluates a text and the files it imports to plain data with the places of all of it.
///
/// `read` returns the text of an imported file, whose name is relative to the directory that `name` is relative to:
/// `import ../lib/net.nix` in `nixos/manifest.nix` asks for `lib/net.nix`. Only literal relative paths after
/// `import` are asked for, each once, and all of them before evaluation begins. What `read` does not have is an
/// error when it is needed.
///
/// The files are returned in any case, so that an error can be shown; places name them by their position.
///
/// # Errors
///
/// As [`crate::eval`], in one of the files.
pub fn eval_located(
    (name, text): (&str, &str),
    read: &(dyn Fn(&str) -> Option<String> + Sync),
    limits: &Limits,
) -> (Vec<File>, Result<Located, LocatedError>) {
    let first = File { name: name.to_owned(), text: text.to_owned() };
    let limits = match limited(text, limits) {
        Ok(limits) => limits,
        Err(error) => return (vec![first], Err(LocatedError { file: 0, error })),
    };
    let work = || Ok::<_, Error>(Loader::load(first.clone(), read, &limits).evaluate(&limits));
    match on_own_stack(limits.depth, work) {
        Ok(done) => done,
        Err(error) => (vec![first], Err(LocatedError { file: 0, error })),
    }
}

/// Reads files into one tree; their places follow each other as if they were one long text.
struct Loader<'r> {
    read: &'r (dyn Fn(&str) -> Option<String> + Sync),
    limits: Limits,
    files: Vec<File>,
    /// Where each file begins in the long text.
    starts: Vec<usize>,
    known: BTreeMap<String, usize>,
    ast: Ast,
    names: Names,
    imports: Imports,
}

impl<'r> Loader<'r> {
    fn load(
        first: File,
        read: &'r (dyn Fn(&str) -> Option<String> + Sync),
        limits: &Limits,
    ) -> Self {
        let mut loader = Self {
            read,
            limits: *limits,
            known: BTreeMap::from([(first.name.clone(), 0)]),
            files: vec![first],
            starts: vec![0],
            ast: Ast::new(1_024),
            names: Names::default(),
            imports: Imports::default(),
        };
        let mut next = 0;
        while next < loader.files.len() {
            loader.parse(next);
            next += 1;
        }
        loader
    }

    fn parse(&mut self, file: usize) {
        let (Some(source), Some(start)) = (self.files.get(file), self.starts.get(file).copied())
        else {
            return;
        };
        let first = self.ast.nodes().len();
        let options = parse::Options { depth: self.limits.depth, syntax: false };
        let ast = std::mem::replace(&mut self.ast, Ast::new(0));
        let (mut ast, parsed) = parse::append(ast, &source.text, &mut self.names, options);
        ast.shift(first, start);
        let moved = |error: Error| Error::new(error.kind(), error.span().shifted(start));
        let resolved = parsed
            .map_err(moved)
            .and_then(|()| scope::resolve(&ast, &self.names, self.limits.depth));
        self.imports.roots.push(resolved.map(|()| ast.root));
        self.ast = ast;
        if resolved.is_ok() {
            self.find_imports(file, first);
        }
    }

    /// Reads the files that literal paths after `import` mean.
    fn find_imports(&mut self, file: usize, first: usize) {
        let Some((source, start)) = self.files.get(file).zip(self.starts.get(file)) else { return };
        let name = source.name.clone();
        let mut wanted = Vec::new();
        for (_, node) in self.ast.nodes_from(first) {
            let Expr::Apply(function, argument) = &node.expr else { continue };
            let path = self.ast.span(*argument);
            let is_path = matches!(self.ast.node(*argument).expr, Expr::Refused(_));
            if !is_path || !self.is_import(*function) {
                continue;
            }
            let local = path.start() - start..path.end() - start;
            let Some(target) = source.text.get(local).and_then(|path| join(&name, path)) else {
                continue;
            };
            wanted.push((*argument, target));
        }
        for (argument, target) in wanted {
            if let Some(file) = self.file(target) {
                self.imports.targets.insert(argument, file);
            }
        }
    }

    fn is_import(&self, function: ExprId) -> bool {
        match &self.ast.node(function).expr {
            Expr::Var(name, slot) => {
                slot.get() == Slot::Global && self.names.text(*name) == "import"
            }
            Expr::Select { base, path, default: None } => {
                let Expr::Var(name, slot) = &self.ast.node(*base).expr else { return false };
                let global = slot.get() == Slot::Global && self.names.text(*name) == "builtins";
                let import = |attr: &crate::ast::Attr| match attr.name {
                    crate::ast::AttrName::Static(name) => self.names.text(name) == "import",
                    crate::ast::AttrName::Dynamic(_) => false,
                };
                global && path.len() == 1 && path.iter().all(import)
            }
            _ => false,
        }
    }

    fn file(&mut self, name: String) -> Option<usize> {
        if let Some(known) = self.known.get(&name) {
            return Some(*known);
        }
        if self.files.len() > MAX_FILES {
            return None;
        }
        let end = self.starts.last()? + self.files.last()?.text.len() + 1;
        let text = (self.read)(&name)?;
        if end.saturating_add(text.len()) > self.limits.bytes {
            return None;
        }
        let file = self.files.len();
        self.known.insert(name.clone(), file);
        self.files.push(File { name, text });
        self.starts.push(end);
        Some(file)
    }

    fn evaluate(self, limits: &Limits) -> (Vec<File>, Result<Located, LocatedError>) {
        let Self { files, starts, ast, names, imports, .. } = self;
        let place = Places { starts: &starts, files: &files };
        let root = imports.roots.first().copied();
        let result =
            root.unwrap_or(Err(Error::new(ErrorKind::TooDeep, Span::default()))).and_then(|root| {
                let mut machine = Machine::new(&ast, names, limits).with_imports(imports);
                machine.located_root(root, &place)
            });
        let result = result.map_err(|error| {
            let place = place.of(error.span());
            LocatedError { file: place.file, error: Error::new(error.kind(), place.span) }
        });
        (files, result)
    }
}

/// Joins a relative path to the directory of the file it is written in; none for other paths.
fn join(from: &str, path: &str) -> Option<String> {
    if !(path.starts_with("./") || path.starts_with("../")) {
        return None;
    }
    let directory = from.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    let root = if from.starts_with('/') { "/" } else { "" };
    Some(format!("{root}{}", parts.join("/")))
}

/// Finds the file of a place in the long text.
pub(crate) struct Places<'a> {
    starts: &'a [usize],
    files: &'a [File],
}

impl Places<'_> {
    pub(crate) fn of(&self, span: Span) -> Place {
        let file = self.starts.partition_point(|start| *start <= span.start()).saturating_sub(1);
        let start = self.starts.get(file).copied().unwrap_or(0);
        let length = self.files.get(file).map_or(0, |file| file.text.len());
        let local = |at: usize| at.saturating_sub(start).min(length);
        Place { file, span: Span::new(local(span.start()), local(span.end())) }
    }
}

impl Machine<'_> {
    fn located_root(&mut self, root: ExprId, places: &Places<'_>) -> Result<Located, Error> {
        let value = self.eval(root, crate::machine::EnvId::NONE)?;
        let span = self.written(root);
        self.located(&value, Some(span), span, (places, 0))
    }

    /// Evaluates everything in a value, as [`Machine::data`] does, and notes the places.
    fn located(
        &mut self,
        value: &V,
        origin: Option<Span>,
        span: Span,
        (places, depth): (&Places<'_>, usize),
    ) -> Result<Located, Error> {
        if depth > DEPTH {
            return Err(Error::new(ErrorKind::TooDeep, span));
        }
        let span = origin.unwrap_or(span);
        let data = self.deeper(span, |machine| match value {
            V::Null => Ok(Data::Null),
            V::Bool(truth) => Ok(Data::Bool(*truth)),
            V::Int(number) => Ok(Data::Int(*number)),
            V::Float(number) => Ok(Data::Float(*number)),
            V::Str(text) => Ok(Data::String(text.clone())),
            V::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items.iter() {
                    list.push(machine.located_thunk(*item, span, (places, depth))?);
                }
                Ok(Data::List(list))
            }
            V::Set(_) => machine.located_set(value, span, (places, depth)),
            V::Lambda(..) | V::Builtin(..) => Err(Error::new(ErrorKind::FunctionInData, span)),
            V::Builtins => Err(value.expected("", span)),
        })?;
        Ok(Located { data, place: origin.map(|span| places.of(span)) })
    }

    fn located_thunk(
        &mut self,
        thunk: ThunkId,
        span: Span,
        (places, depth): (&Places<'_>, usize),
    ) -> Result<Located, Error> {
        let value = self.force(thunk, span)?;
        let origin = self.origin(thunk);
        self.located(&value, origin, span, (places, depth + 1))
    }

    fn located_set(
        &mut self,
        value: &V,
        span: Span,
        (places, depth): (&Places<'_>, usize),
    ) -> Result<Data, Error> {
        let V::Set(set) = value else { return Ok(Data::Null) };
        if let Some(text) = self.set_to_string(value, false, span)? {
            return Ok(Data::String(text.into()));
        }
        if let Some(path) = self.names.find("outPath").and_then(|name| set.get(name)) {
            return Ok(self.located_thunk(path.thunk, path.span, (places, depth))?.data);
        }
        let mut attrs = Vec::with_capacity(set.len());
        for attr in set.attrs() {
            let value = self.located_thunk(attr.thunk, attr.span, (places, depth))?;
            let name = self.names.text(attr.name).to_owned();
            attrs.push(LocatedAttr { name, name_place: places.of(attr.span), value });
        }
        attrs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Data::Set(attrs))
    }
}

/// A binding as it is written: where its last name is, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// From the first name of the path on.
    pub path: Span,
    /// The last name.
    pub name: Span,
    /// The value; none for an inherited name.
    pub value: Option<Span>,
}

/// Lists all bindings of a text, in the order in which they end, and evaluates nothing.
///
/// # Errors
///
/// When the text is too long or too deep, or not Nix.
pub fn bindings(text: &str, limits: &Limits) -> Result<Vec<Binding>, Error> {
    let limits = limited(text, limits)?;
    on_own_stack(limits.depth, || {
        let options = parse::Options { depth: limits.depth, syntax: true };
        let ast = parse::parse(text, &mut Names::default(), options)?;
        let mut found = Vec::new();
        for binding in ast.syntax.iter().flat_map(|set| &set.bindings) {
            match (binding.value, binding.path.as_slice()) {
                (Some((_, value)), [first, ..]) => {
                    let last = binding.path.last().unwrap_or(first).span;
                    let path = first.span.to(last);
                    found.push(Binding { path, name: last, value: Some(value) });
                }
                (_, inherited) => found.extend(inherited.iter().map(|attr| Binding {
                    path: attr.span,
                    name: attr.span,
                    value: None,
                })),
            }
        }
        Ok(found)
    })
}
