# What all checks share. RIG: the folder of this file; KT: the program; WORK: a scratch folder; SHIM_SO, SLOW_SO: the
# preloaded libraries; FULL: not empty in the full form.

NOW=2026-04-01T00:00:00Z
RECIPIENT=age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa
# Longer than any run here takes, even on a busy machine.
LIMIT_SECONDS=60

# fresh CASE: enters an empty folder with an empty source.
fresh() {
  rm -rf "${WORK:?}/$1"
  mkdir -p "$WORK/$1/src"
  cd "$WORK/$1" || exit 1
}

# rows DAY COUNT VALUE
rows() {
  local i
  for ((i = 1; i <= $2; i++)); do
    printf '{"id":"%s-%02d","t":"%sT%02d:00:00Z","v":"%s"}\n' "$1" "$i" "$1" "$i" "$3"
  done
}

# source_of DAY COUNT VALUE [broken]: the file of one day; a broken one has a line that is no JSON.
source_of() {
  { rows "$1" "$2" "$3"; [ "${4:-}" = broken ] && echo '{"id":'; } > "src/$1.ndjson"
  return 0
}

# two_days [broken]: five rows for each of two days.
two_days() {
  source_of 2026-03-01 5 a
  source_of 2026-03-02 5 a "${1:-}"
}

# spec [LINE...]: spec.yaml, with more lines. NAME, MAX_ROWS, RETENTION and URI change what it says.
spec() {
  {
    cat << Y
version: 1
name: ${NAME:-t}
type: events
source: {uri: src/, format: ndjson}
time: {column: t}
id: id
window: {date_from: 2026-03-01, date_to: 2026-03-02}
partition: {by: day${MAX_ROWS:+, max_rows: $MAX_ROWS}}
format: csv
compression: none
output: {uri: ${URI:-out}/${RETENTION:+, retention: $RETENTION}}
Y
    printf '%s\n' "$@"
  } > spec.yaml
}

# keys: a key that signs, and who may sign.
keys() {
  ssh-keygen -q -t ed25519 -N '' -C e@example.com -f key
  echo "e@example.com namespaces=\"kt-export\" $(cut -d' ' -f1,2 key.pub)" > allowed
}

# job [SPEC] [ARGUMENT...]: a run of spec.yaml or of SPEC. What it says is appended to the file `said`. SHIM has it
# stopped, killed or failed.
job() {
  local file=spec.yaml
  [ -f "${1:-}" ] && { file=$1; shift; }
  timeout -k 5 "$LIMIT_SECONDS" env ${SHIM:+SHIM="$SHIM" LD_PRELOAD="$SHIM_SO"} \
    "$KT" run "$file" --now "$NOW" --output . --progress never --color never "$@" >> said 2>&1
}

# job_behind [SPEC] [ARGUMENT...]: the same in the background, as process BEHIND. Its messages go to the file `behind`.
job_behind() {
  local file=spec.yaml
  [ -f "${1:-}" ] && { file=$1; shift; }
  env ${SHIM:+SHIM="$SHIM" LD_PRELOAD="$SHIM_SO"} \
    "$KT" run "$file" --now "$NOW" --output . --progress never --color never "$@" >> behind 2>&1 &
  BEHIND=$!
}

# until_stopped PROCESS: 0 once it is stopped, 1 where it has ended.
until_stopped() {
  local state i
  for ((i = 0; i < 3000; i++)); do
    state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2> /dev/null)
    case $state in
      T) return 0 ;;
      '' | Z) return 1 ;;
    esac
    sleep 0.02
  done
  kill -KILL "$1"
  return 1
}

# wake PROCESS: lets it go on; gives its exit code.
wake() {
  kill -CONT "$1"
  wait "$1" 2> /dev/null
}

# verified [ARGUMENT...]: whether the package holds; its words are in the file `verify`.
verified() {
  "$KT" verify --rows "$@" > verify 2>&1
}

# status [PACKAGE]: of its manifest.
status() {
  sed -n 's/^  "status": "\(.*\)",*$/\1/p' "${1:-out}/manifest.json" 2> /dev/null | head -1
}

# note_digests PACKAGE: notes what the manifest names below data/ and rejects/, for `same_bytes`.
note_digests() {
  local file=named
  [ "$(status "$1")" = complete ] && file=final
  grep -E '  (data|rejects)/' "$1/SHA256SUMS" 2> /dev/null | sed "s|  |  $1/|" >> "$file"
  return 0
}

# same_bytes: what a complete manifest ever named is there as it was; what another manifest named is so or is gone.
same_bytes() {
  touch named final
  { [ ! -s final ] || sha256sum --quiet -c final; } > verify 2>&1 || return 1
  [ ! -s named ] || ! sha256sum -c --ignore-missing named 2>&1 | grep FAILED > verify
}

# show FILE...: the end of what was said, for a check that fails.
show() {
  local file
  for file in "$@"; do
    [ -s "$file" ] && { echo "  -- $file"; tail -n 12 "$file" | sed 's/^/  | /'; }
  done
  return 0
}

# must WHAT COMMAND...: ends the check, which is a subshell, where the command fails.
must() {
  local what=$1
  shift
  "$@" && return 0
  fail "$what"
}

fail() {
  echo "$1 (in $PWD)"
  show said behind verify
  exit 1
}

# attempt COURSE [ARGUMENT...]: one of several courses of a check; all are tried. `tally UNIT` ends the check.
attempt() {
  TRIED=$((${TRIED:-0} + 1))
  ("$@") || FAILED=$((${FAILED:-0} + 1))
}

tally() {
  [ "${FAILED:-0}" = 0 ] && { echo "${TRIED:-0} $1"; return 0; }
  echo "$FAILED of $TRIED $1 failed"
  return 1
}

is() { [ "$1" = "$2" ]; }
is_not() { [ "$1" != "$2" ]; }

# shards_hold: what the manifest of out/ names is there. What derives from the manifest may still be missing.
shards_hold() {
  verified out || ! grep -qE '^ *BAD (size and SHA-256|rows of)' verify
}

# intact [ARGUMENT...]: out/ is complete and holds.
intact() {
  is "$(status)" complete && verified out "$@"
}
