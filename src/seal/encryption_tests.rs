//! Encrypts files and reads them back: sizes around chunk boundaries, right and wrong keys, intact and damaged files.

use std::fs::File;
use std::io::{self, Read, Write};

use age::secrecy::ExposeSecret;
use proptest::prelude::*;

use super::*;
use crate::digest::sha256;
use crate::store::Stored;

const CHUNK: usize = 64 << 10;

fn somebody() -> (String, Identities) {
    let key = age::x25519::Identity::generate();
    (key.to_public().to_string(), Identities::of_text(key.to_string().expose_secret()).unwrap())
}

fn encrypted(plain: &[u8], compression: Compression, to: &[&str]) -> Sealed<Vec<u8>> {
    let recipients = Recipients::new(to.iter().copied()).unwrap();
    let mut sealer = Sealer::encrypted(Vec::new(), compression, Some(&recipients)).unwrap();
    sealer.write_all(plain).unwrap();
    sealer.finish().unwrap()
}

fn read_back(stored: &[u8], path: &str, identities: &Identities) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    open(stored, path, identities).map_err(io::Error::other)?.read_to_end(&mut plain)?;
    Ok(plain)
}

/// Text that does not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn files_of_all_lengths_around_a_chunk_read_back_and_are_counted_before_and_after() {
    let (name, identities) = somebody();
    for bytes in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1] {
        let plain = noise(bytes);
        let sealed = encrypted(&plain, Compression::None, &[&name]);
        assert_eq!((sealed.bytes, &sealed.sha256), (sealed.inner.len() as u64, &sha256(&sealed.inner)));
        assert_eq!(sealed.plain, Some(Plain { bytes: bytes as u64, sha256: sha256(&plain) }));
        assert_eq!(read_back(&sealed.inner, "part.csv.age", &identities).unwrap(), plain);
        assert_eq!(plain_digest(&sealed.inner[..], &identities).unwrap(), (bytes as u64, sha256(&plain)));
    }
}

