//! Downloads that were stopped, and go on.

use super::*;

fn interrupted(format: &Format, name: &str) -> (Sample, Vec<u8>, PathBuf) {
    let (package, whole) = Sample::many(format, if matches!(format, Format::Parquet) { "" } else { ".zst" });
    let to = package.out(name);
    let half = package.manifest.total_bytes / 2;
    let error = package.fetch_until(&to, Form::Joined, half).unwrap_err();
    assert_eq!(error.to_string(), "stopped: run the same download again to resume");
    assert_eq!(error.exit(), Exit::Terminated);
    (package, whole, to)
}

#[test]
fn a_stopped_download_goes_on_after_the_last_whole_shard() {
    for format in [csv_format(), Format::NDJSON, Format::Json] {
        for ending in ["", ".gz", ".zst"] {
            let name = format!("all.{}{ending}", format.name());
            let (package, whole, to) = interrupted(&format, &name);
            assert_eq!(names(&package.out("")), [format!("{name}.part"), format!("{name}.part.json")]);
            // What a crash left behind the last whole shard.
            let mut part = fs::OpenOptions::new().append(true).open(package.out(&format!("{name}.part"))).unwrap();
            part.write_all(b"half a row").unwrap();
            // Shards that are whole are not asked for again.
            fs::remove_file(package.path(1)).unwrap();
            let done = package.fetch(&to, Form::Joined).unwrap();
            assert!((3..12).contains(&done.resumed_files), "{}", done.resumed_files);
            assert_eq!(plain(&to), whole, "{name}");
            assert_eq!(names(&package.out("")), [name]);
        }
    }
}

#[test]
fn parquet_starts_over_and_leaves_nothing_behind() {
    let (package, _, to) = interrupted(&Format::Parquet, "all.parquet");
    assert_eq!(names(&package.out("")), Vec::<String>::new());
    assert_eq!(package.fetch(&to, Form::Joined).unwrap().resumed_files, 0);
}

#[test]
fn a_part_of_another_manifest_or_with_other_bytes_is_started_over() {
    type Change = fn(&mut Sample);
    let changes: [Change; 5] = [
        |package| package.manifest.name = "other".into(),
        |package| fs::write(package.out("all.csv.part.json"), "{").unwrap(),
        |package| {
            let path = package.out("all.csv.part");
            let mut bytes = fs::read(&path).unwrap();
            bytes[9] ^= 1;
            fs::write(path, bytes).unwrap();
        },
        |package| fs::write(package.out("all.csv.part"), "id").unwrap(),
        |package| {
            let path = package.out("all.csv.part.json");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text.replace("\"record_version\": 1", "\"record_version\": 2")).unwrap();
        },
    ];
    for change in changes {
        let (mut package, whole, to) = interrupted(&csv_format(), "all.csv");
        change(&mut package);
        assert_eq!(package.fetch(&to, Form::Joined).unwrap().resumed_files, 0);
        assert_eq!(plain(&to), whole);
    }
}

#[test]
fn a_download_stopped_again_and_again_ends() {
    let (package, whole) = Sample::many(&Format::Json, ".gz");
    let to = package.out("all.json.zst");
    let step = package.manifest.total_bytes / 9;
    let times = (1..).find(|n| package.fetch_until(&to, Form::Joined, step * n).is_ok()).unwrap();
    assert!(times > 5, "{times}");
    assert_eq!(plain(&to), whole);
}

#[test]
fn a_stopped_download_of_shards_keeps_what_is_whole() {
    let (package, _) = Sample::many(&csv_format(), ".zst");
    let to = package.out("copy");
    package.fetch_until(&to, Form::Shards, package.manifest.total_bytes / 2).unwrap_err();
    let found = names(&to);
    assert!(!found.is_empty() && found.iter().all(|name| name.starts_with("data/") && !name.ends_with(".part")));
    fs::remove_file(package.path(1)).unwrap();
    let done = package.fetch(&to, Form::Shards).unwrap();
    assert_eq!(done.resumed_files, found.len());
}

#[test]
fn two_downloads_do_not_write_one_file() {
    let (package, _) = Sample::many(&csv_format(), "");
    for (to, form, held) in
        [("all.csv", Form::Joined, "all.csv.part"), ("copy", Form::Shards, "copy/manifest.json.part")]
    {
        let held = package.out(held);
        fs::create_dir_all(held.parent().unwrap()).unwrap();
        let other = fs::File::create(&held).unwrap();
        other.lock().unwrap();
        let to = package.out(to);
        let error = package.fetch(&to, form).unwrap_err();
        let text = format!("another download is writing {}: wait for its end or choose another name", to.display());
        assert_eq!((error.to_string(), error.exit()), (text, Exit::TryLater));
        drop(other);
        package.fetch(&to, form).unwrap();
    }
}
