//! The cases: edits of the example.

use nixmox_manifest::Code;

pub(crate) type Edit<'a> = (&'a str, &'a str);

pub(crate) struct Case {
    pub(crate) code: Code,
    pub(crate) fires: &'static [Edit<'static>],
    pub(crate) near: &'static [Edit<'static>],
    /// A secret that is not sealed; then all others are.
    pub(crate) missing: &'static str,
    /// Names of the certificate.
    pub(crate) certificate: &'static [&'static str],
    pub(crate) near_certificate: &'static [&'static str],
}

macro_rules! cases {
    ($($code:ident $fires:expr, $near:expr;)*) => {
        &[$(Case {
            code: Code::$code,
            fires: &$fires,
            near: &$near,
            missing: missing(Code::$code),
            certificate: certificate(Code::$code).0,
            near_certificate: certificate(Code::$code).1,
        }),*]
    };
}

const fn missing(code: Code) -> &'static str {
    match code {
        Code::M510 => "vaultwarden/database_password",
        Code::M611 => "vaultwarden/oidc_client_secret",
        Code::M905 => "internal_ca/wildcard_private_key",
        _ => "",
    }
}

type Names = &'static [&'static str];

const fn certificate(code: Code) -> (Names, Names) {
    match code {
        Code::M906 => (&["*.example.org"], &["*.example.lan"]),
        _ => (&[], &[]),
    }
}

const IP: &str = "ip = \"192.168.99.18\"";
const HOSTNAME: &str = "hostname = \"monitoring.example.lan\"";
const DOMAIN: &str = "domain = \"grafana.example.lan\"";
const UPSTREAM: &str = "upstream = \"192.168.99.18:3000\";";
const DEPENDS: &str = "depends_on = [ \"caddy\" \"authentik\" ]";
const REORDERED: Edit<'static> = (DEPENDS, "depends_on = [ \"authentik\" \"caddy\" ]");
const ZONE: &str = "domain = \"example.lan\"";
const CIDR: &str = "network_cidr = \"192.168.99.0/24\"";
const MONITORING: &str = "    monitoring = {";
const DB: &str = "db = { name = \"vaultwarden\"; owner = \"vaultwarden\"; }";
const DBS: &str = "dbs.sonarr = {";
const URIS: &str = "oidc.redirect_uris = [ \"https://grafana.example.lan/login/generic_oauth\" ];";
const SCOPES: &str = "scopes = [ \"openid\" \"email\" \"profile\" ]";
const CORE: &str = "\n  core_services = {";
const DNS_VMID: &str = "vmid = 904;";
const DNS_HEALTH: &str =
    "      interface.health.startup = \"systemctl is-active --quiet unbound\";\n";
const GRAFANA_HEALTH: &str = "        health.startup = \"systemctl is-active --quiet grafana\";\n";
const RADIUS: &str = "outposts.radius.client_networks = [ \"192.168.99.0/24\" ];";
const PROXY: &str = "        proxy = {
          domain = \"grafana.example.lan\";
          upstream = \"192.168.99.18:3000\";
        };\n";
