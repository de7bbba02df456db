//! The part that runs on hosts, alone: what it answers, in which order, under the shells that hosts have.
//!
//! It runs in a sandbox of bubblewrap without systemd, on systems that only pretend. What it does on machines with
//! systemd and a network is judged by `tests/tests/deploy_*.rs`.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

mod guard;

use nixmox_deploy::Os;

/// Runs a scenario under the shells that hosts have.
#[track_caller]
fn holds(scenario: &str) {
    guard::holds(Os::NixOs, ["dash", "busybox"], include_str!("guard/prelude.sh"), scenario);
}

#[test]
fn a_confirmed_system_is_committed() {
    holds(
        r#"
        is prepare "phase=prepared current=$old" "$(prepare a | tr '\n' ' ' | sed 's/ $//')"
        is start phase=activating "$($guard start a)"
        awaits a
        is current "$new" "$(readlink /run/current-system)"
        is persistent "$old" "$(readlink -f /nix/var/nix/profiles/system)"
        is early "error=unconfirmed" "$($guard commit a | head -n 1)"
        is nonce "error=nonce" "$(echo bad | $guard confirm a | head -n 1)"
        is first "count=1" "$(echo good | $guard confirm a | head -n 1)"
        is early "error=unconfirmed" "$($guard commit a | head -n 1)"
        is second "count=2" "$(echo good | $guard confirm a | head -n 1)"
        is commit phase=committing "$($guard commit a)"
        is end committed "$(ends a)"
        settled "$new"
        is switches "$new test $new boot" "$(tr '\n' ' ' </var/log/switches | sed 's/ $//')"
        is again phase=committed "$($guard commit a)"
        is abort committed "$($guard abort a | sed -n s/^phase=//p)"
        settled "$new"
        "#,
    );
}

#[test]
fn a_failing_activation_is_gone_back_from() {
    holds(
        r#"
        echo '[ "$1" != test ] || { ln -sfn "$0" /run/half; exit 2; }' >$new/fault
        prepare a >/dev/null
        $guard start a >/dev/null
        is end rolled-back "$(ends a)"
        is reason "activation 2" "$($guard status a | sed -n 's/^state\.\(reason\|status\)=//p' | tr '\n' ' ' | sed 's/ $//')"
        settled "$old"
        is switches "$new test $old test" "$(tr '\n' ' ' </var/log/switches | sed 's/ $//')"
        "#,
    );
}

#[test]
fn an_activation_that_hangs_is_killed_with_all_that_it_started() {
    holds(
        r#"
        echo '[ "$1" != test ] || { sleep 1000 & sleep 1000; }' >$new/fault
        prepare a activation=1 >/dev/null
        $guard start a >/dev/null
        is end rolled-back "$(ends a)"
        is status timeout "$($guard status a | sed -n 's/^state\.status=//p')"
        settled "$old"
        is left '' "$(pgrep -f 'sleep 1000' || true)"
        "#,
    );
}

#[test]
fn silence_is_no_confirmation() {
    holds(
        r#"
        prepare a confirmation=3 >/dev/null
        $guard start a >/dev/null
        awaits a
        is nonce good "$($guard recover a | sed -n 's/^nonce=//p')"
        is first "count=1" "$(echo good | $guard confirm a | head -n 1)"
        is end rolled-back "$(ends a)"
        is reason not-confirmed "$($guard status a | sed -n 's/^state\.reason=//p')"
        is late error=phase "$(echo good | $guard confirm a | head -n 1)"
        settled "$old"
        "#,
    );
}

#[test]
fn a_commit_that_fails_takes_back_the_generation_that_it_made() {
    holds(
        r#"
        echo '[ "$1" != boot ] || exit 1' >$new/fault
        prepare a confirmations=0 >/dev/null
        $guard start a >/dev/null
        awaits a
        $guard commit a >/dev/null
        is end rolled-back "$(ends a)"
        settled "$old"
        is generations system-1-link "$(ls /nix/var/nix/profiles | grep link)"
        "#,
    );
}

#[test]
fn somebody_can_ask_to_go_back() {
    holds(
        r#"
        prepare a >/dev/null
        $guard abort a >/dev/null
        is end rolled-back "$(ends a)"
        is untouched '' "$(cat /var/log/switches)"
        settled "$old"
        prepare b >/dev/null
        $guard start b >/dev/null
        awaits b
        $guard abort b unhealthy:web >/dev/null
        is end rolled-back "$(ends b)"
        is reason unhealthy:web "$($guard status b | sed -n 's/^state\.reason=//p')"
        settled "$old"
        "#,
    );
}

