//! `sign`: who wrote a package, told by stock tools and by `verify`, and by nobody else's key.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kt_export::diagnostic::Located;
use kt_export::secret::SecretName;
use kt_export::signature::Signer;
use serde_json::{Value, json};

use crate::project::{NOW, Outcome, Package, Project, daily_files, files_below, outcome};

pub(crate) const SIGN: &str = "sign: {ssh_key_file: key, identity: evidence@example.com}";
const SPEC: &str = "type: events\nsource: {uri: data/}\nwindow: {date_from: 2026-03-01, date_to: 2026-03-03}";
/// The fingerprint that ssh-keygen -l shows of tests/signatures/ed25519.pub.
const PRINT: &str = include_str!("../signatures/ed25519.fingerprint").trim_ascii_end();

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signatures").join(name)
}

/// Puts a key of the fixtures where specs expect it, and its owner on the list of allowed signers.
pub(crate) fn give_key(project: &Project, name: &str) {
    project.write("key", std::fs::read(fixture(name)).unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(project.path("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let public = std::fs::read_to_string(fixture(&format!("{}.pub", name.trim_end_matches(".pub")))).unwrap();
    project.write("allowed", format!("# auditors\nevidence@example.com namespaces=\"kt-export\" {public}"));
}

/// The signature of a file by a key of the fixtures.
pub(crate) fn signature(key: &str, file: &Path) -> String {
    let key = SecretName::File { written: Located::default_value(key.to_owned()), path: fixture(key) };
    let signer = Signer::load(&key, "anybody", &std::collections::BTreeMap::new()).unwrap();
    signer.sign(&std::fs::read(file).unwrap()).unwrap()
}

fn signed() -> (Project, Package) {
    let project = Project::with_spec(&format!("{SPEC}\n{SIGN}"));
    give_key(&project, "ed25519");
    for (name, text) in daily_files(3, 20) {
        project.write(&name, text);
    }
    let package = project.complete();
    (project, package)
}

fn verify(project: &Project, args: &[&str]) -> Outcome {
    project.call(&[&["verify", "package"], args].concat())
}

const STRICT: [&str; 3] = ["--require-signature", "--allowed-signers", "allowed"];

/// `manifest.json`, changed, with SHA256SUMS in step.
pub(crate) fn edit_manifest(package: &Path, edit: impl FnOnce(&mut Value)) {
    let path = package.join("manifest.json");
    let old = std::fs::read(&path).unwrap();
    let mut manifest: kt_export::package::manifest::Manifest = {
        let mut value: Value = serde_json::from_slice(&old).unwrap();
        edit(&mut value);
        serde_json::from_value(value).unwrap()
    };
    manifest.runs.truncate(9);
    let new = manifest.to_json_bytes().unwrap();
    assert_ne!(old, new);
    std::fs::write(&path, &new).unwrap();
    let sums = manifest.sha256sums(&kt_export::digest::sha256(&new));
    std::fs::write(package.join("SHA256SUMS"), sums).unwrap();
}

#[test]
fn a_signed_package_says_who_signed_it_to_everybody() {
    let (project, package) = signed();
    let public = std::fs::read_to_string(fixture("ed25519.pub")).unwrap();
    let public = public.trim().trim_end_matches(" test");
    assert_eq!(package.manifest()["signer"], json!({"identity": "evidence@example.com", "public_key": public}));
    let report = verify(&project, &[&STRICT[..], &["--json"]].concat()).exits(0);
    let expected = json!({
        "key_type": "ssh-ed25519",
        "fingerprint": PRINT,
        "identity": "evidence@example.com",
        "allowed_for": "evidence@example.com",
    });
    assert_eq!(report.json()["packages"][0]["signature"], expected);
    let line = format!("ok  signature of manifest.json by ssh-ed25519 {PRINT}, a key of evidence@example.com");
    report.says(&[&line]);
    verify(&project, &[]).exits(0).says(&[
        &format!(
            "ok  signature of manifest.json by ssh-ed25519 {PRINT}, identified in the manifest as evidence@example.com"
        ),
        "signature: whose key signed: give a list of keys with --allowed-signers",
    ]);
    let Some(checked) = ssh_keygen(&project, &["-Y", "verify", "-f", "allowed", "-I", "evidence@example.com"]) else {
        return;
    };
    assert!(checked.exits(0).stdout.contains("Good \"kt-export\" signature for evidence@example.com"));
}

/// `ssh-keygen` about the package's signature, where it is installed.
fn ssh_keygen(project: &Project, args: &[&str]) -> Option<Outcome> {
    let manifest = std::fs::File::open(project.path("package/manifest.json")).unwrap();
    let mut command = Command::new("ssh-keygen");
    command.args(args).args(["-n", "kt-export", "-s", "package/manifest.json.sig"]);
    command.current_dir(project.path("")).stdin(Stdio::from(manifest));
    Command::new("ssh-keygen").arg("-?").stderr(Stdio::null()).status().ok().map(|_| outcome(&mut command))
}

#[test]
fn a_signature_that_ssh_keygen_made_by_hand_is_checked_as_well() {
    let project = Project::with_spec(SPEC);
    give_key(&project, "ecdsa384");
    for (name, text) in daily_files(3, 20) {
        project.write(&name, text);
    }
    let package = project.complete();
    let missing = "manifest.json.sig: is missing, but a signature is required";
    verify(&project, &STRICT).exits(5).says(&[missing]);
    verify(&project, &[]).exits(0).says(&["there is none, so nothing proves who wrote the manifest"]);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-Y", "sign", "-n", "kt-export", "-f", "key", "package/manifest.json"]);
    if command.current_dir(project.path("")).status().is_ok_and(|status| status.success()) {
        verify(&project, &STRICT).exits(0).says(&["ecdsa-sha2-nistp384 SHA256:", "a key of evidence@example.com"]);
        let before = package.snapshot();
        project.run(&[]).exits(0);
        assert!(package.snapshot() == before);
    }
}

#[test]
fn a_key_that_is_not_allowed_is_named() {
    let (project, package) = signed();
    let public = std::fs::read_to_string(fixture("ed25519.pub")).unwrap();
    let not_for = format!(
        "manifest.json.sig: was made by {PRINT}, which the allowed signers file does not allow to sign this for \
         `evidence@example.com`: line 1: "
    );
    for (list, words) in [
        (
            std::fs::read_to_string(fixture("stranger.pub")).map(|key| format!("evidence@example.com {key}")).unwrap(),
            format!("manifest.json.sig: was made by {PRINT}, which is not in the allowed signers file"),
        ),
        (format!("other@example.com {public}"), format!("{not_for}the key is that of other@example.com")),
        (
            format!("* namespaces=\"git\" {public}"),
            format!("{not_for}the key may sign for the namespaces git, not for kt-export"),
        ),
        (
            format!("* valid-after=\"99990101Z\" {public}"),
            format!("{not_for}the key is valid after 9999-01-01T00:00:00Z"),
        ),
    ] {
        project.write("allowed", &list);
        let report = verify(&project, &STRICT).exits(5).says(&[&words]);
        assert!(!report.stderr.contains("ok  signature"), "{}", report.stderr);
    }
    project.write("allowed", format!("ca cert-authority {public}\nevidence@example.com {public}"));
    verify(&project, &STRICT).exits(0).says(&["certificate authorities are not supported: left out line 1"]);
    project.write("allowed", "evidence@example.com\n");
    verify(&project, &STRICT).exits(2).says(&["error: allowed: line 1: expected principals, options and a public key"]);
    verify(&project, &["--allowed-signers", "nowhere"]).exits(2).says(&["cannot read the allowed signers in nowhere"]);

    // Another key's signature of the very same bytes.
    let path = package.root.join("manifest.json");
    std::fs::write(package.root.join("manifest.json.sig"), signature("stranger", &path)).unwrap();
    let words = format!(", but the manifest names {PRINT} as its signer's key");
    verify(&project, &[]).exits(5).says(&["manifest.json.sig: was made by SHA256:", &words]);
}

#[test]
fn a_missing_or_foreign_signature_is_completed_from_what_the_run_kept() {
    let (project, package) = signed();
    let before = package.snapshot();
    project.run(&[]).exits(0);
    assert!(package.snapshot() == before);
    let path = package.root.join("manifest.json.sig");
    let whole = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    verify(&project, &[]).exits(5).says(&[
        "manifest.json.sig: is missing, and the manifest says that evidence@example.com signed it: it was removed, \
         or the run stopped before writing it; run the job again to write it",
    ]);
    // The key is not needed again.
    std::fs::remove_file(project.path("key")).unwrap();
    project.run(&[]).exits(0);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    std::fs::write(&path, signature("stranger", &package.root.join("manifest.json"))).unwrap();
    project.run(&[]).exits(0);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    project.call(&["reproduce", "package"]).exits(0);
}

#[test]
fn no_run_signs_a_manifest_that_it_did_not_make() {
    let (project, package) = signed();
    let published = std::fs::read(package.root.join("manifest.json")).unwrap();
    edit_manifest(&package.root, |manifest| manifest["spec"]["path"] = json!("other.yaml"));
    let stale = "does not sign these bytes with its key";
    verify(&project, &[]).exits(5).says(&[stale]);
    project.run(&[]).exits(4).says(&["manifest.json was changed after it was published", "--repair"]);
    verify(&project, &[]).exits(5).says(&[stale]);
    project.run(&["--repair"]).exits(0);
    assert_eq!(std::fs::read(package.root.join("manifest.json")).unwrap(), published);
    verify(&project, &[]).exits(0);
    std::fs::remove_dir_all(package.root.join("_state")).unwrap();
    std::fs::remove_file(package.root.join("manifest.json.sig")).unwrap();
    project
        .run(&[])
        .exits(0)
        .says(&["manifest.json.sig is not there, and only the run that makes a manifest signs it"]);
    assert!(!package.root.join("manifest.json.sig").exists());
}

#[test]
fn a_better_manifest_gets_a_signature_of_its_own() {
    let project = Project::with_spec(&format!("{SPEC}\n{SIGN}\non_bad_rows: reject"));
    give_key(&project, "ecdsa256");
    for (name, text) in daily_files(3, 20) {
        project.write(&name, text);
    }
    let second = daily_files(2, 20).remove(1);
    project.write(&second.0, format!("{}nonsense\n", second.1));
    project.run(&[]).exits(3);
    verify(&project, &STRICT).exits(0).says(&["partial:", "a key of evidence@example.com"]);
    let package = project.package();
    let partial = std::fs::read(package.root.join("manifest.json.sig")).unwrap();
    project.write(&second.0, &second.1);
    project.run(&[]).exits(0);
    verify(&project, &STRICT).exits(0).says(&["complete:"]);
    assert_ne!(std::fs::read(package.root.join("manifest.json.sig")).unwrap(), partial);
    // A run that died between the two leaves the old signature beside the new manifest.
    std::fs::write(package.root.join("manifest.json.sig"), partial).unwrap();
    std::fs::remove_file(package.root.join("SHA256SUMS")).unwrap();
    project.run(&[]).exits(0);
    verify(&project, &STRICT).exits(0);
}

#[test]
fn an_unusable_key_ends_the_run_before_it_begins() {
    let project = Project::with_spec(&format!("{SPEC}\n{SIGN}"));
    for (name, text) in daily_files(3, 20) {
        project.write(&name, text);
    }
    project.run(&[]).exits(4).says(&[
        "cannot read the key in ",
        "/key, which the spec names: it has to be a file",
        ": No such file",
    ]);
    for (name, words) in [
        ("passphrase", "the key in file:key has a passphrase: add it to the ssh-agent with `ssh-add`"),
        ("rsa2048", "the key in file:key is of the kind ssh-rsa, which is not used for signing here"),
    ] {
        project.write("key", std::fs::read(fixture(name)).unwrap());
        let run = project.run(&["--json"]).exits(4).says(&[words]);
        assert!(run.stdout.contains("key_unusable"), "{}", run.stdout);
        project.call(&["doctor", "spec.yaml", "--now", NOW]).exits(4).says(&[words]);
    }
    assert!(!project.path("package").exists());
    give_key(&project, "ed25519");
    let words = format!("ssh-ed25519 {PRINT} signs as evidence@example.com");
    project.call(&["doctor", "spec.yaml", "--now", NOW]).exits(0).says(&[&words]);
}

#[test]
fn the_key_is_in_no_file_that_a_run_leaves() {
    let (project, package) = signed();
    let pem = std::fs::read_to_string(project.path("key")).unwrap();
    let secrets: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).skip(2).collect();
    let verbose = project.run(&["-vv"]).exits(0);
    for secret in secrets {
        for (name, path) in files_below(&package.root) {
            let bytes = std::fs::read(path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{name}");
        }
        assert!(!verbose.stderr.contains(secret) && !verbose.stdout.contains(secret));
    }
}

/// A process that ends with the test.
#[cfg(unix)]
struct Agent(std::process::Child);

#[cfg(unix)]
impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[test]
fn a_real_agent_signs_with_keys_that_it_alone_has() {
    let project = Project::with_spec(&format!("{SPEC}\n{SIGN}"));
    for (name, text) in daily_files(3, 20) {
        project.write(&name, text);
    }
    let socket = project.path("agent");
    let agent = Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn();
    let Ok(agent) = agent.map(Agent) else { return };
    while !socket.exists() {
        std::thread::yield_now();
    }
    let run = |args: &[&str]| {
        let args = [&["run", "spec.yaml", "--progress", "never", "--now", NOW], args].concat();
        outcome(project.command(&args).env("SSH_AUTH_SOCK", &socket))
    };
    for name in ["ed25519", "ecdsa256", "ecdsa384"] {
        give_key(&project, &format!("{name}.pub"));
        run(&[]).exits(4).says(&["the ssh-agent at ", "it refuses; add the key with `ssh-add`"]);
        assert!(!project.path("package").exists());
        give_key(&project, name);
        let mut add = Command::new("ssh-add");
        add.args(["-q", "key"]).current_dir(project.path("")).env("SSH_AUTH_SOCK", &socket);
        assert!(add.status().unwrap().success());
        give_key(&project, &format!("{name}.pub"));
        run(&[]).exits(0);
        verify(&project, &STRICT).exits(0).says(&["a key of evidence@example.com"]);
        std::fs::remove_dir_all(project.path("package")).unwrap();
    }
    drop(agent);
    run(&[]).exits(4).says(&["it cannot be reached ("]);
}

#[test]
fn a_list_of_signers_demands_a_signature() {
    let project = Project::with_spec(SPEC);
    give_key(&project, "ed25519");
    for (name, text) in daily_files(3, 20) {
        project.write(&name, text);
    }
    project.complete();
    let missing = "manifest.json.sig: is missing, but --allowed-signers requires a signature";
    verify(&project, &["--allowed-signers", "allowed"]).exits(5).says(&[missing]);
}

#[test]
fn who_must_have_signed_is_the_auditors_word_and_not_the_manifests() {
    let (project, package) = signed();
    let signer = |identity: &str| verify(&project, &[&STRICT[..], &["--signer", identity]].concat());
    signer("evidence@example.com").exits(0);
    // The list has two keys; whoever has the second cannot pass for the first.
    let stranger = std::fs::read_to_string(fixture("stranger.pub")).unwrap();
    let list = std::fs::read_to_string(project.path("allowed")).unwrap();
    project.write("allowed", format!("{list}intern@example.com {stranger}"));
    let public = stranger.split(' ').take(2).collect::<Vec<_>>().join(" ");
    edit_manifest(&package.root, |manifest| {
        manifest["signer"] = json!({"identity": "intern@example.com", "public_key": public});
    });
    let by_stranger = signature("stranger", &package.root.join("manifest.json"));
    std::fs::write(package.root.join("manifest.json.sig"), by_stranger).unwrap();
    std::fs::remove_file(package.root.join("report.html")).unwrap();
    verify(&project, &STRICT).exits(0).says(&["a key of intern@example.com"]);
    signer("evidence@example.com").exits(5).says(&[
        "manifest.json: the manifest says that `intern@example.com` signed it, but --signer requires \
         `evidence@example.com`",
        "which the allowed signers file does not allow to sign this for `evidence@example.com`: line 3: the key is \
         that of \
         intern@example.com",
    ]);
    // Without a list the name is only a word.
    verify(&project, &["--signer", "evidence@example.com"]).exits(2).says(&["--allowed-signers <FILE>"]);
}

#[test]
fn verify_txt_and_verify_agree_on_keys_that_were_replaced() {
    let (project, package) = signed();
    let finalized_at: jiff::Timestamp = package.manifest()["finalized_at"].as_str().unwrap().parse().unwrap();
    let public = std::fs::read_to_string(fixture("ed25519.pub")).unwrap();
    project.call(&["pack", "package", "--output", "out.tar"]).exits(0);
    let in_utc = |seconds: i64| {
        let at = finalized_at.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        at.strftime("%Y%m%d%H%M%SZ").to_string()
    };
    let cases = [
        (format!("valid-before=\"{}\"", in_utc(1)), true),
        // The second in which it signed counts whole.
        (format!("valid-before=\"{}\"", in_utc(0)), true),
        (format!("valid-before=\"{}\"", in_utc(-1)), false),
        (format!("valid-after=\"{}\"", in_utc(0)), true),
        (format!("valid-after=\"{}\"", in_utc(1)), false),
        ("namespaces=\"git\"".to_owned(), false),
    ];
    for (options, is_good) in cases {
        // Another name of the same key stands first.
        let list = format!("other@example.com {options} {public}evidence@example.com {options} {public}");
        project.write("allowed", &list);
        verify(&project, &STRICT).exits(if is_good { 0 } else { 5 });
        if Command::new("ssh-keygen").arg("-?").stderr(Stdio::null()).status().is_err() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(project.path("out.tar"), folder.path().join("out.tar")).unwrap();
        std::fs::write(folder.path().join("allowed_signers"), &list).unwrap();
        let script = "tar -xOf out.tar --wildcards '*/VERIFY.txt' | sed -n 's/^    //p' | sh -eu";
        let checked = outcome(Command::new("bash").args(["-o", "pipefail", "-c", script]).current_dir(folder.path()));
        assert_eq!(checked.code == Some(0), is_good, "{options}: {checked:?}");
    }
}
