# Single courses of events that once broke a package, each as a check.

SCENARIOS='sleeper sleeper_removes_no_manifest replaced_job_completes replaced_job_loses_its_shards replaced_job_wakes_late sleeper_with_another_report
  lost_record_is_no_success lost_manifest_is_no_success found_files_are_made_durable newline_in_the_manifest runs_at_once loser_dies
  prune_beside_a_run prune_after_a_killed_run prune_of_a_complete_package prune_then_repair forged_record_is_not_signed damaged_shard_is_not_signed'

# A run sleeps right after its first shard has its name; the source is corrected and others finish the job.
sleeper() {
  fresh sleeper
  source_of 2026-03-01 12 old
  source_of 2026-03-02 3 old
  MAX_ROWS=3 spec
  SHIM='linkat|after|data/2026-03-01/part-0000.csv$|stop' job_behind --threads 1
  must 'the run did not reach its first shard' until_stopped "$BEHIND"
  source_of 2026-03-01 12 new
  job
  job
  must 'the job is not complete' intact
  note_digests out
  wake "$BEHIND"
  local woken=$?
  must 'committed bytes changed' same_bytes
  must 'the package does not hold after the sleeper woke' intact
  job
  must 'a rerun finds it not complete' is $? 0
  must 'committed bytes changed' same_bytes
  echo "exit code $woken of the run that woke"
}

# A run has read that no manifest is decided on, and sleeps while another one decides on one: what that shows stays.
sleeper_removes_no_manifest() {
  fresh "$CHECK"
  two_days
  spec
  SHIM='linkat|before|data/2026-03-01|stop' job_behind --threads 1
  local first=$BEHIND second
  must 'the first run did not reach its shard' until_stopped "$first"
  SHIM='stat|after|/_state/log/000002.json$|stop;+unlink|before|/out/manifest.json$|note;+unlink|after|/out/manifest.json$|kill' \
    job_behind --threads 1
  second=$BEHIND
  must 'the second run did not read the log' until_stopped "$second"
  wake "$first"
  must 'the first run does not complete' is $? 0
  must 'its package does not hold' intact
  wake "$second"
  must 'the second run removes the manifest of a complete package' test -f out/manifest.json
  must 'the package does not hold' intact
  echo 'the manifest stays'
}

# two_jobs: j1.yaml and j2.yaml for one folder; ID is that of the first.
two_jobs() {
  two_days
  spec
  cp spec.yaml j1.yaml
  NAME=other spec "$@"
  mv spec.yaml j2.yaml
  ID=$("$KT" plan j1.yaml --now "$NOW" --output . --format json 2> /dev/null | grep -oE 'job_[a-z2-7]{26}' | head -1)
  must 'the job has no id' test -n "$ID"
}

# A job completes while another is about to replace it: the package stays.
replaced_job_completes() {
  local place point
  for place in 'linkat|before|out/_state/log/000002.json$' 'linkat|before|out/_state/manifests/'; do
    for point in 'linkat|before|out/_state/plans/' 'linkat|after|out/_state/plans/' 'linkat|before|out/_state/log/'; do
      attempt complete_before_replaced "$place" "$point"
    done
  done
  tally courses
}

complete_before_replaced() {
  fresh "$CHECK"
  two_jobs
  SHIM="$1|stop" job_behind j1.yaml
  local first=$BEHIND second
  must "the first job did not reach $1" until_stopped "$first"
  SHIM="$2|stop" job_behind j2.yaml --replace "$ID"
  second=$BEHIND
  must "the second job did not reach $2" until_stopped "$second"
  wake "$first"
  must "$1, $2: the first job does not complete" is $? 0
  must "$1, $2: its package does not hold" intact
  note_digests out
  wake "$second"
  must "$1, $2: the second job takes a complete package" is_not $? 0
  must "$1, $2: a complete package was deleted" same_bytes
  must "$1, $2: the package does not hold" intact
  must "$1, $2: it is another job's" grep -q "\"id\": \"$ID\"" out/manifest.json
}

