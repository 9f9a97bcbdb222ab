//! Signatures against those of ssh-keygen, in both directions, and lists of allowed signers.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use jiff::tz::TimeZone;

use super::*;
use crate::diagnostic::Located;
use crate::secret::SecretName;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/signatures").join(name)
}

fn read(name: &str) -> Vec<u8> {
    fs::read(fixture(name)).unwrap()
}

fn in_file(path: PathBuf) -> SecretName {
    SecretName::File { written: Located::default_value("key".to_owned()), path }
}

fn load(name: &str) -> Result<Signer, SignError> {
    Signer::load(&in_file(fixture(name)), "evidence@example.com", &BTreeMap::new())
}

fn told(result: Result<Signer, SignError>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn signatures_of_ssh_keygen_are_accepted_by_the_key_that_made_them() {
    for name in ["ed25519", "ecdsa256", "ecdsa384"] {
        let key = check(&read(&format!("{name}.sig")), &read("message")).unwrap();
        let line = String::from_utf8(read(&format!("{name}.pub"))).unwrap();
        assert!(is_named(&line, &key) && line.starts_with(&one_line(&key).unwrap()), "{name}");
    }
    assert!(check(&read("sha256.sig"), &read("message")).is_ok());
}

#[test]
fn no_flipped_bit_of_a_signature_or_its_message_is_accepted() {
    let (signature, message) = (read("ed25519.sig"), read("message"));
    let key = check(&signature, &message).unwrap();
    for at in 0..signature.len() {
        for bit in 0..8 {
            let mut flipped = signature.clone();
            flipped[at] ^= 1 << bit;
            assert!(check(&flipped, &message).is_err(), "bit {bit} of byte {at}: {:?}", signature[at] as char);
        }
        assert!(check(&signature[..at], &message).is_err() || signature[at..].trim_ascii().is_empty(), "{at}");
    }
    for at in 0..message.len() {
        let mut flipped = message.clone();
        flipped[at] ^= 1;
        let error = check(&signature, &flipped).unwrap_err().to_string();
        let print = fingerprint(&key);
        assert_eq!(
            error,
            format!("does not sign these bytes with its key {print}: one of them was changed or replaced")
        );
    }
}

#[test]
fn what_is_no_signature_of_a_manifest_says_why() {
    let told = |signature: &[u8]| check(signature, &read("message")).unwrap_err().to_string();
    assert_eq!(
        told(&read("other-namespace.sig")),
        "was made for the namespace `git`, not for `kt-export`: it signs something else"
    );
    assert_eq!(
        told(&read("rsa2048.sig")),
        "was made by a key of the kind ssh-rsa, which this release cannot check: use ssh-keygen -Y verify"
    );
    for bytes in [&b""[..], b"\xff", b"-----BEGIN SSH SIGNATURE-----\n", &read("ed25519"), &[b' '; 70_000]] {
        assert_eq!(told(bytes), "is not an SSH signature");
    }
    // Some readers leave out what stands before the armor.
    let mut with_preface = b"preface\n".to_vec();
    with_preface.extend(read("ed25519.sig"));
    assert_eq!(told(&with_preface), "is not an SSH signature");
}

#[test]
fn the_same_key_gives_the_signature_that_ssh_keygen_gives() {
    // Ed25519 has one signature of one message by one key.
    let signer = load("ed25519").unwrap();
    assert_eq!(signer.sign(&read("message")).unwrap().into_bytes(), read("ed25519.sig"));
    assert_eq!(signer.record().identity, "evidence@example.com");
    assert_eq!(format!("{} test\n", signer.record().public_key).into_bytes(), read("ed25519.pub"));
}

#[test]
fn ssh_keygen_accepts_our_signatures() {
    let there = Command::new("ssh-keygen").arg("-?").stderr(Stdio::null()).status().is_ok();
    let folder = tempfile::tempdir().unwrap();
    for name in ["ed25519", "ecdsa256", "ecdsa384"] {
        let signature = load(name).unwrap().sign(&read("message")).unwrap();
        assert!(check(signature.as_bytes(), &read("message")).is_ok(), "{name}");
        if !there {
            continue;
        }
        let (path, list) = (folder.path().join("sig"), folder.path().join("allowed"));
        fs::write(&path, signature).unwrap();
        let mut line = b"evidence@example.com ".to_vec();
        line.extend(read(&format!("{name}.pub")));
        fs::write(&list, line).unwrap();
        let status = Command::new("ssh-keygen")
            .args(["-Y", "verify", "-n", NAMESPACE, "-I", "evidence@example.com", "-f"])
            .arg(&list)
            .arg("-s")
            .arg(&path)
            .stdin(fs::File::open(fixture("message")).unwrap())
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{name}");
    }
}

#[test]
fn keys_that_cannot_sign_are_refused_with_a_way_out() {
    assert_eq!(
        told(load("passphrase")),
        "the key in file:key has a passphrase: add it to the ssh-agent with `ssh-add` and name its public key (the file \
         that ends in .pub) instead"
    );
    for name in ["rsa2048", "rsa2048.pub"] {
        let env = BTreeMap::from([("SSH_AUTH_SOCK".to_owned(), "/nowhere".to_owned())]);
        assert_eq!(
            told(Signer::load(&in_file(fixture(name)), "me", &env)),
            "the key in file:key is of the kind ssh-rsa, which is not used for signing here: take an Ed25519 key \
             (`ssh-keygen -t ed25519`), in the file or in the ssh-agent with its public key in the file"
        );
    }
    assert_eq!(
        told(load("ed25519.pub")),
        "file:key holds a public key, so the ssh-agent has to sign, but SSH_AUTH_SOCK is not set: start ssh-agent \
         where this process runs and add the key with `ssh-add`"
    );
    assert_eq!(
        told(load("message")),
        "file:key holds no OpenSSH private key: make one with `ssh-keygen -t ed25519`, or name a public key whose private \
         key is in the ssh-agent"
    );
    let secret = SecretName::Env(Located::default_value("KEY".to_owned()));
    let text = String::from_utf8(read("ed25519")).unwrap();
    let env = BTreeMap::from([("KEY".to_owned(), text.trim_end().to_owned())]);
    assert!(Signer::load(&secret, "me", &env).is_ok());
}

#[cfg(unix)]
#[test]
fn an_agent_that_is_away_is_named_with_the_key_it_should_sign_with() {
    let env = BTreeMap::from([("SSH_AUTH_SOCK".to_owned(), "/nowhere/agent".to_owned())]);
    let why = told(Signer::load(&in_file(fixture("ed25519.pub")), "me", &env));
    let key = PublicKey::from_openssh(std::str::from_utf8(&read("ed25519.pub")).unwrap()).unwrap();
    let begin =
        format!("the ssh-agent at /nowhere/agent does not sign with {}: it cannot be reached (", fingerprint(&key));
    assert!(why.starts_with(&begin) && why.ends_with("); check SSH_AUTH_SOCK"), "{why}");
}

/// A key of the fixtures, as one line without a comment.
fn line(name: &str) -> String {
    let text = String::from_utf8(read(name)).unwrap();
    text.trim().strip_suffix(" test").unwrap().to_owned()
}

fn allowed(text: &str) -> AllowedSigners {
    AllowedSigners::parse(text, &TimeZone::UTC).unwrap()
}

#[test]
fn a_list_says_whose_keys_may_sign_what_and_when() {
    let key = PublicKey::from_openssh(&line("ed25519.pub")).unwrap();
    let (ours, other) = (line("ed25519.pub"), line("stranger.pub"));
    let at = "2026-03-01T12:00:00Z".parse().unwrap();
    let yes = |principals: &str| Listing::Allowed { principals: principals.to_owned() };
    let no = |why: &str| Listing::Refused { why: vec![why.to_owned()] };
    for (text, expected) in [
        (format!("# ours\n\nme@example.com {ours} comment\n"), yes("me@example.com")),
        (format!("me@example.com {other}"), Listing::Unknown),
        (format!("you@example.com,*@example.com {ours}"), yes("you@example.com,*@example.com")),
        (format!("\"me@example.com,you\" {ours}"), yes("me@example.com,you")),
        (format!("?e@example.com {ours}"), yes("?e@example.com")),
        (format!("*,!me@* {ours}"), no("line 1: the key is that of *,!me@*")),
        (format!("you@example.com {ours}"), no("line 1: the key is that of you@example.com")),
        (format!("you@example.com {ours}\nme@example.com {ours}"), yes("me@example.com")),
        (format!("* namespaces=\"git,kt-*\" {ours}"), yes("*")),
        (
            format!("* namespaces=\"git\" {ours}"),
            no("line 1: the key may sign for the namespaces git, not for kt-export"),
        ),
        (format!("* valid-after=\"20260301\",valid-before=\"202603011200Z\" {ours}"), yes("*")),
        (
            format!("* VALID-AFTER=\"20260301120001\" {ours}"),
            no("line 1: the key is valid after 2026-03-01T12:00:01Z, and signed at 2026-03-01T12:00:00Z"),
        ),
        (
            format!("* valid-before=\"20260301115959Z\" {ours}"),
            no("line 1: the key is valid before 2026-03-01T11:59:59Z, and signed at 2026-03-01T12:00:00Z"),
        ),
        (format!("* cert-authority {ours}"), Listing::Unknown),
    ] {
        assert_eq!(allowed(&text).look_up(&key, Some("me@example.com"), at), expected, "{text}");
    }
    assert_eq!(allowed(&format!("you {ours}")).look_up(&key, None, at), yes("you"));
    assert_eq!(allowed(&format!("a {other}\nb cert-authority,namespaces=\"x\" {ours}")).authorities(), [2]);
}

#[test]
fn times_without_a_zone_are_local() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let list = AllowedSigners::parse(&format!("* valid-after=\"20260301\" {}", line("ed25519.pub")), &zone).unwrap();
    let key = PublicKey::from_openssh(&line("ed25519.pub")).unwrap();
    let look_up = |at: &str| list.look_up(&key, None, at.parse().unwrap());
    assert!(matches!(look_up("2026-02-28T23:00:00Z"), Listing::Allowed { .. }));
    assert!(matches!(look_up("2026-02-28T22:59:59Z"), Listing::Refused { .. }));
}

