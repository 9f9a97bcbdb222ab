# Several runs of one job that stop at points drawn by a seed and go on in an order drawn by it; some die instead.

SCHEDULES=random_schedules

random_schedules() {
  local count=12 first=${KT_EXPORT_PROTOCOL_SEED:-1} seed
  [ -n "$FULL" ] && count=${KT_EXPORT_PROTOCOL_SCHEDULES:-300}
  for ((seed = first; seed < first + count; seed++)); do
    attempt schedule "$seed"
  done
  tally "schedules from seed $first on"
}

# draw WORD...: one of them.
draw() {
  local words=("$@")
  DRAWN=${words[RANDOM % $#]}
}

# draw_rule ACTION
draw_rule() {
  local operation when
  draw linkat linkat linkat rename unlink fsync stat
  operation=$DRAWN
  draw before after
  when=$DRAWN
  DRAWN="$operation|$when|/$CHECK/|$1|$((RANDOM % 24 + 1))"
}

schedule() {
  local kind course="seed $1:" runs=() i code
  RANDOM=$1
  draw plain age chained mended changed rejects begun
  kind=$DRAWN
  course="$course $kind"
  MODE=schedule
  set_up "$kind" "$CHECK"
  good_end "$kind"
  mkdir kept && cp -p src/* kept/
  for i in 1 2 3; do
    draw stop stop kill
    draw_rule "$DRAWN"
    course="$course, $DRAWN"
    SHIM=$DRAWN job_behind --threads 1 -q
    if until_stopped "$BEHIND"; then runs+=("$BEHIND"); else wait "$BEHIND"; fi
    look_at "$course"
    [ "$kind" = changed ] && [ "$i" = 1 ] && source_of 2026-03-01 12 b
  done
  # A run in between, or none.
  draw yes no
  [ "$DRAWN" = yes ] && { job -q; course="$course, job $?"; look_at "$course"; }
  while [ ${#runs[@]} -gt 0 ]; do
    i=$((RANDOM % ${#runs[@]}))
    draw wake wake wake kill
    if [ "$DRAWN" = wake ]; then
      wake "${runs[i]}"
      code=$?
      course="$course, woke $((i + 1)): $code"
      case $code in
        0) must "$course: it says complete" is "$(status)" complete ;;
        3 | 4 | 5 | 6 | 137) ;;
        *) fail "$course: that is no exit code of a run here" ;;
      esac
    else
      kill -KILL "${runs[i]}"
      wait "${runs[i]}"
      course="$course, killed $((i + 1))"
    fi
    look_at "$course"
    unset "runs[i]"
    runs=("${runs[@]}")
  done
  again "$kind"
  must "$course: the last run ends with exit code $CODE" is "$CODE" "$EXIT"
  must "$course: the package is not $STATUS in the end" is "$(status)" "$STATUS"
  must "$course: the package does not hold in the end" verified out $VERIFY
  must "$course: named bytes changed" same_bytes
}

# look_at COURSE: what holds at every time.
look_at() {
  note_digests out
  must "$1: named bytes changed" same_bytes
  [ "$(status)" = complete ] && must "$1: a complete manifest names what is not there" shards_hold
  return 0
}