# A job that was replaced wakes before its manifest: it must not publish one over shards that are gone.
replaced_job_loses_its_shards() {
  local place point lines all=0
  for lines in '' 'columns: [t]'; do
    for place in 'linkat|before|out/_state/log/000002.json$' 'linkat|before|out/_state/manifests/' \
      'linkat|before|out/_state/partitions/2026-03-02' 'linkat|before|data/2026-03-02' 'linkat|after|data/2026-03-01'; do
      for point in 'linkat|before|data/2026-03-01' 'linkat|after|data/2026-03-02' 'linkat|after|out/_state/partitions/' \
        'unlink|before|out/data/' 'unlink|after|out/data/' 'linkat|before|out/manifest.json$'; do
        all=$((all + 1))
        # In the short form every fourth.
        [ -n "$FULL" ] || [ $((all % 4)) = 1 ] || continue
        attempt replaced_before_complete "$place" "$point" "$lines"
      done
    done
  done
  tally courses
}

replaced_before_complete() {
  fresh "$CHECK"
  two_jobs "$3"
  SHIM="$1|stop" job_behind j1.yaml --threads 1
  local first=$BEHIND second is_stopped=yes code
  must "the first job did not reach $1" until_stopped "$first"
  SHIM="$2|stop" job_behind j2.yaml --replace "$ID" --threads 1
  second=$BEHIND
  until_stopped "$second" || is_stopped=no
  wake "$first"
  code=$?
  must "$1, $2: the replaced job says complete" is_not $code 0
  must "$1, $2: the replaced job ends with exit code $code" test $code -le 6 -a $code -ne 1
  [ "$(status)" = complete ] && must "$1, $2: a complete manifest over shards that are gone" shards_hold
  if [ $is_stopped = yes ]; then
    wake "$second"
    must "$1, $2: the second job does not complete" is $? 0
  fi
  must "$1, $2: the package does not hold" intact
  must "$1, $2: it is the first job's" grep -q '"name": "other"' out/manifest.json
  note_digests out
  job j1.yaml
  must "$1, $2: the first job takes a complete package" is_not $? 0
  must "$1, $2: the package changed" same_bytes
}

# A job that was replaced wakes when the other one is complete. What it leaves over is gone after one more run of that.
replaced_job_wakes_late() {
  local place
  for place in 'linkat|before|out/_state/log/000002.json$' 'linkat|before|out/_state/partitions/2026-03-02' \
    'linkat|before|data/2026-03-02' 'linkat|after|data/2026-03-01' 'linkat|before|data/2026-03-01' \
    'linkat|before|out/_state/log/000001.json$' 'linkat|before|out/_state/tasks/'; do
    attempt wakes_when_replaced "$place"
  done
  tally courses
}

wakes_when_replaced() {
  fresh "$CHECK"
  two_jobs
  SHIM="$1|stop" job_behind j1.yaml --threads 1
  must "the first job did not reach $1" until_stopped "$BEHIND"
  job j2.yaml --replace "$ID"
  must "$1: the second job does not complete" is $? 0
  must "$1: its package does not hold" intact
  note_digests out
  wake "$BEHIND"
  local code=$?
  must "$1: the replaced job ends with exit code $code" test $code -le 6 -a $code -ge 2
  must "$1: named bytes changed" same_bytes
  must "$1: a complete manifest over shards that are gone" shards_hold
  job j2.yaml
  must "$1: a rerun does not find it complete" is $? 0
  must "$1: the package does not hold after one more run" intact
  must "$1: named bytes changed" same_bytes
}

# A run wakes between its partial manifest and what derives from it; another has completed the job and died.
sleeper_with_another_report() {
  local place point
  for place in 'linkat|after|out/manifest.json$' 'linkat|before|out/manifest.json$' 'rename|before|out/report.html$' \
    'rename|before|out/SHA256SUMS$'; do
    for point in 'linkat|after|out/manifest.json$' 'rename|after|out/report.html$' 'linkat|after|out/_state/log/000004.json$'; do
      attempt wakes_with_another_report "$place" "$point"
    done
  done
  tally courses
}

wakes_with_another_report() {
  fresh "$CHECK"
  two_days broken
  spec
  SHIM="$1|stop" job_behind --threads 1
  must "the run did not reach $1" until_stopped "$BEHIND"
  source_of 2026-03-02 5 a
  SHIM="$2|kill" job --threads 1
  must "the second run did not reach $2" grep -q '^\[shim\]' said
  wake "$BEHIND"
  must "$1, $2: report or SHA256SUMS are of another manifest" report_is_of_the_manifest
  job
  must "$1, $2: a rerun does not complete" is $? 0
  must "$1, $2: report or SHA256SUMS are of another manifest" intact
}

report_is_of_the_manifest() {
  [ "$(status)" != complete ] || verified out
}

