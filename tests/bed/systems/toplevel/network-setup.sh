# network-setup -- give the interface its address. The host says which in /etc/testbed/network.env (IFACE, ADDRESS,
# GATEWAY); a system may override it; without either, the first interface asks by DHCP. $PATH is the folder of busybox
# and its links.
# shellcheck shell=sh

set -e
IFACE='' ADDRESS='' GATEWAY=''
# shellcheck source=/dev/null
[ ! -e /etc/testbed/network.env ] || . /etc/testbed/network.env

dhcp() {
    cat >/run/udhcpc.script <<__end__
#!$PATH/busybox sh
PATH=$PATH
case \$1 in
bound | renew)
    ip addr flush dev \$interface
    ip addr add \$ip/\$mask dev \$interface
    [ -z "\$router" ] || ip route replace default via \${router%% *}
    ;;
esac
__end__
    chmod 755 /run/udhcpc.script
    udhcpc -n -q -f -t 20 -T 1 -i "$IFACE" -s /run/udhcpc.script
}

configure() {
    ip link set lo up
    ip route del blackhole 0.0.0.0/1 2>/dev/null || true
    ip route del blackhole 128.0.0.0/1 2>/dev/null || true
    if [ -z "$IFACE" ]; then
        for IFACE in /sys/class/net/e*; do
            IFACE=${IFACE##*/}
            [ "$IFACE" != "e*" ] || return 0
            ip link set "$IFACE" up
            dhcp
            return
        done
    fi
    ip link set "$IFACE" up
    ip addr flush dev "$IFACE"
    ip addr add "$ADDRESS" dev "$IFACE"
    [ -z "$GATEWAY" ] || ip route replace default via "$GATEWAY"
}