#[test]
fn a_line_that_cannot_be_read_makes_the_list_unusable() {
    let key = line("ed25519.pub");
    for (text, why) in [
        (format!("\"me {key}"), "line 1: a quote is not closed".to_owned()),
        (format!("\n\"\" {key}"), "line 2: it names no principals".to_owned()),
        (
            "me".to_owned(),
            "line 1: expected principals, options and a public key: name@example.com namespaces=\"kt-export\" \
             ssh-ed25519 AAAA…"
                .to_owned(),
        ),
        (format!("me namespaces=git {key}"), "line 1: write the value of `namespaces` in quotes".to_owned()),
        (format!("me namespaces {key}"), "line 1: `namespaces` needs a value in quotes: namespaces=\"…\"".to_owned()),
        (
            format!("me touch-required {key}"),
            "line 1: the option `touch-required` is not known: it is none of namespaces, valid-after, valid-before, \
             cert-authority"
                .to_owned(),
        ),
        (
            format!("me valid-after=\"2026-03-01\" {key}"),
            "line 1: `2026-03-01` is not a time: write YYYYMMDD or YYYYMMDDHHMM[SS], and Z for UTC".to_owned(),
        ),
        (
            format!("me valid-after=\"20260230\" {key}"),
            "line 1: `20260230` is not a time: write YYYYMMDD or YYYYMMDDHHMM[SS], and Z for UTC".to_owned(),
        ),
    ] {
        assert_eq!(AllowedSigners::parse(&text, &TimeZone::UTC).unwrap_err().to_string(), why, "{text}");
    }
}
