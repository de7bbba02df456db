//! Random expressions: mostly well typed, so that most have a value, and sometimes not.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    Int,
    Float,
    Bool,
    Str,
    Ints,
    Strs,
    /// A set whose values are integers.
    Set,
    /// A set of anything.
    Mixed,
    /// A function from integer to integer.
    Fun,
    Null,
}

/// The types that most sets hold.
const DATA: [Type; 8] =
    [Type::Int, Type::Float, Type::Bool, Type::Str, Type::Ints, Type::Strs, Type::Set, Type::Mixed];

const TYPES: [Type; 10] = [
    Type::Int,
    Type::Float,
    Type::Bool,
    Type::Str,
    Type::Ints,
    Type::Strs,
    Type::Set,
    Type::Mixed,
    Type::Fun,
    Type::Null,
];

pub(crate) struct Generator {
    state: u64,
    scope: Vec<(String, Type)>,
    fresh: usize,
    /// How often, in a thousand, a type is wrong on purpose.
    wrong: u64,
}

const NAMES: [&str; 8] = ["a", "b", "c", "x-y", "f'", "_z", "or", "ä b"];

impl Generator {
    pub(crate) fn new(seed: u64, wrong: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            scope: Vec::new(),
            fresh: 0,
            wrong,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % bound
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let bound = u64::try_from(from.len()).expect("a short list");
        let at = usize::try_from(self.below(bound)).expect("a small number");
        from.get(at).expect("in range").clone()
    }

    /// Makes one expression of any type.
    pub(crate) fn any(&mut self, fuel: u64) -> String {
        let ty = self.pick(&TYPES);
        let expr = self.expr(ty, fuel);
        if ty == Type::Fun { format!("({expr}) 3") } else { expr }
    }

    fn expr(&mut self, ty: Type, fuel: u64) -> String {
        if self.below(1000) < self.wrong {
            let other = self.pick(&TYPES);
            return self.shape(other, fuel / 2);
        }
        let known: Vec<String> =
            self.scope.iter().filter(|v| v.1 == ty).map(|v| v.0.clone()).collect();
        if !known.is_empty() && self.below(3) == 0 {
            return self.pick(&known.iter().map(String::as_str).collect::<Vec<_>>()).to_owned();
        }
        if fuel == 0 {
            return self.leaf(ty);
        }
        match self.below(10) {
            0 => self.wrapped(ty, fuel - 1),
            1 => self.leaf(ty),
            _ => self.shape(ty, fuel - 1),
        }
    }

    /// An expression that stands as an argument.
    fn arg(&mut self, ty: Type, fuel: u64) -> String {
        format!("({})", self.expr(ty, fuel))
    }

    #[expect(clippy::too_many_lines, reason = "a table")]
    fn leaf(&mut self, ty: Type) -> String {
        match ty {
            Type::Int => self
                .pick(&[
                    "0",
                    "1",
                    "2",
                    "7",
                    "42",
                    "007",
                    "3",
                    "4",
                    "5",
                    "10",
                    "64",
                    "255",
                    "1000000007",
                    "9223372036854775807",
                ])
                .into(),
            Type::Float => self
                .pick(&["0.5", "1.0", "2.25", ".5", "3.", "1.5e3", "0.1", "12.5e-2", "100000.0"])
                .into(),
            Type::Bool => self.pick(&["true", "false"]).into(),
            Type::Null => "null".into(),
            Type::Str => self.text_leaf(),
            Type::Ints => self.pick(&["[ ]", "[ 1 ]", "[ 3 1 2 ]", "[ 5 5 (-1) ]"]).into(),
            Type::Strs => self
                .pick(&[
                    "[ ]",
                    "[ \"a\" ]",
                    "[ \"b\" \"\" \"a\" ]",
                    "[ \"x\" ''y'' http://e.org/a?b=c ]",
                ])
                .into(),
            Type::Set => self
                .pick(&[
                    "{ }",
                    "{ a = 1; }",
                    "rec { a = 2; b = a; }",
                    "{ b = 1; a = 3; \"ä b\" = 2; }",
                    "{ a = 4; x-y = 5; or = 6; }",
                ])
                .into(),
            Type::Mixed => self
                .pick(&[
                    "{ a.b = 1; a.c = \"x\"; }",
                    "{ a = { b = [ ]; }; a.c = null; }",
                    "{ outPath = \"p\"; a = 1; }",
                    "{ __toString = s: \"s${s.a}\"; a = \"q\"; }",
                ])
                .into(),
            Type::Fun => self
                .pick(&[
                    "x: x",
                    "n: n + 1",
                    "builtins.add 2",
                    "{ __functor = s: n: n; }",
                    "x: 3",
                    "builtins.bitAnd 5",
                ])
                .into(),
        }
    }

