{ common = { lib, ... }: { imports = [ ./x.nix ]; }; h1 = { }; h2.a = 1; }
