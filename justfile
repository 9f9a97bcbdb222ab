# The commands that people need: `just --list`. https://just.systems

data := "target/peers/data"

# What a change must pass before it is pushed: formatting, lints, documentation, tests
check: && test
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked

# Unit tests, the suite, and 1,000 simulated schedules; ARGS as for `cargo test`
test *ARGS:
    cargo test --locked {{ ARGS }}

# Everything that CI runs
ci:
    .ci/run

# Checks with other programs: `just rigs` runs all, `just rigs protocol` runs one
rigs *NAMES="evidence formats protocol report stores":
    cargo build --locked
    for rig in {{ NAMES }}; do tests/$rig/run || exit 1; done

# Simulated schedules of many runs, by range of seeds
simulate SEEDS="0..100000":
    KT_EXPORT_SIMULATE_SEEDS={{ SEEDS }} cargo test --release --locked --lib simulation -- --nocapture

# One simulated schedule, step by step; it always ends as a failed test, because that shows the steps
trace SEED:
    KT_EXPORT_SIMULATE_TRACE={{ SEED }} cargo test --release --locked --lib simulation -- --nocapture

# The text encoders beside those of arrow-csv and arrow-json
bench-encoders:
    cargo bench --locked --bench encoders

# Whole exports beside DuckDB, Polars, chDB and DataFusion; ARGS as for benches/peers/run.py
bench ROWS="10_000_000" *ARGS:
    cargo build --release --locked
    test -x target/peers/bin/python || python3 -m venv target/peers
    target/peers/bin/pip install --quiet -r benches/peers/requirements.txt
    test -d {{ data / ROWS }} || target/peers/bin/python benches/peers/make_data.py {{ ROWS }} {{ data / ROWS }}.part
    test -d {{ data / ROWS }} || mv {{ data / ROWS }}.part {{ data / ROWS }}
    target/peers/bin/python benches/peers/run.py --data {{ data / ROWS }} --ours target/release/kt-export --check {{ ARGS }}

# Licenses, sources, banned crates and advisories of dependencies; `just deny bans licenses sources` needs no advisory database
deny *CHECKS:
    .ci/deny {{ CHECKS }}

# Writes expected messages, the report's snapshot and schema/ anew; read the difference before committing it
snapshots:
    SNAPSHOTS=overwrite cargo test --locked
