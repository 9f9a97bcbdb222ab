//! A password or a signature that somebody wrote into a URI is refused, and repeated nowhere: not where the mistake is shown,
//! not in JSON, a log, a manifest or a report.

use crate::project::{NOW, Project};

const CANARY: &str = "c4n4ry";

/// Each with a secret, and whether a store would take the rest of it.
const URIS: [&str; 9] = [
    "https://bob:c4n4ry@example.com/data/a.ndjson",
    "https://c4n4ry@example.com/data/a.ndjson",
    "https://bob:c4n/c4n4ry@example.com/a.ndjson",
    "https://example.com/a.ndjson?X-Amz-Signature=c4n4ry",
    "https://example.com/a.ndjson?sv=2024&sig=c4n4ry",
    "https://example.com/a.ndjson?c4n4ry",
    "s3://bob:c4n4ry@bucket/key",
    "s3://bucket/key?X-Amz-Credential=c4n4ry&X-Amz-Signature=c4n4ry",
    "abfss://container:c4n4ry@account.dfs.core.windows.net/key",
];

#[track_caller]
fn is_refused_in_silence(project: &Project, args: &[&str]) {
    let outcome = project.call(args);
    assert!(!outcome.stdout.contains(CANARY) && !outcome.stderr.contains(CANARY), "{args:?}: {outcome:?}");
    // Annotations for GitHub are on stdout.
    let said = outcome.stdout.clone() + &outcome.stderr;
    outcome.exits(2);
    assert!(said.contains("URIs must not contain credentials"), "{args:?}: {said}");
}

#[test]
fn a_uri_in_a_spec_or_catalog_is_refused_without_its_secret() {
    let window = "type: events\nwindow: {date: 2026-03-01}";
    for uri in URIS {
        for spec in [
            format!("{window}\nsource: {{uri: '{uri}', format: ndjson}}"),
            format!("{window}\nsource: {{uri: {uri}}}"),
            format!("{window}\nsource: {{uri: data/}}\nchain: {{uri: '{uri}'}}"),
            format!("{window}\ncatalog: catalog.yaml"),
        ] {
            let project = Project::with_spec(&spec);
            project.write("data/a.ndjson", "{}\n");
            project.write("catalog.yaml", format!("version: 1\ntypes:\n  events:\n    source: {{uri: '{uri}'}}\n"));
            for format in ["text", "json", "github"] {
                is_refused_in_silence(&project, &["validate", "spec.yaml", "--format", format]);
            }
            for command in ["plan", "doctor", "run"] {
                is_refused_in_silence(&project, &[command, "spec.yaml", "--now", NOW]);
                is_refused_in_silence(&project, &[command, "spec.yaml", "--now", NOW, "--json", "-v"]);
            }
            assert!(!project.path("package").exists());
        }
        let project = Project::new();
        let spec = format!("version: 1\nname: test\n{window}\nsource: {{uri: data/}}\noutput: {{uri: '{uri}'}}\n");
        project.write("spec.yaml", spec);
        project.write("data/a.ndjson", "{}\n");
        is_refused_in_silence(&project, &["run", "spec.yaml", "--now", NOW, "--progress", "never"]);
    }
}

#[test]
fn a_uri_on_the_command_line_is_refused_without_its_secret() {
    let project = Project::with_spec("type: events\nsource: {uri: data/}\nwindow: {date: 2026-03-01}");
    project.write("data/a.ndjson", "{}\n");
    for uri in URIS {
        for args in [
            &["verify", uri][..],
            &["verify", "--chain", uri],
            &["report", uri],
            &["coverage", uri],
            &["sample", uri, "--seed", "1"],
            &["pack", uri, "-o", "a.tar"],
            &["reproduce", uri],
            &["run", "spec.yaml", "--now", NOW, "--output", uri],
            &["jobs", "list", "--store", uri],
        ] {
            is_refused_in_silence(&project, args);
            is_refused_in_silence(&project, &[args, &["--json"]].concat());
        }
    }
}
