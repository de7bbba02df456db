let f = { a, b ? a + 1, ... }@args: [ a b (args ? c) ]; in with { inherit f; }; {
  a.b = f { a = 1; c = -2.5e1; }; a.c = !true || 1 < 2 -> false; ${"d" + "e"} = if 1 == 1.0 then x: x else { } // { };
  g = builtins.map (x: x * 2) [ 1 2 ] ++ [ ./p <n> ]; h = assert true; builtins.toJSON (builtins.fromJSON "{}");
}
