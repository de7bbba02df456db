//! Nix's pure builtins, and the names of those that are refused.

mod lists;
mod numbers;
mod sets;
mod strings;

use crate::error::{Construct, Error, ErrorKind, Span};
use crate::machine::{Machine, ThunkId, V};

/// What a name of Nix itself stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    Null,
    Bool(bool),
    Builtins,
    Function(Builtin),
    Refused(Construct),
}

macro_rules! builtins {
    ($($variant:ident $name:literal $arity:literal $run:path;)*) => {
        /// A builtin function.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Builtin { $(#[doc = $name] $variant),* }

        impl Builtin {
            fn find(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            pub(crate) fn arity(self) -> usize {
                match self { $(Self::$variant => $arity),* }
            }
        }

        /// Runs a builtin on all its arguments.
        pub(crate) fn run(
            machine: &mut Machine<'_>,
            builtin: Builtin,
            thunks: &[ThunkId],
            span: Span,
        ) -> Result<V, Error> {
            let mut args = Args { machine, thunks, span };
            match builtin { $(Builtin::$variant => $run(&mut args)),* }
        }
    };
}

builtins! {
    Abort "abort" 1 abort;
    Add "add" 2 numbers::add;
    All "all" 2 lists::all;
    Any "any" 2 lists::any;
    AttrNames "attrNames" 1 sets::attr_names;
    AttrValues "attrValues" 1 sets::attr_values;
    BitAnd "bitAnd" 2 numbers::bit_and;
    BitOr "bitOr" 2 numbers::bit_or;
    BitXor "bitXor" 2 numbers::bit_xor;
    CatAttrs "catAttrs" 2 sets::cat_attrs;
    Ceil "ceil" 1 numbers::ceil;
    CompareVersions "compareVersions" 2 strings::compare_versions;
    ConcatLists "concatLists" 1 lists::concat_lists;
    ConcatMap "concatMap" 2 lists::concat_map;
    ConcatStringsSep "concatStringsSep" 2 strings::concat_strings_sep;
    DeepSeq "deepSeq" 2 deep_seq;
    Div "div" 2 numbers::div;
    Elem "elem" 2 lists::elem;
    ElemAt "elemAt" 2 lists::elem_at;
    Filter "filter" 2 lists::filter;
    Floor "floor" 1 numbers::floor;
    FoldlStrict "foldl'" 3 lists::foldl_strict;
    FromJson "fromJSON" 1 strings::from_json;
    FunctionArgs "functionArgs" 1 sets::function_args;
    GenList "genList" 2 lists::gen_list;
    GetAttr "getAttr" 2 sets::get_attr;
    GroupBy "groupBy" 2 sets::group_by;
    HasAttr "hasAttr" 2 sets::has_attr;
    HashString "hashString" 2 strings::hash_string;
    Head "head" 1 lists::head;
    IntersectAttrs "intersectAttrs" 2 sets::intersect_attrs;
    IsAttrs "isAttrs" 1 is_attrs;
    IsBool "isBool" 1 is_bool;
    IsFloat "isFloat" 1 is_float;
    IsFunction "isFunction" 1 is_function;
    IsInt "isInt" 1 is_int;
    IsList "isList" 1 is_list;
    IsNull "isNull" 1 is_null;
    IsPath "isPath" 1 is_path;
    IsString "isString" 1 is_string;
    Length "length" 1 lists::length;
    LessThan "lessThan" 2 numbers::less_than;
    ListToAttrs "listToAttrs" 1 sets::list_to_attrs;
    Map "map" 2 lists::map;
    MapAttrs "mapAttrs" 2 sets::map_attrs;
    Mul "mul" 2 numbers::mul;
    Partition "partition" 2 lists::partition;
    RemoveAttrs "removeAttrs" 2 sets::remove_attrs;
    ReplaceStrings "replaceStrings" 3 strings::replace_strings;
    Seq "seq" 2 seq;
    Sort "sort" 2 lists::sort;
    SplitVersion "splitVersion" 1 strings::split_version;
    StringLength "stringLength" 1 strings::string_length;
    Sub "sub" 2 numbers::sub;
    Substring "substring" 3 strings::substring;
    Tail "tail" 1 lists::tail;
    Throw "throw" 1 throw;
    ToJson "toJSON" 1 strings::to_json;
    ToString "toString" 1 strings::to_string;
    TryEval "tryEval" 1 try_eval;
    TypeOf "typeOf" 1 type_of;
    ZipAttrsWith "zipAttrsWith" 2 sets::zip_attrs_with;
}

/// Looks a name of the outermost scope up.
pub(crate) fn global(name: &str) -> Option<Global> {
    match name {
        "builtins" => Some(Global::Builtins),
        "true" | "false" | "null" | "abort" | "baseNameOf" | "break" | "derivation"
        | "derivationStrict" | "dirOf" | "fetchGit" | "fetchMercurial" | "fetchTarball"
        | "fetchTree" | "fromTOML" | "import" | "isNull" | "map" | "placeholder"
        | "removeAttrs" | "scopedImport" | "throw" | "toString" => Some(builtin(name)),
        _ => {
            let inner = name.strip_prefix("__")?;
            Builtin::find(inner).map(Global::Function)
        }
    }
}

/// Looks a name of `builtins` up; what is unknown is refused, since some Nix may have it.
pub(crate) fn builtin(name: &str) -> Global {
    if let Some(function) = Builtin::find(name) {
        return Global::Function(function);
    }
    Global::Refused(match name {
        "true" => return Global::Bool(true),
        "false" => return Global::Bool(false),
        "null" => return Global::Null,
        "builtins" => Construct::BuiltinsSet,
        "import" | "scopedImport" => Construct::Import,
        "readFile" | "readDir" | "readFileType" | "pathExists" | "hashFile" | "findFile"
        | "path" | "filterSource" => Construct::ReadFile,
        "derivation" | "derivationStrict" | "storePath" | "toFile" | "placeholder" | "storeDir"
        | "outputOf" | "toPath" => Construct::Store,
        "currentTime" | "currentSystem" | "getEnv" | "nixPath" | "nixVersion" | "langVersion"
        | "unsafeGetAttrPos" => Construct::Impure,
        "trace" | "traceVerbose" | "warn" | "break" | "addErrorContext" => Construct::Trace,
        "match" | "split" => Construct::Regex,
        fetch if fetch.starts_with("fetch") || fetch == "getFlake" => Construct::Fetch,
        _ => Construct::Builtin,
    })
}

/// The arguments of one call of a builtin.
pub(crate) struct Args<'m, 'a> {
    machine: &'m mut Machine<'a>,
    thunks: &'m [ThunkId],
    span: Span,
}

impl Args<'_, '_> {
    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, self.span)
    }

    fn thunk(&self, at: usize) -> Result<ThunkId, Error> {
        self.thunks.get(at).copied().ok_or(self.error(ErrorKind::MissingArgument))
    }

    fn force(&mut self, thunk: ThunkId) -> Result<V, Error> {
        self.machine.force(thunk, self.span)
    }

    fn value(&mut self, at: usize) -> Result<V, Error> {
        let thunk = self.thunk(at)?;
        self.force(thunk)
    }

    fn spend(&mut self, amount: usize) -> Result<(), Error> {
        self.machine.spend(amount, self.span)
    }

    fn call(&mut self, function: &V, argument: ThunkId) -> Result<V, Error> {
        self.machine.call(function.clone(), argument, self.span)
    }

    fn call_bool(&mut self, function: &V, argument: ThunkId) -> Result<bool, Error> {
        match self.call(function, argument)? {
            V::Bool(truth) => Ok(truth),
            other => Err(other.expected("a Boolean", self.span)),
        }
    }

    fn is(&mut self, fits: fn(&V) -> bool) -> Result<V, Error> {
        let value = self.value(0)?;
        Ok(V::Bool(fits(&value)))
    }
}

