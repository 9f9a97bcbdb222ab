# Stops or kills a run at each of its operations, in several kinds of jobs, and looks what becomes of the package.

SWEEP_KINDS='plain age chained mended changed rejects restate begun'
# In the short form every so-manieth point.
SHORT_STEP=23

# set_up KIND FOLDER: a folder that is ready for the run that is stopped or killed.
set_up() {
  fresh "$2"
  PACKAGE=out ARGUMENTS='' VERIFY=''
  source_of 2026-03-01 12 a
  source_of 2026-03-02 5 a
  case $1 in
    plain | changed) MAX_ROWS=4 spec ;;
    age) spec "encryption: {age: {recipients: [$RECIPIENT]}}" ;;
    chained)
      cp "$WORK"/keys/* .
      spec 'sign: {ssh_key_file: key, identity: e@example.com}' 'chain: {uri: chain/}'
      VERIFY='--chain chain --require-signature --allowed-signers allowed'
      ;;
    mended)
      source_of 2026-03-02 5 a broken
      spec
      job -q
      source_of 2026-03-02 5 a
      ;;
    rejects)
      source_of 2026-03-01 12 a broken
      source_of 2026-03-02 5 a broken
      spec 'on_bad_rows: reject'
      ;;
    restate)
      spec
      job -q
      source_of 2026-03-02 7 late
      PACKAGE=out.r2 ARGUMENTS=--restate
      ;;
    begun)
      spec
      SHIM='linkat|after|/_state/log/000001.json$|kill' job -q
      ;;
  esac
  : > said
}

# What a kind of job ends with.
good_end() {
  case $1 in
    rejects) EXIT=3 STATUS=partial ;;
    *) EXIT=0 STATUS=complete ;;
  esac
}

# A finding about the present point.
found() {
  BAD=$((BAD + 1))
  echo "$1" >> "$FINDINGS"
  show said behind verify >> "$FINDINGS"
  # Kept for looking at.
  cp -a "$PWD" "$WORK/bad-$BAD-${PWD##*/}" 2> /dev/null
}

# again KIND: runs the job once more and checks how it ends. In a job whose source has changed it may be refused because of
# that; then the old files are brought back.
again() {
  job -q $ARGUMENTS
  CODE=$?
  if [ "$1" = changed ] && [ $CODE != 0 ] && grep -q 'changed since' said; then
    cp -p kept/*.ndjson src/
    job -q $ARGUMENTS
    CODE=$?
    # The end of a generation is an answer, too; nothing stands in the way of the next one.
    [ $CODE = 0 ] || { job -q $ARGUMENTS; CODE=$?; }
  fi
}

# One point. Gives 1 where the run has no such point.
point() {
  local kind=$1 rule=$2 where="$MODE/$1 $2" woken=- file
  set_up "$kind" "sweep-$MODE-$kind"
  good_end "$kind"
  mkdir kept && cp -p src/* kept/
  if [ "$MODE" = kill ]; then
    SHIM=$rule job --threads 1 -q $ARGUMENTS
    grep -q '^\[shim\]' said || return 1
  else
    SHIM=$rule job_behind --threads 1 -q $ARGUMENTS
    until_stopped "$BEHIND" || { wait "$BEHIND"; return 1; }
  fi
  POINTS=$((POINTS + 1))
  note_digests "$PACKAGE"
  if [ "$kind" = changed ]; then
    source_of 2026-03-01 12 b
    job -q
  fi
  if [ "$MODE" = kill ] || [ "$kind" != changed ]; then
    again "$kind"
  else
    job -q
    CODE=0
  fi
  [ "$CODE" = "$EXIT" ] || found "$where: the next run ends with exit code $CODE"
  if [ "$MODE" = stop ]; then
    note_digests "$PACKAGE"
    file=
    if [ "$(status "$PACKAGE")" = complete ]; then
      verified "$PACKAGE" $VERIFY || found "$where: damaged while the first run sleeps"
      file=$(stat -c %i "$PACKAGE/manifest.json")
    fi
    wake "$BEHIND"
    woken=$?
    # Not even for a moment: whoever reads the package would miss it.
    [ -z "$file" ] || [ "$file" = "$(stat -c %i "$PACKAGE/manifest.json" 2> /dev/null)" ] \
      || found "$where: the manifest of a complete package was taken away"
    note_digests "$PACKAGE"
    if [ "$(status "$PACKAGE")" = complete ]; then
      verified "$PACKAGE" $VERIFY || found "$where: damaged after the first run woke (exit code $woken)"
      note_digests "$PACKAGE"
    elif [ $woken = 0 ]; then
      found "$where: the run that woke says complete, and the package is $(status "$PACKAGE")"
    fi
    case $woken in 0 | 3 | 4 | 5 | 6) ;; *) found "$where: the run that woke ends with exit code $woken" ;; esac
    again "$kind"
    [ "$CODE" = "$EXIT" ] || found "$where: the last run ends with exit code $CODE (woken: $woken)"
  fi
  is "$(status "$PACKAGE")" "$STATUS" || found "$where: the package is $(status "$PACKAGE") in the end (woken: $woken)"
  verified "$PACKAGE" $VERIFY || found "$where: damaged in the end (woken: $woken)"
  same_bytes || found "$where: committed bytes changed (woken: $woken)"
  if [ "$kind" = restate ]; then
    verified out || found "$where: the first package is damaged"
  fi
  return 0
}

# sweep MODE KIND: all points of a kind of job; prints figures.
sweep() {
  MODE=$1
  local kind=$2 operation when n number=0 step=1 path
  POINTS=0 BAD=0 FINDINGS=$WORK/findings-$MODE-$kind
  : > "$FINDINGS"
  [ -n "$FULL" ] || step=$SHORT_STEP
  for operation in ${KT_EXPORT_PROTOCOL_OPERATIONS:-linkat rename unlink fsync stat}; do
    for when in before after; do
      path=/sweep-$MODE-$kind/
      if [ $operation = stat ]; then
        # Only what it knows of the decisions: nothing else that it looks at may make a difference.
        [ "$MODE $when" = 'stop after' ] || continue
        path=/_state/log/
      fi
      # Where the short form begins differs from operation to operation, so that it meets different places.
      for ((n = 1 + (number * 7) % step; ; n += step)); do
        point "$kind" "$operation|$when|$path|$MODE|$n" || break
      done
      number=$((number + 1))
    done
  done
  [ $POINTS -gt 0 ] || { echo "no point was reached"; return 1; }
  echo "$POINTS points"
  [ $BAD = 0 ] && return 0
  cat "$FINDINGS"
  echo "$BAD findings"
  return 1
}