    fn text_leaf(&mut self) -> String {
        if self.below(2) == 0 {
            return self
                .pick(&[
                    r#""""#,
                    r#""a""#,
                    r#""abc""#,
                    r#""a\"b\\c""#,
                    r#""\n\t\r\q""#,
                    r#""$ $$ $${x} \${y} $""#,
                    r#""ü€😀""#,
                    r#""1.2.3-pre4""#,
                    r#""x' ''y''""#,
                    "\"two\n  lines\"",
                    "http://x.org/~a?b#",
                    "a:b",
                    r#""a$\{""#,
                    r#""$\"""#,
                ])
                .to_owned();
        }
        self.indented(0)
    }

    /// An indented string of random lines: where Nix is most particular.
    fn indented(&mut self, fuel: u64) -> String {
        let mut out = String::from("''");
        for _ in 0..self.below(9) {
            let piece = self.pick(&[
                "\n", "\n  ", "\n    ", " ", "  ", "a", "b c", "$", "$$", "''$", "'''", "''\\n",
                "''\\t", "''\\x", "' ", "'a", "\t", "\n\n", "#no", "\"", "\\", "''${", "$${", "{",
                "''\\ ", "${", "''\\\n", "é", "''\\${",
            ]);
            if piece == "${" {
                out.push_str(&format!("${{{}}}", self.expr(Type::Str, fuel)));
            } else {
                out.push_str(piece);
            }
        }
        // A quote or a dollar before the end would join it.
        if out.len() > 2 && out.ends_with(['\'', '$']) {
            out.push('.');
        }
        out.push_str("''");
        out
    }

