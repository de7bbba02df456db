# ------------------------------------------------------------------------ main

case $txn in
*[!A-Za-z0-9-]*) refuse transaction ;;
esac

case $verb in
probe) ;;
*)
    use_old_tools
    trap '' HUP PIPE
    ;;
esac

case $verb in
probe | prepare | start | activate | activated | confirm | commit | committing | rollback | rolled | due | status | recover) "$verb" ;;
dry | push) "$verb" "${3:-none}" ;;
stage) stage "${3:-}" "${4:-}" ;;
follow) follow "${3:-0}" "${4:-0}" ;;
abort) abort "${3:-asked}" ;;
later | bounded) "$verb" "$@" ;;
*) refuse verb "$verb" ;;
esac
