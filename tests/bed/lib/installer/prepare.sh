#!/usr/bin/env bash
# prepare.sh ROOT KEY -- turn a Debian root into the installer's: what it does
# when it boots is written here.
set -euo pipefail
root=$1 key=$2

install -d -m 700 "$root/root/.ssh"
install -m 600 "$key" "$root/root/.ssh/authorized_keys"

echo installer >"$root/etc/hostname"
printf '127.0.0.1 localhost installer debian\n' >"$root/etc/hosts"
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/machine-id" "$root/usr/sbin/policy-rc.d"
: >"$root/etc/machine-id"

cat >"$root/etc/ssh/sshd_config" <<'__end__'
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
MaxStartups 100
SetEnv PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
Subsystem sftp internal-sftp
__end__

mkdir -p "$root/etc/nix"
cat >"$root/etc/nix/nix.conf" <<'__end__'
sandbox = false
substitute = false
fsync-metadata = false
experimental-features = nix-command flakes
build-users-group =
__end__

# Archives of nixos-images want one.
[ -e "$root/usr/bin/cpio" ] || ln -s busybox "$root/usr/bin/cpio"

# What QEMU was told the machine is (vm.sh up --as): an installer of NixOS, or a machine on which some Debian runs, with
# neither nix nor NixOS.
cat >"$root/usr/local/sbin/bed-start" <<'__end__'
#!/bin/sh
as=$(cat /sys/class/dmi/id/product_serial 2>/dev/null)
case $(cat /proc/cmdline) in *bed.as=installer*) as=installer ;; esac
case $as in
debian)
    hostname debian
    rm -rf /usr/bin/nix /usr/bin/nix-*
    ;;
*)
    hostname installer
    rm -f /etc/os-release
    printf '%s\n' ID=nixos NAME=NixOS VARIANT_ID=installer 'PRETTY_NAME="NixOS installer (bed)"' >/etc/os-release
    ;;
esac
# Keys that whoever started us with kexec handed over.
if [ -d /run/handover/ssh ]; then
    cp /run/handover/ssh/ssh_host_* /etc/ssh/
    chmod 600 /etc/ssh/ssh_host_*_key
    cp /run/handover/ssh/authorized_keys /root/.ssh/authorized_keys
    rm -rf /run/handover
fi
[ -s /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
# Who stands at the console can compare it.
echo "host key: $(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)" >/dev/console
mkdir -p /run/sshd
ip link set lo up
for path in /sys/class/net/e*; do
    [ -e "$path" ] || continue
    interface=${path##*/}
    ip link set "$interface" up
    busybox udhcpc -n -q -f -t 20 -T 1 -i "$interface" -s /usr/local/sbin/bed-dhcp
done
exit 0
__end__
cat >"$root/usr/local/sbin/bed-dhcp" <<'__end__'
#!/bin/sh
case $1 in
bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/$mask" dev "$interface"
    [ -z "$router" ] || ip route replace default via "${router%% *}"
    ;;
esac
__end__
chmod 755 "$root/usr/local/sbin/"bed-*
cat >"$root/etc/systemd/system/bed-start.service" <<'__end__'
[Unit]
Description=The installer
DefaultDependencies=no
After=systemd-udevd.service systemd-remount-fs.service
Before=ssh.service network.target
Conflicts=shutdown.target
Before=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/bed-start
[Install]
WantedBy=sysinit.target
__end__
# Whoever looks at the processes of an installer must see no secret: it says on its console when one shows.
printf '%s\n' "PRIVATE KEY" "canary-of-" >"$root/etc/bed-secrets"
cat >"$root/usr/local/sbin/bed-watch" <<'__end__'
#!/bin/sh
while :; do
    grep -laFs -f /etc/bed-secrets /proc/[0-9]*/cmdline /proc/[0-9]*/environ | while read -r file; do
        echo "LEAKED: $(tr '\0' ' ' <"$file" | head -c 200)" >/dev/console
    done
    sleep 1
done
__end__
chmod 755 "$root/usr/local/sbin/bed-watch"
cat >"$root/etc/systemd/system/bed-watch.service" <<'__end__'
[Unit]
Description=Who looks on
[Service]
ExecStart=/usr/local/sbin/bed-watch
__end__
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sfn ../bed-watch.service "$root/etc/systemd/system/multi-user.target.wants/bed-watch.service"
# What an emulated machine need not spend its time on.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    systemd-timesyncd.service getty@tty1.service systemd-firstboot.service systemd-sysusers.service \
    systemd-binfmt.service systemd-hwdb-update.service systemd-pcrphase.service systemd-pcrphase-sysinit.service \
    systemd-update-utmp.service sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount \
    networking.service systemd-networkd.service kmod-static-nodes.service; do
    ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done
# (logind starts when it is asked to reboot.)
rm -f "$root/lib/systemd/system/multi-user.target.wants/systemd-logind.service"
mkdir -p "$root"/etc/systemd/system/{sysinit,multi-user}.target.wants
ln -sfn ../bed-start.service "$root/etc/systemd/system/sysinit.target.wants/bed-start.service"
ln -sfn /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
ln -sfn /lib/systemd/system/ssh.service "$root/etc/systemd/system/multi-user.target.wants/ssh.service"