# fails_and_recovers RULE: a run that fails at one operation does not say complete, and one rerun completes the job.
fails_and_recovers() {
  fresh "$CHECK"
  two_days
  spec
  SHIM=$1 job --threads 1
  local code=$?
  must "$1: the fault was not reached" grep -q '^\[shim\]' said
  must "$1: the run that failed says complete" is_not $code 0
  must "$1: the run that failed calls it a bug" is_not $code 1
  must "$1: the cause is not told" grep -q 'os error 5' said
  job
  must "$1: a rerun does not complete" is $? 0
  must "$1: the package does not hold" intact
}

# What a run has written itself, and what may be lost, is no answer to its own error.
lost_record_is_no_success() {
  local rule
  for rule in 'linkat|after|_state/partitions/2026-03-01.json$|note;+fsync|before|_state/partitions$|eio' \
    'linkat|after|_state/partitions/2026-03-02.json$|note;+fsync|before|_state/partitions$|eio' \
    'linkat|after|data/2026-03-01/part-0000.csv$|note;+fsync|before|data/2026-03-01$|eio' \
    'linkat|after|_state/tasks/|note;+fsync|before|_state/tasks$|eio' \
    'fsync|before|out/_state/partitions$|eio' 'fsync|before|out/_state/tasks$|eio'; do
    attempt fails_and_recovers "$rule"
  done
  tally faults
}

lost_manifest_is_no_success() {
  local rule
  for rule in 'linkat|after|/_state/log/000002.json$|note;+fsync|before|/_state/log$|eio' \
    'linkat|after|/_state/log/000001.json$|note;+fsync|before|/_state/log$|eio' \
    'linkat|after|/_state/plan.json$|note;+fsync|before|/_state$|eio' \
    'linkat|after|/_state/manifests/|note;+fsync|before|/_state/manifests$|eio' \
    'linkat|after|/out/manifest.json$|note;+fsync|before|/out$|eio' \
    'linkat|after|/out/manifest.json$|note;+fsync|before|/out/manifest.json$|eio'; do
    attempt fails_and_recovers "$rule"
  done
  tally faults
}

# A run that relies on a file of a dead run makes its name durable first: the dead one did not come to it.
found_files_are_made_durable() {
  attempt made_durable '/_state/plan.json$' '/_state$' '/_state/log/000001.json$'
  attempt made_durable '/_state/log/000001.json$' '/_state/log$' '/data/'
  attempt made_durable '/_state/partitions/2026-03-01.json$' '/_state/partitions$' '/_state/log/000002.json$'
  attempt made_durable '/_state/tasks/' '/_state/tasks$' '/_state/log/000002.json$'
  attempt made_durable '/_state/log/000002.json$' '/_state/log$' '/out/manifest.json$'
  attempt made_durable '/out/manifest.json$' '/out$' '/out/SHA256SUMS$'
  tally files
}

# made_durable FILE FOLDER NEXT: FILE was linked and its FOLDER not synced; that happens before NEXT gets its name.
made_durable() {
  fresh "$CHECK"
  two_days
  spec
  SHIM="linkat|after|$1|kill" job --threads 1
  must "$1: the run was not killed" grep -q '^\[shim\]' said
  : > said
  SHIM="fsync|before|$2|note|1+;linkat|before|$3|note;rename|before|$3|note" job --threads 1
  must "$1: the rerun does not complete" is $? 0
  must "$1: its folder is not synced before $3" sh -c "grep '^.shim' said | head -1 | grep -q 'before fsync'"
}

# An editor ends the file with a newline. The next run has to end, whether it refuses or does its work.
newline_in_the_manifest() {
  fresh newline_in_the_manifest
  two_days broken
  spec
  job
  echo >> out/manifest.json
  source_of 2026-03-02 5 a
  LIMIT_SECONDS=30 job
  local code=$?
  must "the rerun does not end" test $code -ne 124 -a $code -ne 137
  if [ $code = 0 ]; then
    must 'the package does not hold' intact
  else
    must 'the error does not name the file' grep -q 'manifest.json' said
    job --repair
    must '--repair does not complete the job' is $? 0
    must 'the package does not hold' intact
  fi
  echo "exit code $code"
}