/// Every write of the system is interrupted once, and takes few bytes when it is tried again.
#[test]
fn a_system_that_interrupts_and_writes_short_changes_nothing() {
    struct Meager(Vec<u8>, bool);
    impl Write for Meager {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let n = bytes.len().min(7);
            self.0.extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (name, identities) = somebody();
    let recipients = Recipients::new([name.as_str()]).unwrap();
    for (compression, path) in [
        (Compression::None, "a.csv.age"),
        (Compression::Gzip(6), "a.csv.gz.age"),
        (Compression::Zstd(3), "a.csv.zst.age"),
    ] {
        let mut sealer = Sealer::encrypted(Meager(Vec::new(), false), compression, Some(&recipients)).unwrap();
        sealer.write_all(b"a,b\n1,2\n").unwrap();
        let sealed = sealer.finish().unwrap();
        assert_eq!(read_back(&sealed.inner.0, path, &identities).unwrap(), b"a,b\n1,2\n");
        assert_eq!(sealed.sha256, sha256(&sealed.inner.0));
    }
}

#[test]
fn what_is_compressed_first_reads_back_by_its_name() {
    let (name, identities) = somebody();
    let plain = b"a,b\n1,2\n".repeat(50_000);
    for (compression, path) in [
        (Compression::None, "data/all/part-0000.run.csv.age"),
        (Compression::Gzip(6), "data/all/part-0000.run.csv.gz.age"),
        (Compression::Zstd(3), "data/all/part-0000.run.csv.zst.age"),
    ] {
        let sealed = encrypted(&plain, compression, &[&name]);
        assert_eq!(read_back(&sealed.inner, path, &identities).unwrap(), plain);
        let mut unencrypted = Sealer::new(Vec::new(), compression).unwrap();
        unencrypted.write_all(&plain).unwrap();
        let unencrypted = unencrypted.finish().unwrap();
        let digest = Plain { bytes: unencrypted.bytes, sha256: unencrypted.sha256 };
        assert_eq!((sealed.plain, unencrypted.plain), (Some(digest), None));
    }
}

#[test]
fn every_recipient_reads_alone_and_nobody_else_does() {
    let ((alice, alices), (bob, bobs), (_, eves)) = (somebody(), somebody(), somebody());
    let stored = encrypted(b"rows", Compression::None, &[&alice, &bob]).inner;
    for identities in [&alices, &bobs] {
        assert_eq!(read_back(&stored, "a.age", identities).unwrap(), b"rows");
    }
    let said = |identities: &Identities| decrypt(&stored[..], identities).err().unwrap().to_string();
    assert_eq!(said(&eves), "none of the given identities is among its recipients");
    let none = "it is encrypted: name a file with an identity that can read it, `--identity FILE`";
    assert_eq!(said(&Identities::none()), none);
    assert_eq!(said(&Identities::none().and_passphrase("x")), none);
}

#[test]
fn two_encryptions_of_one_text_differ_and_neither_shows_it() {
    let (name, _) = somebody();
    let plain = b"canary-canary-canary".repeat(10);
    let [first, second] = [0, 1].map(|_| encrypted(&plain, Compression::None, &[&name]).inner);
    assert_ne!(first, second);
    assert!(!first.windows(6).any(|window| window == b"canary"));
}

#[test]
fn no_cut_file_reads_as_a_whole_one() {
    let (name, identities) = somebody();
    let stored = encrypted(&noise(2 * CHUNK + 100), Compression::None, &[&name]).inner;
    let header = stored.len() - (2 * CHUNK + 100) - 3 * 16;
    let ends = [1, 2].map(|chunks| header + chunks * (CHUNK + 16));
    let near = ends.iter().chain([&header]).flat_map(|end| [end - 17, end - 16, end - 1, *end, end + 1, end + 16]);
    for keep in (0..stored.len()).step_by(1009).chain(near).chain([stored.len() - 1]) {
        let error = read_back(&stored[..keep], "a.age", &identities).unwrap_err().to_string();
        let is_told =
            ["it was truncated or changed after it was encrypted", "it is not an age file, or its header is damaged"];
        assert!(is_told.contains(&error.as_str()), "{keep}: {error}");
    }
}

#[test]
fn no_flipped_bit_reads_as_the_truth() {
    let (name, identities) = somebody();
    let stored = encrypted(&noise(CHUNK + 100), Compression::None, &[&name]).inner;
    for at in (0..400).chain((400..stored.len()).step_by(997)).chain([stored.len() - 1]) {
        let mut damaged = stored.clone();
        damaged[at] ^= 1;
        assert!(read_back(&damaged, "a.age", &identities).is_err(), "{at}");
    }
}

#[test]
fn chunks_that_change_places_are_noticed() {
    let (name, identities) = somebody();
    let mut stored = encrypted(&noise(3 * CHUNK), Compression::None, &[&name]).inner;
    let first = stored.len() - 3 * (CHUNK + 16);
    let (a, b) = stored[first..].split_at_mut(CHUNK + 16);
    a.swap_with_slice(&mut b[..CHUNK + 16]);
    assert!(read_back(&stored, "a.age", &identities).is_err());
}

#[test]
fn armor_is_read_with_blanks_around_it() {
    let (name, identities) = somebody();
    let recipients = Recipients::new([name.as_str()]).unwrap();
    let armored = age::armor::ArmoredWriter::wrap_output(Vec::new(), age::armor::Format::AsciiArmor).unwrap();
    let mut writer = recipients.encrypt(armored).unwrap();
    writer.write_all(b"rows").unwrap();
    let armored = writer.finish().unwrap().finish().unwrap();
    let around = [b"\n \r\n", &armored[..], b"\n\n"].concat();
    for text in [&armored, &around] {
        let mut plain = Vec::new();
        decrypt(&text[..], &identities).unwrap().read_to_end(&mut plain).unwrap();
        assert_eq!(plain, b"rows");
    }
    let mut damaged = armored.clone();
    damaged[60] = b'!';
    let said = decrypt(&damaged[..], &identities).err().unwrap().to_string();
    assert_eq!(said, "its armor is damaged: the text between `-----BEGIN AGE ENCRYPTED FILE-----` and its end line");
    let binary = [b"\n", &encrypted(b"rows", Compression::None, &[&name]).inner[..]].concat();
    assert!(matches!(decrypt(&binary[..], &identities), Err(OpenError::Header)));
}

#[test]
fn a_header_without_an_end_is_given_up() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let text = if self.0 == 0 { &b"age-encryption.org/v1\n"[..] } else { &b"-> X25519 a\n\n"[..] };
            self.0 += 1;
            assert!(self.0 < 1 << 20, "it reads on and on");
            let n = text.len().min(into.len());
            into[..n].copy_from_slice(&text[..n]);
            Ok(n)
        }
    }
    let (_, identities) = somebody();
    assert!(matches!(decrypt(Endless(0), &identities), Err(OpenError::Header)));
    let line = io::repeat(b'a');
    assert!(matches!(decrypt(line, &identities), Err(OpenError::Header)));
}