fn abort(args: &mut Args<'_, '_>) -> Result<V, Error> {
    fails(args, ErrorKind::Aborted)
}

fn throw(args: &mut Args<'_, '_>) -> Result<V, Error> {
    fails(args, ErrorKind::Thrown)
}

/// The message is evaluated, since that may fail in another way, and then forgotten.
fn fails(args: &mut Args<'_, '_>, kind: ErrorKind) -> Result<V, Error> {
    let message = args.value(0)?;
    args.machine.coerce(&message, false, args.span)?;
    Err(args.error(kind))
}

fn seq(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.value(0)?;
    args.value(1)
}

fn deep_seq(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let first = args.value(0)?;
    args.machine.force_all(&first, args.span)?;
    args.value(1)
}

fn try_eval(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let thunk = args.thunk(0)?;
    let (success, value) = match args.force(thunk) {
        Ok(_) => (true, thunk),
        Err(error) if error.is_catchable() => (false, args.machine.value(V::Bool(false))),
        Err(error) => return Err(error),
    };
    let success = args.machine.value(V::Bool(success));
    Ok(sets::of(args, &[("success", success), ("value", value)]))
}

fn type_of(args: &mut Args<'_, '_>) -> Result<V, Error> {
    Ok(V::str(match args.value(0)? {
        V::Null => "null",
        V::Bool(_) => "bool",
        V::Int(_) => "int",
        V::Float(_) => "float",
        V::Str(_) => "string",
        V::List(_) => "list",
        V::Set(_) | V::Builtins => "set",
        V::Lambda(..) | V::Builtin(..) => "lambda",
    }))
}

fn is_attrs(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.is(|v| matches!(v, V::Set(_) | V::Builtins))
}

fn is_bool(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.is(|v| matches!(v, V::Bool(_)))
}

fn is_float(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.is(|v| matches!(v, V::Float(_)))
}

fn is_function(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.is(|v| matches!(v, V::Lambda(..) | V::Builtin(..)))
}

fn is_int(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.is(|v| matches!(v, V::Int(_)))
}

fn is_list(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.is(|v| matches!(v, V::List(_)))
}

fn is_null(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.is(|v| matches!(v, V::Null))
}

fn is_path(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.is(|_| false)
}

fn is_string(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.is(|v| matches!(v, V::Str(_)))
}
