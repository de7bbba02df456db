0# A small fleet, complete: everything a manifest can say is here or beside it.
{
  network = {
    domain = "example.lan";
    dns_server = "192.168.99.13";
    gateway = "192.168.99.1";
    network_cidr = "192.168.99.0/24";
    vlan_tag = 99;
    ssh_keys.root = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIxpduW1QQQVvekIvU3uFd+xZ6nIc/xLuKgfbyq0SKkY worthless-admin" ];
    outposts.ldap.base_dn = "dc=example,dc=lan";
    outposts.radius.client_networks = [ "192.168.99.0/24" ];
  };

  core_services = {
    caddy = {
      enable = true;
      ip = "192.168.99.10";
      hostname = "caddy.example.lan";
      vmid = 901;
      interface.health = {
        startup = "systemctl is-active --quiet caddy";
        interval = 30;
        timeout = 30;
        retries = 3;
      };
    };

    postgresql = {
      enable = true;
      ip = "192.168.99.11";
      hostname = "postgresql.example.lan";
      vmid = 902;
      resources = { cores = 4; memory = 4096; disk_gb = 64; };
      interface.health.startup = "pg_isready --quiet";
    };

    authentik = {
      enable = true;
      ip = "192.168.99.12";
      hostname = "authentik.example.lan";
      vmid = 903;
      interface = {
        db = { name = "authentik"; owner = "authentik"; };
        proxy = {
          domain = "auth.example.lan";
          upstream = "192.168.99.12:9000";
        };
        health.startup = "systemctl is-active --quiet authentik";
      };
    };

    dns = {
      enable = true;
      ip = "192.168.99.13";
      hostname = "dns.example.lan";
      vmid = 904;
      interface.health.startup = "systemctl is-active --quiet unbound";
    };
  };

  services = {
    vaultwarden = {
      enable = true;
      ip = "192.168.99.14";
      hostname = "vaultwarden.example.lan";
      vmid = 905;
      depends_on = [ "postgresql" "caddy" "authentik" ];
      ports = [ 8080 ];
      interface = {
        db = { name = "vaultwarden"; owner = "vaultwarden"; };
        auth = {
          type = "oidc";
          provider = "authentik";
          oidc = {
            redirect_uris = [ "https://vault.example.lan/oidc/callback" ];
            scopes = [ "openid" "email" "profile" ];
          };
        };
        proxy = {
          domain = "vault.example.lan";
          path = "/";
          upstream = "192.168.99.14:8080";
          authz = true;
        };
        health = {
          startup = "systemctl is-active --quiet vaultwarden";
          liveness = "curl -f -s http://localhost:8080/alive";
        };
      };
    };

    media = {
      enable = true;
      ip = "192.168.99.17";
      hostname = "media.example.lan";
      vmid = 908;
      depends_on = [ "postgresql" "caddy" "authentik" ];
      ports = [ 8096 8989 ];
      interface = {
        dbs.sonarr = { owner = "sonarr"; additionaldbs = [ "sonarr_log" ]; };
        proxy = {
          jellyfin = {
            domain = "jellyfin.example.lan";
            upstream = "192.168.99.17:8096";
            auth = {
              type = "oidc";
              oidc.redirect_uris = [ "https://jellyfin.example.lan/sso/OID/redirect/authentik" ];
            };
            extra_config = "header {\n  X-Robots-Tag none\n}";
          };
          sonarr = {
            domain = "sonarr.example.lan";
            upstream = "192.168.99.17:8989";
            auth = {
              type = "forward_auth";
              provider = "authentik";
              forward_auth_upstream = "192.168.99.12:9000";
            };
          };
        };
        health.startup = "systemctl is-active --quiet jellyfin";
      };
    };

    monitoring = {
      enable = true;
      ip = "192.168.99.18";
      hostname = "monitoring.example.lan";
      vmid = 909;
      depends_on = [ "caddy" "authentik" ];
      ports = [ 3000 9090 ];
      interface = {
        proxy = {
          domain = "grafana.example.lan";
          upstream = "192.168.99.18:3000";
        };
        auth = {
          type = "oidc";
          oidc.redirect_uris = [ "https://grafana.example.lan/login/generic_oauth" ];
        };
        health.startup = "systemctl is-active --quiet grafana";
      };
    };
  };
}
