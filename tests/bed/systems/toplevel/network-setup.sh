# network-setup -- give the interface its address. The host says which in /etc/testbed/network.env (IFACE, ADDRESS,
# GATEWAY); a system may override it. $PATH is the folder of busybox and its links.
# shellcheck shell=sh

set -e
IFACE='' ADDRESS='' GATEWAY=''
# shellcheck source=/dev/null
[ ! -e /etc/testbed/network.env ] || . /etc/testbed/network.env

configure() {
    ip link set lo up
    ip route del blackhole 0.0.0.0/1 2>/dev/null || true
    ip route del blackhole 128.0.0.0/1 2>/dev/null || true
    ip link set "$IFACE" up
    ip addr flush dev "$IFACE"
    ip addr add "$ADDRESS" dev "$IFACE"
    [ -z "$GATEWAY" ] || ip route replace default via "$GATEWAY"
}