const PHASES: &str = "
  deployment_phases = {
    tf_infra = [ \"caddy\" \"postgresql\" \"authentik\" \"dns\" \"vaultwarden\" \"media\" \"monitoring\" ];
    nix_core = [ \"caddy\" \"postgresql\" \"authentik\" \"dns\" ];
    tf_auth_core = [ \"vaultwarden\" \"media\" \"monitoring\" ];
    services = [ \"vaultwarden\" \"media\" \"monitoring\" ];
  };

  core_services = {";
const WITH_PHASES: Edit<'static> = (CORE, PHASES);
const DISABLED_MEDIA: Edit<'static> =
    ("media = {\n      enable = true;", "media = {\n      enable = false;");
const DISABLED_DNS: Edit<'static> =
    ("dns = {\n      enable = true;", "dns = {\n      enable = false;");

pub(crate) const CASES: &[Case] = cases! {
    M001 [("network = {\n", "network = {{\n")], [("# A small", "# Another small")];
    M002 [("      ip = \"192.168.99.13\";\n", "")], [("      vmid = 904;\n", "")];
    M003 [(UPSTREAM, "upsteam = \"192.168.99.18:3000\";")], [("path = \"/\"", "path = \"/v\"")];
    M004 [("vlan_tag = 99", "vlan_tag = \"99\"")], [("vlan_tag = 99", "vlan_tag = 98")];
    M005 [(MONITORING, "    dns = {")], [(MONITORING, "    dns2 = {")];
    M006 [(MONITORING, "    Monitoring_1 = {")], [(MONITORING, "    monitoring-1 = {")];
    M007 [(DNS_HEALTH, "      interface.terraform = { };\n")], [(DNS_HEALTH, "")];
    M101 [(IP, "ip = \"192.168.99.300\"")], [(IP, "ip = \"192.168.99.30\"")];
    M102 [(CIDR, "network_cidr = \"192.168.99.5/24\"")], [(CIDR, "network_cidr = \"192.168.96.0/21\"")];
    M103 [(IP, "ip = \"192.168.98.18\"")], [(IP, "ip = \"192.168.99.200\"")];
    M104 [(IP, "ip = \"192.168.99.255\"")], [(IP, "ip = \"192.168.99.254\"")];
    M105 [(IP, "ip = \"192.168.99.1\"")], [(IP, "ip = \"192.168.99.2\"")];
    M106 [("gateway = \"192.168.99.1\"", "gateway = \"192.168.98.1\"")],
        [("gateway = \"192.168.99.1\"", "gateway = \"192.168.99.254\"")];
    M107 [("dns_server = \"192.168.99.13\"", "dns_server = \"192.168.99.99\"")],
        [("dns_server = \"192.168.99.13\"", "dns_server = \"192.168.99.53\""),
         (" ip = \"192.168.99.13\"", " ip = \"192.168.99.53\"")];
    M108 [("vlan_tag = 99", "vlan_tag = 4095")], [("vlan_tag = 99", "vlan_tag = 4094")];
    M109 [(ZONE, "domain = \"example.local\"")], [(ZONE, "domain = \"local.example\"")];
    M110 [(HOSTNAME, "hostname = \"monitoring.example.org\"")], [(HOSTNAME, "hostname = \"mon.example.lan\"")];
    M111 [(HOSTNAME, "hostname = \"moni_toring.example.lan\"")], [(HOSTNAME, "hostname = \"moni-toring.example.lan\"")];
    M201 [(IP, "ip = \"192.168.99.17\"")], [(IP, "ip = \"192.168.99.19\"")];
    M202 [("vmid = 909", "vmid = 908")], [("vmid = 909", "vmid = 910")];
    M203 [(HOSTNAME, "hostname = \"media.example.lan\"")], [(HOSTNAME, "hostname = \"media2.example.lan\"")];
    M204 [(DOMAIN, "domain = \"vault.example.lan\"")], [(DOMAIN, "domain = \"vault2.example.lan\"")];
    M205 [("ports = [ 3000 9090 ]", "ports = [ 3000 3000 ]")], [("ports = [ 3000 9090 ]", "ports = [ 3000 3001 ]")];
    M206 [(DOMAIN, "domain = \"media.example.lan\"")], [(DOMAIN, "domain = \"media2.example.lan\"")];
    M207 [(DOMAIN, "domain = \"monitoring.example.lan\"")], [(DOMAIN, "domain = \"monitoring2.example.lan\"")];
    M208 [("hostname = \"media.example.lan\"", "hostname = \"films.example.lan\""), (DOMAIN, "domain = \"media.example.lan\"")],
        [("hostname = \"media.example.lan\"", "hostname = \"films.example.lan\"")];
    M301 [(DEPENDS, "depends_on = [ \"caddy\" \"authentk\" ]")], [REORDERED];
    M302 [(DEPENDS, "depends_on = [ \"caddy\" \"authentik\" \"monitoring\" ]")],
        [(DEPENDS, "depends_on = [ \"caddy\" \"authentik\" \"media\" ]")];
    M303 [("\"postgresql\" \"caddy\" \"authentik\" ]", "\"postgresql\" \"caddy\" \"authentik\" \"monitoring\" ]"),
          (DEPENDS, "depends_on = [ \"caddy\" \"authentik\" \"vaultwarden\" ]")],
        [(DEPENDS, "depends_on = [ \"caddy\" \"authentik\" \"vaultwarden\" ]")];
    M304 [DISABLED_MEDIA, (DEPENDS, "depends_on = [ \"caddy\" \"authentik\" \"media\" ]")], [DISABLED_MEDIA];
    M305 [(DNS_VMID, "vmid = 904; depends_on = [ \"media\" ];")], [(DNS_VMID, "vmid = 904; depends_on = [ \"caddy\" ];")];
    M306 [(DEPENDS, "depends_on = [ \"caddy\" \"authentik\" \"caddy\" ]")], [REORDERED];
    M307 [(DEPENDS, "depends_on = [ \"caddy\" ]")], [REORDERED];
    M308 [WITH_PHASES, ("    services = [ \"vaultwarden\"", "    services = [ \"vaultwardn\"")], [WITH_PHASES];
    M309 [WITH_PHASES, ("\"authentik\" \"dns\" \"vaultwarden\"", "\"authentik\" \"vaultwarden\""), ("\"authentik\" \"dns\" ]", "\"authentik\" ]")], [WITH_PHASES];
    M310 [WITH_PHASES, ("nix_core = [ \"caddy\" \"postgresql\"", "nix_core = [ \"caddy\" \"vaultwarden\""),
          ("    services = [ \"vaultwarden\"", "    services = [ \"postgresql\"")], [WITH_PHASES];
    M311 [WITH_PHASES, DISABLED_MEDIA], [WITH_PHASES];
    M312 [WITH_PHASES, ("nix_core =", "nix_cor =")], [WITH_PHASES];
    M401 [(UPSTREAM, "upstream = \"192.168.99.18\";")], [(UPSTREAM, "upstream = \"http://192.168.99.18:3000\";")];
    M402 [(UPSTREAM, "upstream = \"192.168.99.18:70000\";")], [(UPSTREAM, "upstream = \"192.168.99.18:65535\";")];
    M403 [(UPSTREAM, "upstream = \"192.168.99.81:3000\";")], [(UPSTREAM, "upstream = \"192.168.99.81:3000\"; external = true;")];
    M404 [(UPSTREAM, "upstream = \"192.168.99.14:8080\";")], [(UPSTREAM, "upstream = \"monitoring.example.lan:3000\";")];
    M405 [(UPSTREAM, "upstream = \"192.168.99.18:3001\";")], [(UPSTREAM, "upstream = \"192.168.99.18:9090\";")];
    M406 [(DOMAIN, "domain = \"grafana.example.org\"")], [(DOMAIN, "domain = \"graph.example.lan\"")];
    M407 [(DOMAIN, "domain = \"a.b.example.lan\"")], [(DOMAIN, "domain = \"a-b.example.lan\"")];
    M408 [("path = \"/\"", "path = \"vault\"")], [("path = \"/\"", "path = \"/vault\"")];
    M409 [("jellyfin = {", "domain = \"films.example.lan\";\n          jellyfin = {")], [("jellyfin = {", "films = {")];
    M410 [(PROXY, "        proxy = { };\n")], [(PROXY, "")];
    M411 [("none\\n}\"", "none\"")], [("none\\n}\"", "{host}\\n}\"")];
    M412 [("caddy = {\n      enable = true;", "caddy = {\n      enable = false;")], [DISABLED_DNS];
    M413 [(UPSTREAM, "upstream = \"192.168.99.18:5432\";")], [(UPSTREAM, "upstream = \"192.168.99.18:5433\";")];
    M414 [("vmid = 901;", "vmid = 901;\n      interface.proxy = { domain = \"www.example.lan\"; upstream = \"192.168.99.10:80\"; };")],
        [("vmid = 901;", "vmid = 901;\n      interface.proxy = { domain = \"www.example.lan\"; upstream = \"192.168.99.10:2019\"; };")];
    M415 [(UPSTREAM, "upstream = \"192.168.99.18:3000\"; authz = true;"), (GRAFANA_HEALTH, "")], [(GRAFANA_HEALTH, "")];
    M416 [("upstream = \"192.168.99.12:9000\";", "upstream = \"192.168.99.12:9000\"; authz = true;")],
        [("upstream = \"192.168.99.12:9000\";", "upstream = \"192.168.99.12:9000\"; authz = false;")];
    M501 [(DB, "db = { host = \"192.168.99.12\"; name = \"vaultwarden\"; owner = \"vaultwarden\"; }")],
        [(DB, "db = { host = \"postgresql.example.lan\"; name = \"vaultwarden\"; owner = \"vaultwarden\"; }")];
    M502 [(DB, "db = { name = \"vaultwarden\"; }")], [(DB, "db = { owner = \"vaultwarden\"; }")];
    M503 [(DB, "db = { name = \"authentik\"; owner = \"vaultwarden\"; }")], [(DB, "db = { name = \"vault\"; owner = \"vaultwarden\"; }")];
    M504 [(DB, "db = { name = \"vaultwarden\"; owner = \"authentik\"; }")], [(DB, "db = { name = \"vaultwarden\"; owner = \"vault\"; }")];
    M505 [(DB, "db = { name = \"postgres\"; owner = \"vaultwarden\"; }")], [(DB, "db = { name = \"postgres2\"; owner = \"vaultwarden\"; }")];
    M506 [(DBS, "dbs.sonarr = { extensions = [ \"pg_trgn\" ];")], [(DBS, "dbs.sonarr = { extensions = [ \"pg_trgm\" ];")];
    M507 [(DBS, "db = { name = \"media\"; owner = \"media\"; };\n        dbs.sonarr = {")], [(DBS, "dbs.radarr.owner = \"radarr\";\n        dbs.sonarr = {")];
    M508 [("postgresql = {\n      enable = true;", "postgresql = {\n      enable = false;")], [DISABLED_DNS];
    M509 [(DBS, "dbs.sonarr = { port = 5433;")], [(DBS, "dbs.sonarr = { port = 5432;")];
    M510 [], [];
    M601 [("type = \"oidc\"", "type = \"oicd\"")], [("type = \"oidc\"", "type = \"forward_auth\"")];
    M602 [("provider = \"authentik\"", "provider = \"authentk\"")], [("provider = \"authentik\";", "")];
    M603 [(URIS, "oidc.redirect_uris = [ ];")], [(URIS, "oidc.redirect_uris = [ \"https://grafana.example.lan/\" ];")];
    M604 [("https://vault.example.lan/", "https://vaultwarden.example.lan/")], [("https://vault.example.lan/", "https://vault.example.lan/x/")];
    M605 [(URIS, "oidc = { client_id = \"vaultwarden-oidc\"; redirect_uris = [ \"https://grafana.example.lan/\" ]; };")],
        [(URIS, "oidc = { client_id = \"grafana-oidc\"; redirect_uris = [ \"https://grafana.example.lan/\" ]; };")];
    M606 [(SCOPES, "scopes = [ \"email\" \"profile\" ]")], [(SCOPES, "scopes = [ \"openid\" ]")];
    M607 [(SCOPES, "client_type = \"publik\"")], [(SCOPES, "client_type = \"public\"")];
    M608 [(DBS, "auth.type = \"forward_auth\";\n        dbs.sonarr = {")], [REORDERED];
    M609 [("forward_auth_upstream = \"192.168.99.12:9000\"", "forward_auth_upstream = \"192.168.99.12:9443\"")],
        [("forward_auth_upstream = \"192.168.99.12:9000\";", "")];
    M610 [("type = \"forward_auth\";", "type = \"forward_auth\"; oidc.client_id = \"sonarr\";")], [REORDERED];
    M611 [], [];
    M701 [("interval = 30", "interval = 0")], [("interval = 30", "interval = 86400")];
    M702 [("timeout = 30", "timeout = 60")], [("timeout = 30", "timeout = 29")];
    M703 [(DNS_HEALTH, "")], [(DNS_HEALTH, "      interface.health.liveness = \"true\";\n")];
    M704 [("\"pg_isready --quiet\"", "\"pg_isready --dbname='x\"")], [("\"pg_isready --quiet\"", "\"pg_isready --dbname='x'\"")];
    M705 [("localhost:8080/alive", "localhost:8081/alive")], [("localhost:8080/alive", "localhost:8080/health")];
    M801 [(DNS_VMID, "vmid = 99;")], [(DNS_VMID, "vmid = 100;")];
    M802 [("cores = 4", "cores = 0")], [("cores = 4", "cores = 1")];
    M803 [(DNS_VMID, "")], [(DNS_VMID, "vmid = 914;")];
    M901 [("ssh-ed25519 AAAA", "ssh-rsa AAAA")], [("worthless-admin", "another comment")];
    M902 [(RADIUS, "outposts.radius.shared_secret = \"changeme-radius\";")], [(RADIUS, "outposts.radius.shared_secret = \"sops:radius\";")];
    M903 [(RADIUS, "outposts.radius.client_networks = [ \"0.0.0.0/0\" ];")], [(RADIUS, "outposts.radius.client_networks = [ \"10.0.0.0/8\" ];")];
    M904 [("dc=example,dc=lan", "dc=example,dc=org")], [("dc=example,dc=lan", "ou=users,dc=example,dc=lan")];
    M905 [], [];
    M906 [], [];
};
