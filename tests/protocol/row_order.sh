# One Parquet file, one partition, several threads on a busy machine: the same bytes, always.

ROW_ORDER='order_under_load order_with_slow_wakes order_of_runs_at_once'

# in_order: a folder with the source and its spec.
in_order() {
  fresh "$CHECK"
  cp "$WORK/source.parquet" src/
  cat > spec.yaml << 'Y'
version: 1
name: order
type: events
source: {uri: src/}
time: {column: t}
id: id
window: {date: 2026-03-01}
partition: {by: day}
format: csv
compression: none
output: {uri: out/}
Y
}

# shards: one digest of all shards of out/.
shards() {
  find out/data -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-64
}

# How a run that nothing disturbs orders the rows: as the source does.
undisturbed() {
  in_order
  job -q --threads 1
  must 'a run with one thread does not complete' intact
  must 'the rows are not in the order of the source' is_sorted out/data/2026-03-01/part-0000.csv
  shards
}

# busy: a loop for each processor, until `quiet`.
busy() {
  local i
  LOOPS=
  for ((i = 0; i < $(nproc); i++)); do
    (while :; do :; done) &
    LOOPS="$LOOPS $!"
  done
  trap quiet EXIT
}

quiet() {
  kill $LOOPS 2> /dev/null
  wait $LOOPS 2> /dev/null
}

# one_order RUN WANTED: the present package, which is then removed.
one_order() {
  must "run $1: the package does not hold" intact
  must "run $1: other bytes" is "$(shards)" "$2"
  rm -rf out
}

order_under_load() {
  local runs=60 run wanted
  [ -n "$FULL" ] && runs=${KT_EXPORT_PROTOCOL_ORDER_RUNS:-2000}
  wanted=$(undisturbed) || { echo "$wanted"; return 1; }
  in_order
  busy
  for ((run = 1; run <= runs; run++)); do
    job -q --threads $((run % 2 * 4 + 4))
    must "run $run: it does not complete" is $? 0
    one_order "$run" "$wanted"
  done
  echo "$runs runs"
}

order_with_slow_wakes() {
  local runs=5 run wanted
  [ -n "$FULL" ] && runs=${KT_EXPORT_PROTOCOL_SLOW_RUNS:-100}
  wanted=$(undisturbed) || { echo "$wanted"; return 1; }
  in_order
  for ((run = 1; run <= runs; run++)); do
    timeout 240 env LD_PRELOAD="$SLOW_SO" "$KT" run spec.yaml --now "$NOW" --output . --progress never -q \
      --threads $((run % 2 * 4 + 4)) >> said 2>&1
    must "run $run: it does not complete" is $? 0
    one_order "$run" "$wanted"
  done
  echo "$runs runs"
}

order_of_runs_at_once() {
  local rounds=5 round i wanted pids
  [ -n "$FULL" ] && rounds=${KT_EXPORT_PROTOCOL_ROUNDS:-200}
  wanted=$(undisturbed) || { echo "$wanted"; return 1; }
  in_order
  for ((round = 1; round <= rounds; round++)); do
    pids=
    for ((i = 0; i < 8; i++)); do
      job_behind -q --threads 4
      pids="$pids $BEHIND"
    done
    for i in $pids; do
      wait "$i"
      must "round $round: a run does not complete" is $? 0
    done
    one_order "$round" "$wanted"
  done
  echo "$rounds rounds of 8 runs"
}

# is_sorted FILE: below its header.
is_sorted() {
  tail -n +2 "$1" | LC_ALL=C sort -c
}