#[test]
fn a_host_has_one_activation_at_a_time() {
    holds(
        r#"
        prepare a >/dev/null
        is second "holder=a phase=prepared error=locked detail=someone" "$(prepare b | tr '\n' ' ' | sed 's/ $//')"
        is nothing none "$($guard status b | sed -n 's/^phase=//p')"
        $guard abort a >/dev/null
        is end rolled-back "$(ends a)"
        is third phase=prepared "$(prepare b | head -n 1)"
        is twice error=phase "$(prepare b | head -n 1)"
        "#,
    );
}

#[test]
fn what_makes_no_sense_is_refused_and_leaves_nothing() {
    holds(
        r#"
        is expected "error=unexpected detail=$old" "$(printf '%s\n' toplevel=$new expected=$new | $guard prepare a | tr '\n' ' ' | sed 's/ $//')"
        is missing "error=missing" "$(printf '%s\n' toplevel=/nix/store/none | $guard prepare a | head -n 1)"
        is empty "error=missing" "$($guard prepare a </dev/null | head -n 1)"
        rm $old/init
        is boots "error=boot" "$(prepare a | head -n 1)"
        : >$old/init
        is name "error=transaction" "$($guard status ../../etc | head -n 1)"
        is verb "error=verb" "$($guard reboot a | head -n 1)"
        is phase "error=phase" "$($guard start a | head -n 1)"
        is file "error=no-such-file" "$($guard stage a passwd 0 </dev/null | head -n 1)"
        is nothing '' "$(ls /var/lib/nixmox/txn)"
        settled "$old"
        "#,
    );
}

#[test]
fn files_arrive_whole_or_not_at_all() {
    holds(
        r#"
        prepare a path.sealed=/var/secrets.yaml >/dev/null
        is digest "error=damaged" "$(echo half | $guard stage a sealed 00 | head -n 1)"
        digest=$(echo whole | sha256sum)
        echo whole | $guard stage a sealed ${digest%% *}
        is staged whole "$(cat /run/nixmox/secrets.a/sealed)"
        is unasked "error=no-such-file" "$(echo x | $guard stage a host-key 00 | head -n 1)"
        is private 700 "$(stat -c %a /run/nixmox)"
        $guard abort a >/dev/null
        is end rolled-back "$(ends a)"
        settled "$old"
        is gone no "$([ -e /run/nixmox/secrets.a ] && echo yes || echo no)"
        "#,
    );
}

#[test]
fn an_activation_that_moves_the_profile_is_corrected() {
    holds(
        r#"
        echo '[ "$1" != test ] || ln -sfn elsewhere /nix/var/nix/profiles/system' >$new/fault
        prepare a >/dev/null
        $guard start a >/dev/null
        awaits a
        is profile system-1-link "$(readlink /nix/var/nix/profiles/system)"
        $guard abort a >/dev/null
        is end rolled-back "$(ends a)"
        settled "$old"
        "#,
    );
}

/// A loader that boots an entry once, and a reboot that is only written down.
const GRUB: &str = r#"
    mkdir /boot/grub
    echo some >/boot/grub/grubenv
    for system in "$old" "$new"; do
        cat >"$system/fault" <<__end__
[ "\$1" != boot ] || cat >/boot/grub/grub.cfg <<__menu__
if [ "x" ]; then
  save_env next_entry
fi
function nothing {
  true
}
menuentry "NixOS" --class nixos {
  linux /kernel init=$system/init quiet
}
submenu "NixOS - All {configurations}" --class submenu {
menuentry "NixOS - Configuration 3" {
  linux /kernel init=$old-of-another-name/init quiet
}
menuentry "NixOS - Configuration 2" {
  linux /kernel init=$new/init
}
}
__menu__
__end__
    done
    "$old/bin/switch-to-configuration" boot
    : >/var/log/switches
    # fake NAME BODY
    fake() {
        printf '#!/bin/sh\n%s\n' "$2" >"$old/sw/bin/$1"
        chmod 755 "$old/sw/bin/$1"
    }
    fake grub-editenv 'shift; echo "$*" >>/run/grubenv'
    fake findmnt 'echo ext4 /dev/sda2'
    fake shutdown 'echo reboot >>/run/reboots'
    # tries -- until it has begun to reboot.
    tries() {
        prepare a trial=yes commit=100 "$@" >/dev/null
        $guard start a >/dev/null
        awaits a
        echo good | $guard confirm a >/dev/null
        echo good | $guard confirm a >/dev/null
        $guard commit a >/dev/null
        _left=100
        until [ -e /run/reboots ] || [ "$_left" = 0 ]; do
            sleep 0.1
            _left=$((_left - 1))
        done
        is reboots reboot "$(cat /run/reboots)"
    }
    # boots SYSTEM -- as if the machine had come up with it.
    boots() {
        sed -i 's/^boot=.*/boot=another/' /var/lib/nixmox/txn/a/state
        rm -rf /run/nixmox/lock /run/nixmox/secrets.*
        ln -sfn "$1" /run/current-system
    }
    default() {
        sed -n 's|.*init=\(.*\)/init.*|\1|p' /boot/grub/grub.cfg | head -n 1
    }