    fn name(&mut self) -> &'static str {
        self.pick(&NAMES)
    }

    fn attr(&mut self, fuel: u64) -> String {
        let name = self.name();
        match self.below(6) {
            0 => format!("${{{}}}", self.expr(Type::Str, fuel.min(1))),
            1 => format!("\"{name}\""),
            2 => format!("${{\"{name}\"}}"),
            _ if name.contains(' ') => format!("\"{name}\""),
            _ => name.to_owned(),
        }
    }

    /// A new variable's name; sometimes one that is taken, to shadow it.
    fn variable(&mut self) -> String {
        self.fresh += 1;
        match self.below(5) {
            0 => self.pick(&["a", "b", "map", "_z", "f'"]).to_owned(),
            _ => format!("v{}", self.fresh),
        }
    }

    fn scoped<T>(&mut self, vars: Vec<(String, Type)>, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.scope.clone();
        self.scope.retain(|old| vars.iter().all(|new| new.0 != old.0));
        self.scope.extend(vars);
        let result = work(self);
        self.scope = before;
        result
    }

    /// Something around an expression that leaves its type.
    fn wrapped(&mut self, ty: Type, fuel: u64) -> String {
        let (one, two) = (self.variable(), self.variable());
        let other = self.pick(&TYPES);
        match self.below(16) {
            0 => {
                let value = self.expr(other, fuel / 2);
                let body = self.scoped(vec![(one.clone(), other)], |g| g.expr(ty, fuel));
                format!("let {one} = {value}; in {body}")
            }
            1 => format!(
                "if {} then {} else {}",
                self.expr(Type::Bool, fuel / 2),
                self.expr(ty, fuel),
                self.expr(ty, fuel)
            ),
            2 => format!("assert {}; {}", self.expr(Type::Bool, fuel / 2), self.expr(ty, fuel)),
            3 => {
                let value = self.arg(ty, fuel);
                format!("with {{ {one} = {value}; b = 1; }}; {one}")
            }
            4 => {
                let value = self.arg(other, fuel / 2);
                let body = self.scoped(vec![(one.clone(), other)], |g| g.expr(ty, fuel));
                format!("({one}: {body}) {value}")
            }
            5 if one != two => {
                let value = self.arg(other, fuel / 2);
                let default = self.expr(ty, fuel / 2);
                let open = self.pick(&["", ", ..."]);
                let vars = vec![(one.clone(), other), (two.clone(), ty)];
                let body = self.scoped(vars, |g| g.expr(ty, fuel));
                let all = self.pick(&["", "@args"]);
                let extra = self.pick(&["", "", "extra = 1; ", "other = 2; "]);
                format!(
                    "({{ {one}, {two} ? {default}{open} }}{all}: {body}) {{ {extra}{one} = {value}; }}"
                )
            }
            6 => format!("{{ r = {}; }}.r", self.expr(ty, fuel)),
            7 => format!("{{ r = {}; }}.q or {}", self.expr(other, fuel / 2), self.arg(ty, fuel)),
            8 => format!("builtins.seq {} {}", self.arg(other, fuel / 2), self.arg(ty, fuel)),
            9 => format!("builtins.deepSeq {} {}", self.arg(other, fuel / 2), self.arg(ty, fuel)),
            10 => format!(
                "builtins.head ([ {} ] ++ [ {} ])",
                self.arg(ty, fuel),
                self.arg(other, fuel / 2)
            ),
            11 => format!("(builtins.tryEval {}).value", self.arg(ty, fuel)),
            12 => format!(
                "builtins.elemAt [ {} {} ] {}",
                self.arg(other, 0),
                self.arg(ty, fuel),
                self.pick(&["1", "1", "1", "2"])
            ),
            13 => {
                let set = format!("rec {{ {one} = {}; q.{one} = {one}; }}", self.arg(ty, fuel));
                format!("({set}).q.{one}")
            }
            14 => format!("let inherit ({{ {one} = {}; }}) {one}; in {one}", self.arg(ty, fuel)),
            _ => format!("/* c */ ({}) # end\n", self.expr(ty, fuel)),
        }
    }

    fn shape(&mut self, ty: Type, fuel: u64) -> String {
        match ty {
            Type::Int => self.int(fuel),
            Type::Float => self.float(fuel),
            Type::Bool => self.bool(fuel),
            Type::Str => self.str(fuel),
            Type::Ints => self.ints(fuel),
            Type::Strs => self.strs(fuel),
            Type::Set => self.set(fuel),
            Type::Mixed => self.mixed(fuel),
            Type::Fun => self.fun(fuel),
            Type::Null => self
                .pick(&["null", "(null)", "if null == null then null else 1", "builtins.null"])
                .into(),
        }
    }

    fn int(&mut self, fuel: u64) -> String {
        let small = fuel / 2;
        match self.below(24) {
            0..=2 => format!("{} + {}", self.arg(Type::Int, fuel), self.arg(Type::Int, fuel)),
            3 => format!("{} - {}", self.expr(Type::Int, 0), self.arg(Type::Int, fuel)),
            4 => format!("{} * {}", self.arg(Type::Int, small), self.pick(&["2", "(-3)", "0"])),
            5 => format!("{} / {}", self.arg(Type::Int, fuel), self.arg(Type::Int, small)),
            6 => format!("-{}", self.arg(Type::Int, fuel)),
            7 => format!("builtins.length {}", self.arg(Type::Ints, fuel)),
            8 => format!("builtins.stringLength {}", self.arg(Type::Str, fuel)),
            9 => format!(
                "builtins.foldl' (x: y: x + y) {} {}",
                self.arg(Type::Int, small),
                self.arg(Type::Ints, fuel)
            ),
            10 => format!("{}.{}", self.arg(Type::Set, fuel), self.attr(0)),
            11 => format!(
                "{}.{} or {}",
                self.arg(Type::Set, fuel),
                self.attr(0),
                self.arg(Type::Int, small)
            ),
            12 => format!("{} {}", self.arg(Type::Fun, fuel), self.arg(Type::Int, small)),
            13 => format!(
                "builtins.{} {} {}",
                self.pick(&["bitAnd", "bitOr", "bitXor", "sub", "mul", "div", "add"]),
                self.arg(Type::Int, small),
                self.arg(Type::Int, small)
            ),
            14 => format!(
                "builtins.{} {}",
                self.pick(&["floor", "ceil"]),
                self.arg(Type::Float, fuel)
            ),
            15 => format!("builtins.compareVersions {} {}", self.version(), self.version()),
            16 => format!("builtins.head {}", self.arg(Type::Ints, fuel)),
            17 => format!(
                "builtins.elemAt {} {}",
                self.arg(Type::Ints, fuel),
                self.pick(&["0", "1", "2", "(-1)"])
            ),
            18 => {
                format!("builtins.getAttr {} {}", self.arg(Type::Str, 0), self.arg(Type::Set, fuel))
            }
            19 => format!(
                "builtins.fromJSON {}",
                self.pick(&[
                    "\"12\"", "\" -3 \"", "\"1 2\"", "\"{}\"", "\"0x1\"", "\"-0\"", "\"01\""
                ])
            ),
            20 => format!(
                "let f = n: if n < 1 then 0 else n + f (n - 1); in f {}",
                self.pick(&["3", "10", "0"])
            ),
            21 => {
                format!("2 + {} * 3 - {}", self.arg(Type::Int, small), self.arg(Type::Int, small))
            }
            22 => format!("with builtins; length {}", self.arg(Type::Strs, small)),
            _ => format!("__sub {} {}", self.arg(Type::Int, small), self.arg(Type::Int, small)),
        }
    }

    fn float(&mut self, fuel: u64) -> String {
        let small = fuel / 2;
        match self.below(7) {
            0 => format!("{} + {}", self.arg(Type::Float, fuel), self.arg(Type::Int, small)),
            1 => format!("{} + {}", self.arg(Type::Int, small), self.arg(Type::Float, fuel)),
            2 => format!("{} * {}", self.arg(Type::Float, fuel), self.arg(Type::Float, small)),
            3 => format!("{} / {}", self.arg(Type::Float, fuel), self.arg(Type::Int, small)),
            4 => format!("-{}", self.arg(Type::Float, fuel)),
            5 => format!("{} - {}", self.arg(Type::Float, fuel), self.arg(Type::Float, small)),
            _ => format!(
                "builtins.fromJSON {}",
                self.pick(&["\"1.5\"", "\"-2.5e2\"", "\"1.\"", "\".5\"", "\"1e3\""])
            ),
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table")]
    fn bool(&mut self, fuel: u64) -> String {
        let small = fuel / 2;
        let ty = self.pick(&TYPES);
        match self.below(20) {
            0 => format!("{} == {}", self.arg(ty, fuel), self.arg(ty, small)),
            1 => format!("{} != {}", self.arg(Type::Mixed, small), self.arg(ty, fuel)),
            2 => {
                let ty = self.pick(&[Type::Int, Type::Float, Type::Str, Type::Ints, Type::Strs]);
                format!(
                    "{} {} {}",
                    self.arg(ty, fuel),
                    self.pick(&["<", "<=", ">", ">="]),
                    self.arg(ty, fuel)
                )
            }
            3 => format!("{} < {}", self.arg(Type::Int, small), self.arg(Type::Float, small)),
            4 => format!("{} && {}", self.arg(Type::Bool, fuel), self.arg(Type::Bool, fuel)),
            5 => format!("{} || {}", self.arg(Type::Bool, fuel), self.arg(Type::Bool, fuel)),
            6 => format!("{} -> {}", self.arg(Type::Bool, small), self.arg(Type::Bool, fuel)),
            7 => format!("!{}", self.arg(Type::Bool, fuel)),
            8 => format!("{} ? {}", self.arg(Type::Set, fuel), self.attr(0)),
            9 => format!("{} ? {}.{}", self.arg(Type::Mixed, fuel), self.attr(0), self.attr(0)),
            10 => {
                format!("builtins.hasAttr {} {}", self.arg(Type::Str, 0), self.arg(Type::Set, fuel))
            }
            11 => format!(
                "builtins.{} (n: n > 1) {}",
                self.pick(&["all", "any"]),
                self.arg(Type::Ints, fuel)
            ),
            12 => format!(
                "builtins.elem {} {}",
                self.arg(Type::Int, small),
                self.arg(Type::Ints, fuel)
            ),
            13 => format!(
                "builtins.{} {}",
                self.pick(&[
                    "isInt",
                    "isFloat",
                    "isString",
                    "isBool",
                    "isNull",
                    "isList",
                    "isAttrs",
                    "isFunction",
                    "isPath"
                ]),
                self.arg(ty, fuel)
            ),
            14 => format!("(builtins.tryEval {}).success", self.arg(ty, fuel)),
            15 => format!("(builtins.tryEval (throw {})).success", self.arg(Type::Str, small)),
            16 => format!("!{} == {}", self.arg(Type::Bool, small), self.arg(Type::Bool, small)),
            17 => format!(
                "builtins.lessThan {} {}",
                self.arg(Type::Int, small),
                self.arg(Type::Int, small)
            ),
            18 => format!(
                "1 + {} == {} * 2 || {}",
                self.arg(Type::Int, small),
                self.arg(Type::Int, small),
                self.arg(Type::Bool, small)
            ),
            _ => format!("isNull {}", self.arg(ty, small)),
        }
    }

    fn version(&mut self) -> &'static str {
        self.pick(&[
            "\"1.2\"",
            "\"1.2.3\"",
            "\"1.2pre\"",
            "\"1.2-rc1\"",
            "\"\"",
            "\"1..2\"",
            "\"a1b\"",
            "\"1.10\"",
            "\"1.2pre3\"",
            "\"-\"",
            "\"2.a\"",
        ])
    }

    fn str(&mut self, fuel: u64) -> String {
        let small = fuel / 2;
        let ty = self.pick(&TYPES);
        match self.below(22) {
            0 => format!("\"p ${{{}}} s\"", self.expr(Type::Str, fuel)),
            1 => format!("\"${{{}}}\"", self.expr(Type::Str, fuel)),
            2 => self.indented(fuel),
            3 => format!("{} + {}", self.arg(Type::Str, fuel), self.arg(Type::Str, fuel)),
            4 => format!("toString {}", self.arg(ty, fuel)),
            5 => format!("builtins.concatStringsSep {} {}", self.arg(Type::Str, small), self.arg(Type::Strs, fuel)),
            6 => format!("builtins.substring {} {} {}", self.pick(&["0", "1", "2", "9", "(-1)"]), self.pick(&["0", "1", "3", "(-1)"]), self.arg(Type::Str, fuel)),
            7 => format!("builtins.replaceStrings [ \"a\" {} ] [ \"<\" {} ] {}", self.arg(Type::Str, 0), self.arg(Type::Str, 0), self.arg(Type::Str, fuel)),
            8 if ty != Type::Float => format!("builtins.toJSON {}", self.arg(ty, fuel)),
            9 => format!("builtins.typeOf {}", self.arg(ty, fuel)),
            10 => format!("builtins.hashString {} {}", self.pick(&["\"sha256\"", "\"sha512\"", "\"sha256\"", "\"nohash\""]), self.arg(Type::Str, fuel)),
            11 => format!("\"${{{}}}\"", self.expr(Type::Mixed, fuel)),
            12 => format!("{{ outPath = {}; }} + \"/x\"", self.expr(Type::Str, small)),
            13 => format!("builtins.head {}", self.arg(Type::Strs, fuel)),
            14 => format!("throw {}", self.arg(Type::Str, 0)),
            15 => format!("toString [ 1 [ ] {} null true ]", self.arg(ty, small)),
            16 => format!("builtins.concatStringsSep \",\" (map toString {})", self.arg(Type::Ints, fuel)),
            17 => format!("''\n    x ${{{}}}\n  y\n  ''", self.expr(Type::Str, small)),
            18 => "builtins.toJSON (builtins.fromJSON ''{\"b\": [1, null, true, {\"a\": \"x\\u00e4\\n\"}], \"a\": {}}'')".to_owned(),
            19 => format!("\"a\" + {}", self.arg(Type::Mixed, small)),
            20 => format!("builtins.replaceStrings [ \"\" ] [ \"-\" ] {}", self.arg(Type::Str, small)),
            _ => format!("builtins.substring {} 2 {}", self.arg(Type::Int, 0), self.arg(Type::Str, small)),
        }
    }

    fn ints(&mut self, fuel: u64) -> String {
        let small = fuel / 2;
        match self.below(17) {
            0 => format!("[ {} {} ]", self.arg(Type::Int, fuel), self.arg(Type::Int, fuel)),
            1 => format!("{} ++ {}", self.arg(Type::Ints, fuel), self.arg(Type::Ints, fuel)),
            2 => format!("map {} {}", self.arg(Type::Fun, fuel), self.arg(Type::Ints, fuel)),
            3 => format!(
                "builtins.filter (n: n > {}) {}",
                self.arg(Type::Int, small),
                self.arg(Type::Ints, fuel)
            ),
            4 => format!(
                "builtins.genList {} {}",
                self.arg(Type::Fun, small),
                self.pick(&["0", "1", "4", "(-1)"])
            ),
            5 => format!("builtins.sort builtins.lessThan {}", self.arg(Type::Ints, fuel)),
            6 => format!(
                "builtins.sort (p: q: {}) {}",
                self.pick(&["p > q", "p < q", "p / 2 < q / 2", "true", "p <= q", "p", "p == 1"]),
                self.arg(Type::Ints, fuel)
            ),
            7 => format!(
                "builtins.concatLists [ {} {} ]",
                self.arg(Type::Ints, small),
                self.arg(Type::Ints, small)
            ),
            8 => format!(
                "builtins.concatMap (n: [ n {} ]) {}",
                self.arg(Type::Int, small),
                self.arg(Type::Ints, fuel)
            ),
            9 => format!("builtins.tail {}", self.arg(Type::Ints, fuel)),
            10 => format!("builtins.attrValues {}", self.arg(Type::Set, fuel)),
            11 => format!(
                "builtins.catAttrs {} [ {} {} ]",
                self.arg(Type::Str, 0),
                self.arg(Type::Set, small),
                self.arg(Type::Set, small)
            ),
            12 => format!(
                "(builtins.partition (n: n > 2) {}).{}",
                self.arg(Type::Ints, fuel),
                self.pick(&["right", "wrong"])
            ),
            13 => format!(
                "builtins.concatLists (builtins.attrValues (builtins.groupBy (n: if n > 1 then \"hi\" else \"lo\") {}))",
                self.arg(Type::Ints, fuel)
            ),
            14 => format!("[ 1 ] ++ {} ++ [ 2 ]", self.arg(Type::Ints, small)),
            15 => format!(
                "builtins.attrValues (builtins.zipAttrsWith (n: vs: builtins.foldl' builtins.add 0 vs) [ {} {} ])",
                self.arg(Type::Set, small),
                self.arg(Type::Set, small)
            ),
            _ => format!("builtins.filter builtins.isInt [ 1 {} ]", self.arg(Type::Str, small)),
        }
    }

    fn strs(&mut self, fuel: u64) -> String {
        let small = fuel / 2;
        match self.below(9) {
            0 => format!("[ {} {} ]", self.arg(Type::Str, fuel), self.arg(Type::Str, fuel)),
            1 => format!("{} ++ {}", self.arg(Type::Strs, fuel), self.arg(Type::Strs, fuel)),
            2 => format!("builtins.attrNames {}", self.arg(Type::Set, fuel)),
            3 => format!("builtins.attrNames {}", self.arg(Type::Mixed, fuel)),
            4 => format!("map (s: \"<${{s}}>\") {}", self.arg(Type::Strs, fuel)),
            5 => format!("builtins.splitVersion {}", self.version()),
            6 => format!("builtins.sort (p: q: p < q) {}", self.arg(Type::Strs, fuel)),
            7 => format!("map toString {}", self.arg(Type::Ints, fuel)),
            _ => format!(
                "builtins.sort (p: q: builtins.stringLength p < builtins.stringLength q) {}",
                self.arg(Type::Strs, small)
            ),
        }
    }

    fn set(&mut self, fuel: u64) -> String {
        let small = fuel / 2;
        match self.below(14) {
            0..=2 => self.bindings(fuel),
            3 => format!("{} // {}", self.arg(Type::Set, fuel), self.arg(Type::Set, fuel)),
            4 => format!("removeAttrs {} {}", self.arg(Type::Set, fuel), self.arg(Type::Strs, 0)),
            5 => format!(
                "builtins.intersectAttrs {} {}",
                self.arg(Type::Mixed, small),
                self.arg(Type::Set, fuel)
            ),
            6 => format!(
                "builtins.mapAttrs (n: v: v + builtins.stringLength n) {}",
                self.arg(Type::Set, fuel)
            ),
            7 => format!(
                "builtins.listToAttrs [ {{ name = {}; value = {}; }} {{ name = \"a\"; value = 2; }} ]",
                self.arg(Type::Str, small),
                self.arg(Type::Int, small)
            ),
            8 => format!(
                "builtins.listToAttrs (map (n: {{ name = \"k${{toString n}}\"; value = n; }}) {})",
                self.arg(Type::Ints, fuel)
            ),
            9 => format!(
                "builtins.mapAttrs (n: builtins.length) (builtins.groupBy toString {})",
                self.arg(Type::Ints, small)
            ),
            10 => format!(
                "let s = {}; in {{ inherit (s) a b; inherit s; }}.s",
                self.expr(Type::Set, fuel)
            ),
            11 => format!(
                "builtins.intersectAttrs (builtins.functionArgs ({{ a, b ? 1 }}: a)) {}",
                self.arg(Type::Set, small)
            ),
            12 => format!("rec {{ a = {}; b = a + 1; c = b * 2; }}", self.expr(Type::Int, small)),
            _ => format!(
                "{{ a = 1; }} // {{ {} = {}; }} // {}",
                self.attr(0),
                self.expr(Type::Int, small),
                self.arg(Type::Set, small)
            ),
        }
    }

    /// A literal set, with duplicates and dotted paths now and then.
    fn bindings(&mut self, fuel: u64) -> String {
        let rec = self.pick(&["", "", "rec "]);
        let mut out = format!("{rec}{{ ");
        let count = self.below(4);
        let inside: Vec<(String, Type)> = Vec::new();
        self.scoped(inside, |g| {
            for _ in 0..count {
                let ints: Vec<String> =
                    g.scope.iter().filter(|v| v.1 == Type::Int).map(|v| v.0.clone()).collect();
                if !ints.is_empty() && g.below(6) == 0 {
                    let name = g.pick(&ints);
                    out.push_str(&format!("inherit {name}; "));
                } else {
                    out.push_str(&format!("{} = {}; ", g.attr(1), g.expr(Type::Int, fuel / 2)));
                }
            }
        });
        out.push('}');
        out
    }

    fn mixed(&mut self, fuel: u64) -> String {
        let small = fuel / 2;
        let (one, two) = (self.pick(&DATA), self.pick(&DATA));
        match self.below(10) {
            0 => format!(
                "{{ {} = {}; {} = {}; }}",
                self.attr(1),
                self.expr(one, fuel),
                self.attr(1),
                self.expr(two, fuel)
            ),
            1 => format!(
                "{{ a.{} = {}; a.{} = {}; }}",
                self.attr(0),
                self.expr(one, small),
                self.attr(0),
                self.expr(two, small)
            ),
            2 => format!(
                "{{ a = {{ {} = {}; }}; a = {{ {} = {}; }}; }}",
                self.name_plain(),
                self.expr(one, small),
                self.name_plain(),
                self.expr(two, small)
            ),
            3 => format!(
                "{{ a = {}; a.{} = {}; }}",
                self.expr(Type::Mixed, small),
                self.name_plain(),
                self.expr(one, small)
            ),
            4 => format!("rec {{ a = {{ p = q; }}; q = {}; a.r = q; }}", self.expr(one, fuel)),
            5 => format!("{{ ${{null}} = 1; x = {}; }}", self.expr(one, fuel)),
            6 => format!("{} // {}", self.arg(Type::Mixed, fuel), self.arg(Type::Set, small)),
            7 => format!(
                "builtins.partition (n: n == {}) {}",
                self.arg(one, small),
                self.arg(Type::Ints, small)
            ),
            8 => format!(
                "{{ list = [ {} {} {{ x = {}; }} ]; }}",
                self.arg(one, small),
                self.arg(two, small),
                self.expr(one, small)
            ),
            _ => format!(
                "builtins.zipAttrsWith (n: vs: vs) [ {} {} ]",
                self.arg(Type::Mixed, small),
                self.arg(Type::Set, small)
            ),
        }
    }

    fn name_plain(&mut self) -> &'static str {
        self.pick(&["a", "b", "c", "d"])
    }

    fn fun(&mut self, fuel: u64) -> String {
        let var = self.variable();
        match self.below(5) {
            0 | 1 => {
                let body = self.scoped(vec![(var.clone(), Type::Int)], |g| g.expr(Type::Int, fuel));
                format!("{var}: {body}")
            }
            2 => format!(
                "builtins.{} {}",
                self.pick(&["add", "sub", "mul", "bitOr"]),
                self.arg(Type::Int, fuel)
            ),
            3 => format!("let g = {}; in n: g (g n)", self.expr(Type::Fun, fuel)),
            _ => format!(
                "{{ __functor = self: n: n + self.k; k = {}; }}",
                self.expr(Type::Int, fuel)
            ),
        }
    }
}