#[test]
fn a_header_of_the_most_recipients_can_be_read() {
    let people: Vec<_> = (0..MAX_RECIPIENTS).map(|_| age::x25519::Identity::generate()).collect();
    let names: Vec<String> = people.iter().map(|key| key.to_public().to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stored = encrypted(b"rows", Compression::None, &names).inner;
    let last = Identities::of_text(people.last().unwrap().to_string().expose_secret()).unwrap();
    assert_eq!(read_back(&stored, "a.age", &last).unwrap(), b"rows");
}

#[test]
fn a_passphrase_opens_what_was_encrypted_with_it() {
    let mut recipient = age::scrypt::Recipient::new("correct horse".to_owned().into());
    recipient.set_work_factor(2);
    let with = |recipient: &age::scrypt::Recipient| {
        let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient as _)).unwrap();
        let mut writer = encryptor.wrap_output(Vec::new()).unwrap();
        writer.write_all(b"rows").unwrap();
        writer.finish().unwrap()
    };
    let stored = with(&recipient);
    let right = Identities::none().and_passphrase("correct horse");
    assert_eq!(read_back(&stored, "a.age", &right).unwrap(), b"rows");
    let said = |stored: &[u8], identities: &Identities| decrypt(stored, identities).err().unwrap().to_string();
    let wrong = Identities::none().and_passphrase("battery staple");
    assert_eq!(said(&stored, &wrong), "the passphrase is wrong, or its header was changed");
    let needs = "it is encrypted with a passphrase: name the variable that holds it, `--passphrase-env NAME`";
    assert_eq!(said(&stored, &somebody().1), needs);
    let work = String::from_utf8_lossy(&stored).find(" 2\n").unwrap();
    let heavy = [&stored[..work], b" 21\n", &stored[work + 3..]].concat();
    assert_eq!(said(&heavy, &right), "its passphrase requires a work factor of 21, but the maximum is 20");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_place_of_a_plain_file_reads_as_the_text_does(
        length in prop_oneof![Just(CHUNK), Just(2 * CHUNK), 1..3 * CHUNK],
        places in proptest::collection::vec((any::<prop::sample::Index>(), 0..2 * CHUNK), 1..12)
    ) {
        let (name, identities) = somebody();
        let plain = noise(length);
        for encrypted_too in [false, true] {
            let stored = if encrypted_too { encrypted(&plain, Compression::None, &[&name]).inner } else { plain.clone() };
            let path = if encrypted_too { "a.parquet.age" } else { "a.parquet" };
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&stored).unwrap();
            let stored = |file: &File| Stored::file(file.try_clone().unwrap(), stored.len() as u64);
            let opened = PlainFile::open(stored(&file), path, &identities).unwrap();
            prop_assert_eq!(opened.bytes(), length as u64);
            for (start, bytes) in &places {
                let start = start.index(length + 1);
                let bytes = (*bytes).min(length - start);
                prop_assert_eq!(&opened.read_at(start as u64, bytes as u64).unwrap()[..], &plain[start..start + bytes]);
            }
            prop_assert!(opened.read_at(length as u64, 1).is_err());
            prop_assert!(opened.read_at(u64::MAX, 2).is_err());
        }
    }
}

#[test]
fn a_cut_or_changed_file_is_not_opened_from_its_end() {
    let (name, identities) = somebody();
    let stored = encrypted(&noise(CHUNK + 100), Compression::None, &[&name]).inner;
    let said = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let opened = PlainFile::open(Stored::file(file, bytes.len() as u64), "a.parquet.age", &identities);
        opened.and_then(|file| file.read_at(0, file.bytes()).map_err(OpenError::Read)).unwrap_err().to_string()
    };
    let told = "it was truncated or changed after it was encrypted";
    assert_eq!(said(&stored[..stored.len() - 1]), told);
    assert_eq!(said(&stored[..stored.len() - 116]), told);
    let mut flipped = stored.clone();
    flipped[stored.len() - 100 - 16 - 1000] ^= 1;
    assert_eq!(said(&flipped), told);
}