"#;

#[test]
fn a_new_kernel_is_booted_once_and_then_kept() {
    holds(&format!(
        "{GRUB}{}",
        r#"
        tries
        is phase trying "$($guard status a | sed -n 's/^phase=//p')"
        is once 'set next_entry=1>1' "$(cat /run/grubenv)"
        is default "$old" "$(default)"
        is profile "$old" "$(readlink -f /nix/var/nix/profiles/system)"
        is generation "$new" "$(readlink /nix/var/nix/profiles/system-2-link)"
        boots "$new"
        is phase awaiting "$($guard recover a | sed -n 's/^phase=//p')"
        is early error=unconfirmed "$($guard commit a | head -n 1)"
        echo good | $guard confirm a >/dev/null
        echo good | $guard confirm a >/dev/null
        $guard commit a >/dev/null
        is end committed "$(ends a)"
        is default "$new" "$(default)"
        is profile "$new" "$(readlink -f /nix/var/nix/profiles/system)"
        is switches "$new test $old boot $new boot" "$(tr '\n' ' ' </var/log/switches | sed 's/ $//')"
        "#
    ));
}

#[test]
fn a_new_kernel_that_does_not_boot_leaves_the_old_system() {
    holds(&format!(
        "{GRUB}{}",
        r#"
        tries
        boots "$old"
        is phase rolled-back "$($guard recover a | sed -n 's/^phase=//p')"
        is reason not-booted "$($guard status a | sed -n 's/^state\.reason=//p')"
        is default "$old" "$(default)"
        is profile "$old" "$(readlink -f /nix/var/nix/profiles/system)"
        is generation '' "$(readlink /nix/var/nix/profiles/system-2-link)"
        is once 'set next_entry=1>1 unset next_entry' "$(tr '\n' ' ' </run/grubenv | sed 's/ $//')"
        is next "phase=prepared current=$old" "$(prepare b | tr '\n' ' ' | sed 's/ $//')"
        "#
    ));
}

#[test]
fn a_loader_that_does_not_forget_is_not_told_to_boot_once() {
    holds(&format!(
        "{GRUB}{}",
        r#"
        fake findmnt 'echo ext4 /dev/mapper/pool-root'
        prepare a trial=yes goal=boot >/dev/null
        $guard commit a >/dev/null
        is end committed "$(ends a)"
        is default "$new" "$(default)"
        is nothing no "$([ -e /run/grubenv ] && echo yes || echo no)"
        "#
    ));
}

#[test]
fn a_log_keeps_the_beginning_and_the_end_of_what_a_step_says() {
    holds(
        r#"
        echo '[ "$1" != test ] || { echo first; yes noise | head -c 9000000; echo; echo last; exit 2; }' >$new/fault
        prepare a >/dev/null
        $guard start a >/dev/null
        is end rolled-back "$(ends a)"
        log=/var/lib/nixmox/txn/a/log
        until grep -qx last $log; do sleep 0.1; done
        is bounded yes "$([ "$(wc -c <$log)" -lt 700000 ] && echo yes || wc -c $log)"
        for line in first last 'nixmox: the log is cut here; what was written last follows when it is over' \
            'nixmox: the activation ended: exit-code (2)' 'nixmox: rolled-back (activation)'; do
            is "$line" 1 "$(grep -cxF "$line" $log)"
        done
        settled "$old"
        "#,
    );
}

#[test]
fn a_system_that_is_against_it_is_not_begun() {
    holds(
        r#"
        echo 'echo checking; echo "not today" >&2; exit 1' >$new/check
        is refused "error=checks detail=checking not today" "$(prepare a | tr '\n' ' ' | sed 's/  *$//')"
        is nothing '' "$(cat /var/log/switches)"
        settled "$old"
        echo 'echo fine' >$new/check
        is prepared "phase=prepared" "$(prepare b | head -n 1)"
        "#,
    );
}

#[test]
fn shellcheck_has_nothing_to_say() {
    guard::is_clean(Os::NixOs, "");
}
