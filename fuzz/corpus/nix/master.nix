{ secrets, ... }: {
  # comment
  wifi = { ssid = "home"; psk = "correct \"horse\" \${x}"; };
  nodes.h = rec { a = 1; b = a + 2; "x y" = secrets.wifi.psk or null; };
  nodes.g.key = ''
    -----BEGIN
      ${secrets.wifi.ssid} ''${no} '''
  '';
}
