//! The part that runs on Macs: the same protocol as on NixOS, in the words of what every Mac has.
//!
//! There was no Mac to try it on. The sandbox says that it is one, and what Macs do not have is found when it is called.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

mod guard;

use nixmox_deploy::Os;

/// Runs a scenario under shells that Macs have.
#[track_caller]
fn holds(scenario: &str) {
    let prelude = include_str!("guard/prelude_darwin.sh");
    guard::holds(Os::Darwin, ["bash", "dash"], prelude, scenario);
}

#[test]
fn a_confirmed_system_is_kept() {
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
        is second "count=2" "$(echo good | $guard confirm a | head -n 1)"
        is commit phase=committing "$($guard commit a)"
        is end committed "$(ends a)"
        settled "$new"
        is switches "$new" "$(tr '\n' ' ' </var/log/switches | sed 's/ $//')"
        is probe "$new $new" "$($guard probe | sed -n 's/^\(current\|profile_system\)=//p' | tr '\n' ' ' | sed 's/ $//')"
        "#,
    );
}

#[test]
fn what_fails_is_gone_back_from() {
    holds(
        r#"
        echo 'exit 3' >$new/fault
        prepare a >/dev/null
        $guard start a >/dev/null
        is end rolled-back "$(ends a)"
        is reason "activation 3" "$($guard status a | sed -n 's/^state\.\(reason\|status\)=//p' | tr '\n' ' ' | sed 's/ $//')"
        # It may have changed anything before it failed.
        is switches "$new $old" "$(tr '\n' ' ' </var/log/switches | sed 's/ $//')"
        settled "$old"
        echo ': >/run/current-system.other; exec true' >$new/fault
        prepare b >/dev/null
        $guard start b >/dev/null
        is end rolled-back "$(ends b)"
        settled "$old"
        "#,
    );
}

#[test]
fn what_hangs_is_killed_with_all_that_it_started() {
    holds(
        r#"
        echo 'sleep 1000 & sleep 1000' >$new/fault
        prepare a activation=1 >/dev/null
        $guard start a >/dev/null
        is end rolled-back "$(ends a)"
        is status timeout "$($guard status a | sed -n 's/^state\.status=//p')"
        settled "$old"
        is left '' "$(pgrep -f 'sleep 1000' || true)"
        # And when somebody asks for it meanwhile.
        prepare b >/dev/null
        $guard start b >/dev/null
        while ! pgrep -f 'sleep 1000' >/dev/null; do sleep 0.1; done
        $guard abort b >/dev/null
        is end rolled-back "$(ends b)"
        settled "$old"
        is left '' "$(pgrep -f 'sleep 1000' || true)"
        "#,
    );
}

#[test]
fn silence_is_no_confirmation() {
    holds(
        r#"
        prepare a confirmation=2 >/dev/null
        $guard start a >/dev/null
        awaits a
        is first "count=1" "$(echo good | $guard confirm a | head -n 1)"
        is end rolled-back "$(ends a)"
        is reason not-confirmed "$($guard status a | sed -n 's/^state\.reason=//p')"
        settled "$old"
        "#,
    );
}

#[test]
fn a_mac_has_one_activation_at_a_time_and_is_a_mac() {
    holds(
        r#"
        prepare a >/dev/null
        is locked "error=locked" "$(prepare b | sed -n '/^error/p')"
        is order "$new" "$($guard probe | sed -n 's/^asked.toplevel=//p')"
        is abort rolling-back "$($guard abort a | sed -n s/^phase=//p)"
        is end rolled-back "$(ends a)"
        settled "$old"
        # What a process that is gone has held, nobody waits for.
        mkdir /var/run/nixmox/mutex.d
        sh -c 'echo $$ >/var/run/nixmox/mutex.d/process'
        is prepared phase=prepared "$(prepare c | head -n 1)"
        $guard abort c >/dev/null
        is end rolled-back "$(ends c)"
        : >$new/activate-user
        chmod 755 $new/activate-user
        is legacy error=activate-user "$(prepare d | head -n 1)"
        echo '# nix-darwin: deprecated' >$new/activate-user
        rm -f $old/sw/bin/uname
        is linux "error=not-darwin detail=Linux" "$(prepare d | tr '\n' ' ' | sed 's/ $//')"
        "#,
    );
}

#[test]
fn a_boot_in_between_brings_all_of_the_old_system_back() {
    holds(
        r#"
        prepare a >/dev/null
        $guard start a >/dev/null
        awaits a
        # Whoever waited is gone, and the boot has activated a part of what the profile names.
        for file in /var/run/nixmox/*.pid; do kill -KILL "-$(cat $file 2>/dev/null)" 2>/dev/null || true; done
        rm -rf /var/run/nixmox/*
        ln -sfn $old /run/current-system
        echo second >/var/boot
        is recover rolling-back "$($guard recover a | sed -n s/^phase=//p)"
        is end rolled-back "$(ends a)"
        is reason rebooted "$($guard status a | sed -n 's/^state\.reason=//p')"
        is switches "$new $old" "$(tr '\n' ' ' </var/log/switches | sed 's/ $//')"
        settled "$old"
        "#,
    );
}

#[test]
fn shellcheck_has_nothing_to_say() {
    // Functions whose place others take are never reached.
    guard::is_clean(Os::Darwin, "SC2317");
}
