
# job_state DIRECTORY -- running, done STATUS, or dead: it ended without saying how.
job_state() {
    if [ -e "$1/rc" ]; then
        echo "done $(cat "$1/rc")"
    elif [ -e "$1/pid" ] && alive "$(cat "$1/pid")"; then
        echo running
    elif [ -e "$1/rc" ]; then
        # It ended while it was looked at.
        echo "done $(cat "$1/rc")"
    else
        echo dead
    fi
}

# alive "PID START" -- does that process run, and not another one that has its number by now?
alive() {
    # shellcheck disable=SC2086  # two words
    set -- $1
    [ -n "${2:-}" ] && [ "$(started "$1")" = "$2" ]
}

# started PID -- when it was started, in the kernel's count.
started() {
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

# start NAME VERB [ARGUMENT...] -- does VERB apart from whoever asks, unless that goes on already.
start() {
    _job=$dir/jobs/$1
    shift
    mkdir -p "$dir/jobs"
    chmod 0700 "$base" "$dir"
    case $([ -d "$_job" ] && job_state "$_job") in
    running)
        say state running
        return
        ;;
    esac
    rm -rf "$_job"
    mkdir "$_job"
    setsid sh "$self" in-job "$run" "$_job" "$@" >"$_job/log" 2>&1 </dev/null &
    _tries=0
    while [ ! -s "$_job/pid" ] && [ "$_tries" -lt 50 ]; do
        sleep 0.1 2>/dev/null || sleep 1
        _tries=$((_tries + 1))
    done
    say state running
}

# in_job DIRECTORY VERB [ARGUMENT...] -- what the started process does.
in_job() {
    _job=$1
    shift
    echo "$$ $(started $$)" >"$_job/pid.new"
    mv "$_job/pid.new" "$_job/pid"
    _verb=$1
    shift
    # A process of its own, so that whatever ends it leaves its status here.
    sh "$self" "$_verb" "$run" "$@"
    echo $? >"$_job/rc.new"
    mv "$_job/rc.new" "$_job/rc"
}

# follow NAME OFFSET SECONDS -- waits that long for news of a job: its state, then its log from there on.
follow() {
    _job=$dir/jobs/$1 _offset=$2 _left=$(($3 * 5))
    [ -d "$_job" ] || refuse no-job "$1"
    while :; do
        _state=$(job_state "$_job")
        _size=$(wc -c <"$_job/log")
        if [ "$_state" != running ] || [ "$_size" -gt "$_offset" ] || [ "$_left" -le 0 ]; then
            break
        fi
        sleep 0.2 2>/dev/null || sleep 1
        _left=$((_left - 1))
    done
    say state "$_state"
    echo
    tail -c "+$((_offset + 1))" "$_job/log" | head -c 65536
}

# stop_jobs -- ends every job of the run, with everything that they have started.
stop_jobs() {
    for _job in "$dir"/jobs/*/; do
        [ -e "${_job}pid" ] || continue
        _pid=$(cat "${_job}pid")
        ! alive "$_pid" || kill -TERM -- "-${_pid% *}" 2>/dev/null
    done
    sleep 1
    for _job in "$dir"/jobs/*/; do
        [ -e "${_job}pid" ] || continue
        _pid=$(cat "${_job}pid")
        ! alive "$_pid" || kill -KILL -- "-${_pid% *}" 2>/dev/null
    done
}
