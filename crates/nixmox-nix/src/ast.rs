//! The syntax tree: one arena, so that neither a deep tree nor a cycle can overflow a stack when it is dropped.

use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use nixmox_tree::SecretString;
use zeroize::Zeroizing;

use crate::error::{Construct, Span};

/// A name, interned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sym(pub(crate) u32);

/// Text of a name; wiped, since a forgotten quote makes a secret a name.
#[derive(Clone, PartialEq, Eq)]
struct NameText(Rc<Zeroizing<String>>);

impl Hash for NameText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl Borrow<str> for NameText {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// All names of one evaluation.
#[derive(Default)]
pub(crate) struct Names {
    ids: HashMap<NameText, Sym>,
    texts: Vec<NameText>,
}

impl Names {
    pub(crate) fn intern(&mut self, text: &str) -> Sym {
        if let Some(known) = self.ids.get(text) {
            return *known;
        }
        let sym = Sym(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        let owned = NameText(Rc::new(Zeroizing::new(text.to_owned())));
        self.texts.push(owned.clone());
        self.ids.insert(owned, sym);
        sym
    }

    pub(crate) fn find(&self, text: &str) -> Option<Sym> {
        self.ids.get(text).copied()
    }

    pub(crate) fn text(&self, sym: Sym) -> &str {
        index(sym.0).and_then(|at| self.texts.get(at)).map_or("", Borrow::borrow)
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }
}

pub(crate) fn index(id: u32) -> Option<usize> {
    usize::try_from(id).ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ExprId(u32);

pub(crate) struct Node {
    pub(crate) expr: Expr,
    pub(crate) span: Span,
}

pub(crate) enum Expr {
    Int(i64),
    Float(f64),
    Str(SecretString),
    Var(Sym, Cell<Slot>),
    /// The parts of a text with interpolations.
    Text(Box<[ExprId]>),
    List(Box<[ExprId]>),
    Set(Bindings),
    Let(Bindings, ExprId),
    Lambda(Rc<Lambda>),
    Apply(ExprId, ExprId),
    Select {
        base: ExprId,
        path: Box<[Attr]>,
        default: Option<ExprId>,
    },
    HasAttr {
        base: ExprId,
        path: Box<[Attr]>,
    },
    If {
        condition: ExprId,
        yes: ExprId,
        no: ExprId,
    },
    With(ExprId, ExprId),
    Assert(ExprId, ExprId),
    Not(ExprId),
    Negate(ExprId),
    Binary(Op, ExprId, ExprId),
    /// Parsed, but refused as soon as its value is needed.
    Refused(Construct),
}

impl Expr {
    /// Moves the places that are not those of nodes.
    fn shift(&mut self, by: usize) {
        match self {
            Self::Set(bindings) | Self::Let(bindings, _) => {
                let dynamics = bindings.dynamics.iter_mut().map(|(_, binding)| binding);
                for binding in bindings.statics.values_mut().chain(dynamics) {
                    binding.span = binding.span.shifted(by);
                }
            }
            Self::Select { path, .. } | Self::HasAttr { path, .. } => {
                path.iter_mut().for_each(|attr| attr.span = attr.span.shifted(by));
            }
            Self::Lambda(lambda) => {
                let formals = Rc::get_mut(lambda).and_then(|lambda| lambda.formals.as_mut());
                for formal in formals.into_iter().flat_map(|formals| &mut formals.list) {
                    formal.span = formal.span.shifted(by);
                }
            }
            _ => {}
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Implies,
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    More,
    LessEqual,
    MoreEqual,
    Update,
    Add,
    Sub,
    Mul,
    Div,
    Concat,
}

/// Where a variable's value is; known after the scope pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Unknown,
    /// So many environments up, at this index.
    Local {
        up: u32,
        index: u32,
    },
    /// In one of the `with`s around.
    With,
    /// Defined by Nix itself.
    Global,
}

#[derive(Clone, Copy)]
pub(crate) struct Attr {
    pub(crate) name: AttrName,
    pub(crate) span: Span,
}

#[derive(Clone, Copy)]
pub(crate) enum AttrName {
    Static(Sym),
    Dynamic(ExprId),
}

#[derive(Default)]
pub(crate) struct Bindings {
    pub(crate) rec: bool,
    pub(crate) statics: BTreeMap<Sym, Binding>,
    pub(crate) dynamics: Vec<(ExprId, Binding)>,
}

#[derive(Clone, Copy)]
pub(crate) struct Binding {
    pub(crate) value: ExprId,
    /// The value is a variable of the scope around the set, not of the set itself.
    pub(crate) inherited: bool,
    /// The name's place.
    pub(crate) span: Span,
}

pub(crate) struct Lambda {
    pub(crate) name: Option<Sym>,
    pub(crate) formals: Option<Formals>,
    pub(crate) body: ExprId,
}

pub(crate) struct Formals {
    pub(crate) list: Vec<Formal>,
    pub(crate) open: bool,
}

pub(crate) struct Formal {
    pub(crate) name: Sym,
    pub(crate) span: Span,
    pub(crate) default: Option<ExprId>,
}

/// A set as it is written, for edits.
pub(crate) struct SetSyntax {
    pub(crate) set: ExprId,
    /// From `{` (or `rec`) to `}`.
    pub(crate) span: Span,
    /// The offset after `{`.
    pub(crate) open: usize,
    pub(crate) bindings: Vec<BindingSyntax>,
}

/// A binding as it is written.
pub(crate) struct BindingSyntax {
    /// From the first name to the `;`.
    pub(crate) span: Span,
    /// The names; those of an `inherit` are not a path.
    pub(crate) path: Vec<Attr>,
    /// The value and where it is written, with its parentheses; none for `inherit`.
    pub(crate) value: Option<(ExprId, Span)>,
}

/// One parsed text.
pub(crate) struct Ast {
    nodes: Vec<Node>,
    missing: Node,
    pub(crate) root: ExprId,
    /// Only kept when the parser was asked to.
    pub(crate) syntax: Vec<SetSyntax>,
}

impl Ast {
    pub(crate) fn new(capacity: usize) -> Self {
        let missing = Node { expr: Expr::Refused(Construct::Builtin), span: Span::default() };
        Self { nodes: Vec::with_capacity(capacity), missing, root: ExprId(0), syntax: Vec::new() }
    }

    pub(crate) fn add(&mut self, expr: Expr, span: Span) -> ExprId {
        let id = ExprId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node { expr, span });
        id
    }

    pub(crate) fn node(&self, id: ExprId) -> &Node {
        index(id.0).and_then(|at| self.nodes.get(at)).unwrap_or(&self.missing)
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Lists the nodes from the `first` one on, with their ids.
    pub(crate) fn nodes_from(&self, first: usize) -> impl Iterator<Item = (ExprId, &Node)> {
        let ids = (0..=u32::MAX).skip(first).map(ExprId);
        ids.zip(self.nodes.iter().skip(first))
    }

    /// Moves all places of the nodes from the `first` one on.
    pub(crate) fn shift(&mut self, first: usize, by: usize) {
        for node in self.nodes.iter_mut().skip(first) {
            node.span = node.span.shifted(by);
            node.expr.shift(by);
        }
    }

    pub(crate) fn span(&self, id: ExprId) -> Span {
        self.node(id).span
    }

    pub(crate) fn set_span(&mut self, id: ExprId, span: Span) {
        if let Some(node) = index(id.0).and_then(|at| self.nodes.get_mut(at)) {
            node.span = span;
        }
    }

    fn expr_mut(&mut self, id: ExprId) -> Option<&mut Expr> {
        index(id.0).and_then(|at| self.nodes.get_mut(at)).map(|node| &mut node.expr)
    }

    pub(crate) fn bindings_mut(&mut self, id: ExprId) -> Option<&mut Bindings> {
        match self.expr_mut(id) {
            Some(Expr::Set(bindings)) => Some(bindings),
            _ => None,
        }
    }
}