# Runs at once on one folder, with encryption, by which each run writes other bytes, and with rejects.
runs_at_once() {
  local tries=3 at_once=6 try i pids code
  [ -n "$FULL" ] && tries=60
  for ((try = 0; try < tries; try++)); do
    fresh runs_at_once
    source_of 2026-03-01 5 a broken
    source_of 2026-03-02 5 a broken
    spec 'on_bad_rows: reject' "encryption: {age: {recipients: [$RECIPIENT]}}"
    pids=
    for ((i = 0; i < at_once; i++)); do
      job_behind -q
      pids="$pids $BEHIND"
    done
    for i in $pids; do
      wait "$i"
      code=$?
      must "round $try: a run ends with exit code $code" test $code -eq 3
    done
    must "round $try: the package does not hold" verified out
    note_digests out
    job -q
    must "round $try: a rerun ends otherwise" is $? 3
    must "round $try: named bytes changed" same_bytes
    must "round $try: the package does not hold after a rerun" verified out
  done
  echo "$tries rounds of $at_once runs"
}

# A run that lost dies after its shard has its name, and before it can take it back.
loser_dies() {
  local course
  for course in 'linkat|before|data/2026-03-01/part-0000|stop;linkat|after|data/2026-03-01/part-0000|kill' \
    'linkat|before|data/2026-03-01/part-0000|stop;+unlink|before|_state/tmp/|kill' \
    'linkat|before|data/2026-03-02/part-0000|stop;+unlink|before|out/data/|kill'; do
    attempt loses_and_dies "$course"
    attempt loses_and_dies "$course" "encryption: {age: {recipients: [$RECIPIENT]}}"
  done
  tally courses
}

loses_and_dies() {
  fresh "$CHECK"
  two_days
  spec "${@:2}"
  SHIM=$1 job_behind --threads 1
  must "the run did not reach $1" until_stopped "$BEHIND"
  job
  must 'the winner does not complete' intact
  note_digests out
  wake "$BEHIND"
  job
  must "$1: a rerun ends otherwise" is $? 0
  must "$1: the package does not hold after one more run" intact
  must "$1: committed bytes changed" same_bytes
}

# partial_in_a_store: a partial package whose retention is over, noted in the store `st`; then the source is mended.
partial_in_a_store() {
  two_days broken
  RETENTION=1s spec
  job --store st
  must 'the first run is not partial' is $? 3
  sleep 1.2
  source_of 2026-03-02 5 a
}

# Prunes while a run of the same job sleeps that has looked at what is committed.
prune_beside_a_run() {
  local place
  for place in 'linkat|before|data/2026-03-02/part-0000' 'linkat|before|_state/log/000003.json$' \
    'linkat|after|_state/log/000003.json$' 'linkat|before|_state/partitions/2026-03-02' \
    'linkat|before|_state/log/000004.json$' 'linkat|after|_state/log/000004.json$' 'linkat|before|out/manifest.json$' \
    'rename|before|out/SHA256SUMS$'; do
    attempt prunes_beside "$place"
  done
  tally courses
}

prunes_beside() {
  fresh "$CHECK"
  partial_in_a_store
  SHIM="$1|stop" job_behind --threads 1
  must "the run did not reach $1" until_stopped "$BEHIND"
  "$KT" jobs prune --yes --store st >> said 2>&1
  wake "$BEHIND"
  local code=$?
  must "$1: the run that woke ends with exit code $code" test $code -le 6 -a $code -ne 1
  must "$1: a manifest names a shard that is gone (exit code $code of the run)" shards_hold
  job
  code=$?
  must "$1: the rerun ends with exit code $code" test $code -le 6 -a $code -ne 1
  must "$1: the package does not hold after a rerun (exit code $code)" verified out
}

# Prunes a package in which a run died after the manifest.
prune_after_a_killed_run() {
  local place
  for place in 'linkat|after|data/2026-03-02/part-0000' 'linkat|after|_state/log/000003.json$' \
    'linkat|after|_state/partitions/2026-03-02' 'linkat|before|_state/log/000004.json$' \
    'linkat|after|_state/log/000004.json$' 'linkat|after|out/manifest.json$' 'rename|before|out/SHA256SUMS$'; do
    attempt prunes_after "$place"
  done
  tally courses
}

prunes_after() {
  fresh "$CHECK"
  partial_in_a_store
  SHIM="$1|kill" job --threads 1
  must "the run did not reach $1" grep -q '^\[shim\]' said
  "$KT" jobs prune --yes --store st >> said 2>&1
  local code=$?
  must "$1: prune ends with exit code $code" test $code -le 6 -a $code -ne 1
  job
  code=$?
  must "$1: the rerun ends with exit code $code" test $code -le 6 -a $code -ne 1
  must "$1: the package does not hold after a rerun (exit code $code)" verified out
}

