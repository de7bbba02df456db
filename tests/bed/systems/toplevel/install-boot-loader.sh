#!@tools@/bin/busybox sh
# install-boot-loader -- make this system the one that boots next: /boot/testbed/default names it for the "firmware"
# (lib/boot.sh).
# shellcheck shell=sh

set -e
export PATH=@tools@/bin
system=@out@

@installBootLoader@

mkdir -p /boot/testbed
# (Nothing waits for a disk here: a host's "power cut" loses no page that the machine holds.)
echo "$system" >/boot/testbed/default.new
mv /boot/testbed/default.new /boot/testbed/default
