//! The published test vectors of the age format, through the function that `decrypt` calls, and some through the program.
//!
//! `tests/age_vectors/README.md` says where they are from. Two are decided otherwise than they ask, by the `age` crate: it
//! still reads stanzas as old versions of age wrote them, without a short last line.

use std::collections::BTreeMap;
use std::io::Read;

use kt_export::digest::sha256;
use kt_export::seal::{Identities, OpenError, decrypt};

use crate::project::Project;

/// Read though the vectors want them refused.
const LEGACY: [&str; 2] = ["stanza_missing_body", "stanza_missing_final_line"];

struct Vector {
    name: String,
    expect: String,
    payload: Option<String>,
    identities: String,
    passphrase: Option<String>,
    is_armored: bool,
    file: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/age_vectors");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_none());
    paths.sort();
    paths.iter().map(|path| vector(path)).collect()
}

fn vector(path: &std::path::Path) -> Vector {
    let bytes = std::fs::read(path).unwrap();
    let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap();
    let (mut keys, mut identities) = (BTreeMap::new(), String::new());
    for line in std::str::from_utf8(&bytes[..end]).unwrap().lines() {
        match line.split_once(": ").unwrap() {
            ("identity", key) => identities += &format!("{key}\n"),
            // Of two passphrases, which no file may need, the first.
            (key, value) => drop(keys.entry(key.to_owned()).or_insert_with(|| value.to_owned())),
        }
    }
    let mut file = bytes[end + 2..].to_vec();
    if let Some(how) = keys.get("compressed") {
        assert_eq!(how, "zlib");
        let mut plain = Vec::new();
        flate2::read::ZlibDecoder::new(&file[..]).read_to_end(&mut plain).unwrap();
        file = plain;
    }
    Vector {
        name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        expect: keys.remove("expect").unwrap(),
        payload: keys.remove("payload"),
        identities,
        passphrase: keys.remove("passphrase"),
        is_armored: keys.contains_key("armored"),
        file,
    }
}

impl Vector {
    /// What comes out before the first error, and that error.
    fn decrypt(&self) -> (Vec<u8>, Option<OpenError>) {
        let identities = match &self.passphrase {
            Some(passphrase) => Identities::none().and_passphrase(passphrase),
            None if self.identities.is_empty() => Identities::none(),
            None => Identities::of_text(&self.identities).unwrap(),
        };
        let mut plain = Vec::new();
        let error = match decrypt(&self.file[..], &identities) {
            Ok(mut reader) => reader.read_to_end(&mut plain).err().map(OpenError::Read),
            Err(error) => Some(error),
        };
        (plain, error)
    }
}

#[test]
fn every_vector_ends_as_it_says() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 124);
    for vector in vectors {
        let (plain, error) = vector.decrypt();
        let fits = match (vector.expect.as_str(), &error) {
            ("success", None) => true,
            ("header failure", None) => LEGACY.contains(&vector.name.as_str()),
            ("no match", Some(OpenError::NoMatch | OpenError::WrongPassphrase)) => true,
            // Its stanza is not that of a passphrase, so that a key is asked for.
            ("no match", Some(OpenError::NeedsIdentity)) => vector.name == "scrypt_uppercase",
            ("HMAC failure", Some(OpenError::Mac)) => true,
            ("header failure", Some(OpenError::Header | OpenError::Version | OpenError::Work { .. })) => true,
            ("armor failure", Some(OpenError::Armor)) => true,
            // Without its first line as it must be, armor is not known as such; damage further on is met while reading.
            ("armor failure", Some(OpenError::Header | OpenError::Read(_))) => vector.is_armored,
            ("payload failure", Some(OpenError::Read(_))) => true,
            _ => false,
        };
        assert!(fits, "{}: expected {}, got {error:?}", vector.name, vector.expect);
        if let Some(payload) = &vector.payload {
            assert_eq!(&sha256(&plain), payload, "{}: other bytes came out", vector.name);
        }
    }
}

#[test]
fn the_program_ends_as_the_vectors_say_and_leaves_no_file_behind_a_failure() {
    let project = Project::new();
    let some = [
        "armor",
        "x25519",
        "stream_two_chunks",
        "stream_no_final",
        "hmac_bad",
        "x25519_no_match",
        "scrypt",
        "scrypt_bad_tag",
    ];
    for vector in vectors().into_iter().filter(|vector| some.contains(&vector.name.as_str())) {
        let file = format!("{}.age", vector.name);
        project.write(&file, &vector.file);
        project.write("key.txt", &vector.identities);
        let mut args = vec!["decrypt", &file];
        let mut command = match &vector.passphrase {
            Some(passphrase) => {
                args.extend(["--passphrase-env", "PASSPHRASE"]);
                let mut command = project.command(&args);
                command.env("PASSPHRASE", passphrase);
                command
            }
            None => {
                args.extend(["--identity", "key.txt"]);
                project.command(&args)
            }
        };
        let outcome = crate::project::outcome(&mut command);
        let decrypted = std::fs::read(project.path(&vector.name)).ok();
        if vector.expect == "success" {
            outcome.exits(0);
            assert_eq!(sha256(&decrypted.unwrap()), vector.payload.unwrap(), "{}", vector.name);
        } else {
            outcome.exits(4).says(&[&format!("`{file}` cannot be decrypted: ")]);
            assert_eq!(decrypted, None, "{}", vector.name);
        }
        assert!(!project.path(&format!("{}.unfinished", vector.name)).exists());
    }
}