# Prunes a complete package while a run sleeps that had begun it.
prune_of_a_complete_package() {
  local place
  for place in 'linkat|before|data/2026-03-01' 'linkat|after|data/2026-03-01' 'linkat|before|_state/partitions/2026-03-01' \
    'linkat|before|data/2026-03-02' 'linkat|before|_state/tasks/' 'linkat|before|_state/manifests/' \
    'linkat|before|_state/log/000002.json$' 'linkat|before|_state/log/000001.json$'; do
    attempt prunes_complete "$place"
  done
  tally courses
}

prunes_complete() {
  fresh "$CHECK"
  two_days
  RETENTION=1s spec
  SHIM="$1|stop" job_behind --threads 1
  must "the run did not reach $1" until_stopped "$BEHIND"
  job --store st
  must "$1: the second run does not complete" is $? 0
  sleep 1.2
  "$KT" jobs prune --yes --store st >> said 2>&1
  must "$1: prune fails" is $? 0
  must "$1: nothing was pruned" test ! -e out/data/2026-03-01/part-0000.csv
  wake "$BEHIND"
  local code=$?
  must "$1: the run that woke ends with exit code $code" test $code -le 6 -a $code -ne 1
  job
  must "$1: a rerun ends otherwise" is $? 0
  must "$1: the package does not hold after one more run" intact
}

# A pruned package is not filled again, and what is there agrees.
prune_then_repair() {
  local codes
  fresh prune_then_repair
  partial_in_a_store
  "$KT" jobs prune --yes --store st >> said 2>&1
  must 'prune fails' is $? 0
  verified out
  must 'the pruned package does not hold' is $? 0
  job
  codes=$?
  verified out
  must "the package does not hold after a rerun (exit code $codes)" is $? 0
  job --repair
  codes="$codes and $?"
  verified out
  must "the package does not hold after --repair (exit codes $codes)" is $? 0
  if [ "$(status)" = complete ]; then
    must 'a mark of pruning stays beside shards' test -z "$(find out -iname '*prune*' -o -iname '*tomb*')"
  fi
  echo "exit codes $codes of the run and of --repair"
}

# signing_run_is_killed: a run that signs dies after it has committed one partition.
signing_run_is_killed() {
  two_days
  cp "$WORK"/keys/* .
  spec 'sign: {ssh_key_file: key, identity: e@example.com}'
  SHIM='linkat|after|_state/partitions/2026-03-01.json$|kill' job -q
  must 'the run did not commit a partition' test -f out/_state/partitions/2026-03-01.json
}

# What somebody without the key puts into the package, with a record that matches, is not signed.
forged_record_is_not_signed() {
  fresh forged_record_is_not_signed
  signing_run_is_killed
  local shard=out/data/2026-03-01/part-0000.csv record=out/_state/partitions/2026-03-01.json old new code
  old=$(sha256sum < $shard | cut -c1-64)
  sed -i 's/^2026-03-01-01,/2026-03-01-99,/' $shard
  new=$(sha256sum < $shard | cut -c1-64)
  must 'the shard was not forged' is_not "$old" "$new"
  sed -i "s/$old/$new/g" $record
  job
  code=$?
  if [ -f out/manifest.json ]; then
    must "the forged row is signed (exit code $code)" \
      test -z "$(grep '  data/' out/SHA256SUMS | cut -d' ' -f3 | sed 's|^|out/|' | xargs grep -l 2026-03-01-99)"
  fi
  must "the run ends with exit code $code" is $code 0
  must 'the package does not hold' intact --require-signature --allowed-signers allowed
  echo "exit code $code"
}

# A shard that was only damaged, under its record.
damaged_shard_is_not_signed() {
  fresh damaged_shard_is_not_signed
  signing_run_is_killed
  sed -i 's/2026-03-01-01/XXXXXXXXXX-XX/' out/data/2026-03-01/part-0000.csv
  job
  local code=$?
  if [ $code = 0 ]; then
    must 'the package does not hold' intact --require-signature --allowed-signers allowed
  else
    must 'a manifest was signed' test ! -f out/manifest.json
    must 'the damaged file is not named' grep -q 'data/2026-03-01/part-0000.csv' said
    must 'the way out is not named' grep -q -e --repair said
    job --repair
    must '--repair does not complete the job' is $? 0
    must 'the package does not hold after --repair' intact --require-signature --allowed-signers allowed
  fi
  echo "exit code $code"
}
