# step NAME COMMAND…: runs the command under its name, says how long it took, and ends the script if it fails.
step() {
    local name="$1" start=$SECONDS status=0
    shift
    printf '\n== %s\n' "$name"
    "$@" || status=$?
    if [ "$status" -ne 0 ]; then
        printf '== %s FAILED after %d s (status %d)\n' "$name" $((SECONDS - start)) "$status"
        exit "$status"
    fi
    printf '== %s passed in %d s\n' "$name" $((SECONDS - start))
}
