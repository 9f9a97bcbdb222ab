# The disk is full. That is no bug of the program, and what it says names the cause.

FULL_DISK='full_disk_at_each_write full_disk_while_a_task_is_recorded'

# full_disk_at_each_write: from the n-th write of the run on, and only at the n-th; then there is room again.
full_disk_at_each_write() {
  local n later
  for later in '' +; do
    for ((n = 1; n <= 200; n++)); do
      fresh "$CHECK"
      two_days
      spec
      SHIM="write|before|/$CHECK/|enospc|$n$later" job --threads 1
      CODE=$?
      grep -q '^\[shim\]' said || break
      attempt disk_was_full "write $n$later" $CODE
    done
  done
  tally writes
}

# What is written while a task record is: a draft, after the shards of both days have their names.
full_disk_while_a_task_is_recorded() {
  local place
  for place in 'linkat|after|_state/partitions/2026-03-01.json$' 'linkat|after|data/2026-03-02/part-0000.csv$' \
    'linkat|after|_state/tasks/'; do
    fresh "$CHECK"
    two_days
    spec
    SHIM="$place|note;+write|before|/_state/tmp/|enospc|1+" job --threads 1
    CODE=$?
    must "$place: nothing was written" grep -q 'enospc' said
    attempt disk_was_full "after $place" $CODE
  done
  tally places
}

# disk_was_full WHERE CODE
disk_was_full() {
  must "$1: exit code $2, which says that the program has a bug" is_not "$2" 1
  must "$1: exit code $2" test "$2" -le 6
  must "$1: it does not say that the disk is full" grep -qiE 'no space left|disk is full' said
  if [ "$2" = 0 ]; then
    # Only what can be made again at any time may be missing.
    must "$1: it says complete, and the manifest does not" is "$(status)" complete
  fi
  job
  must "$1: with room again it does not complete" is $? 0
  must "$1: the package does not hold" intact
}
