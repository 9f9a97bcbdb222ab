//! What a set of packages covers, from their manifests alone.

use super::*;
use crate::digest::sha256;
use crate::package::layout::{MANIFEST, SHA256SUMS};
use crate::package::manifest::tests::{entry, manifest};
use crate::package::manifest::{FileStatus, JobStatus, Manifest, PackageRef};

/// A folder of packages.
struct Shelf(tempfile::TempDir);

impl Shelf {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> Location {
        Location::Local(self.0.path().join(name))
    }

    /// Puts a manifest and its SHA256SUMS there, and gives the manifest's digest.
    fn put(&self, name: &str, manifest: &Manifest) -> String {
        let folder = self.0.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let bytes = manifest.to_json_bytes().unwrap();
        let digest = sha256(&bytes);
        std::fs::write(folder.join(MANIFEST), bytes).unwrap();
        std::fs::write(folder.join(SHA256SUMS), manifest.sha256sums(&digest)).unwrap();
        digest
    }

    fn report(&self, options: &CoverageOptions) -> CoverageReport {
        coverage(&packages(&self.at("")).unwrap(), options).unwrap()
    }

    fn group(&self) -> Group {
        let mut groups = self.report(&CoverageOptions::default()).groups;
        assert_eq!(groups.len(), 1);
        groups.remove(0)
    }
}

/// A complete package of days of March, one partition each.
fn days(first: u32, last: u32) -> Manifest {
    let instant = |day: u32| format!("2026-03-{day:02}T00:00:00Z");
    let day = |day: u32| {
        let label = format!("2026-03-{day:02}");
        entry(&format!("data/{label}/part-0000.csv.zst"), &label, &instant(day), &instant(day + 1))
    };
    Manifest {
        id: format!("job_{first}_{last}"),
        window_start: instant(first).parse().unwrap(),
        window_end: instant(last + 1).parse().unwrap(),
        window_label: format!("{first}-{last}"),
        files: (first..=last).map(day).collect(),
        ..manifest()
    }
}

fn stretches<'a>(intervals: impl IntoIterator<Item = &'a Interval>) -> Vec<String> {
    let day = |at: Timestamp| at.to_string()[8..10].to_owned();
    intervals.into_iter().map(|i| format!("{}-{}", day(i.start), day(i.end))).collect()
}

fn gaps_of(group: &Group) -> Vec<String> {
    stretches(group.gaps.iter().map(|gap| &gap.interval))
}

fn overlaps_of(group: &Group) -> Vec<String> {
    stretches(group.overlaps.iter().map(|overlap| &overlap.interval))
}

#[test]
fn packages_that_meet_cover_and_one_that_is_missing_is_a_gap() {
    let shelf = Shelf::new();
    shelf.put("a", &days(1, 3));
    shelf.put("deep/er/b", &days(4, 6));
    assert!(shelf.group().covered);
    shelf.put("d", &days(9, 9));
    let group = shelf.group();
    assert_eq!((gaps_of(&group), overlaps_of(&group)), (vec!["07-09".to_owned()], vec![]));
    assert!(!group.covered && group.gaps[0].because.is_empty());
}

#[test]
fn partitions_that_are_not_complete_are_gaps_with_their_reason() {
    let shelf = Shelf::new();
    let mut partial = days(1, 4);
    partial.status = JobStatus::Partial;
    partial.files[1].status = FileStatus::Failed;
    partial.files[1].error_code = Some(crate::error::ErrorCode::SourceChanged);
    partial.files[1].error = Some("data/2.csv has another size".into());
    partial.files[2].status = FileStatus::Partial;
    shelf.put("a", &partial);
    let group = shelf.group();
    assert_eq!(gaps_of(&group), ["02-04"]);
    let whys: Vec<&str> = group.gaps[0].because.iter().map(|b| b.why.as_str()).collect();
    assert_eq!(
        whys,
        [
            "partition 2026-03-02 is failed (source_changed): data/2.csv has another size",
            "partition 2026-03-03 is partial"
        ]
    );
}

#[test]
fn one_part_of_a_partition_that_is_not_complete_uncovers_all_of_it() {
    let shelf = Shelf::new();
    let mut partial = days(1, 2);
    let mut second = partial.files[0].clone();
    second.path = "data/2026-03-01/part-0001.csv.zst".into();
    second.status = FileStatus::Pending;
    partial.files.insert(1, second);
    shelf.put("a", &partial);
    assert_eq!(gaps_of(&shelf.group()), ["01-02"]);
}

#[test]
fn a_job_that_failed_as_a_whole_covers_nothing() {
    let shelf = Shelf::new();
    let mut failed = days(1, 2);
    failed.status = JobStatus::Failed;
    failed.error_code = Some(crate::error::ErrorCode::RowsNotConserved);
    shelf.put("a", &failed);
    let group = shelf.group();
    assert_eq!(gaps_of(&group), ["01-03"]);
    assert_eq!(group.gaps[0].because[0].why, "the job failed (rows_not_conserved)");
}

#[test]
fn what_two_packages_cover_is_an_overlap_and_names_both() {
    let shelf = Shelf::new();
    shelf.put("a", &days(1, 3));
    shelf.put("b", &days(3, 5));
    let group = shelf.group();
    assert_eq!((gaps_of(&group), overlaps_of(&group)), (vec![], vec!["03-04".to_owned()]));
    assert!(!group.covered && group.overlaps[0].packages.len() == 2);
}

#[test]
fn a_copy_of_a_package_counts_once() {
    let shelf = Shelf::new();
    shelf.put("a", &days(1, 3));
    shelf.put("b", &days(1, 3));
    let group = shelf.group();
    assert!(group.covered);
    assert_eq!(group.packages[1].state, PackageState::Copy);
}

#[test]
fn packages_of_other_names_and_types_are_judged_apart() {
    let shelf = Shelf::new();
    shelf.put("a", &days(1, 3));
    shelf.put("b", &Manifest { name: "others".into(), ..days(2, 4) });
    shelf.put("c", &Manifest { type_name: "traces".into(), ..days(2, 4) });
    let report = shelf.report(&CoverageOptions::default());
    assert!(report.covered && report.groups.len() == 3);
    let only = CoverageOptions { name: Some("others".into()), ..CoverageOptions::default() };
    let report = shelf.report(&only);
    assert_eq!((report.groups.len(), report.left_out), (1, vec!["events (events)".into(), "events (traces)".into()]));
    let none = CoverageOptions { name: Some("nobody".into()), ..CoverageOptions::default() };
    assert!(!shelf.report(&none).covered);
}

#[test]
fn a_revision_takes_the_place_of_the_package_that_it_supersedes() {
    let shelf = Shelf::new();
    let first = shelf.put("a", &days(1, 3));
    let revision = |id: &str, old: &str, sha256: String| Manifest {
        id: id.into(),
        supersedes: Some(PackageRef { id: old.into(), sha256 }),
        ..days(1, 3)
    };
    let second = shelf.put("a.r2", &revision("job_r2", "job_1_3", first));
    shelf.put("a.r3", &revision("job_r3", "job_r2", second));
    let group = shelf.group();
    assert!(group.covered, "{group:?}");
    let states: Vec<PackageState> = group.packages.iter().map(|package| package.state).collect();
    assert_eq!(states, [PackageState::Superseded, PackageState::Superseded, PackageState::Counted]);
}

#[test]
fn a_revision_of_other_bytes_says_so_and_overlaps() {
    let shelf = Shelf::new();
    shelf.put("a", &days(1, 3));
    let old = Some(PackageRef { id: "job_1_3".into(), sha256: "9".repeat(64) });
    shelf.put("a.r2", &Manifest { id: "job_r2".into(), supersedes: old, ..days(1, 3) });
    let group = shelf.group();
    assert_eq!(overlaps_of(&group), ["01-04"]);
    assert!(group.packages[1].notes[0].ends_with("that is not the package that was revised"));
}

#[test]
fn a_revision_that_is_not_complete_takes_nobodys_place() {
    let shelf = Shelf::new();
    let sha256 = shelf.put("a", &days(1, 3));
    let old = Some(PackageRef { id: "job_1_3".into(), sha256 });
    shelf.put("a.r2", &Manifest { id: "job_r2".into(), status: JobStatus::Partial, supersedes: old, ..days(1, 3) });
    let group = shelf.group();
    assert!(group.covered);
    assert_eq!(group.packages[1].state, PackageState::Unfinished);
}

#[test]
fn a_package_whose_record_was_touched_is_unverified_and_covers_nothing() {
    let shelf = Shelf::new();
    shelf.put("a", &days(1, 1));
    shelf.put("b", &days(2, 2));
    let path = shelf.0.path().join("b").join(SHA256SUMS);
    let sums = std::fs::read_to_string(&path).unwrap();
    for (text, says) in
        [(sums.replacen('0', "1", 1), "is not what manifest.json gives"), (String::new(), "is not what")]
    {
        std::fs::write(&path, text).unwrap();
        let group = shelf.group();
        assert_eq!(gaps_of(&group), ["02-03"]);
        assert!(group.gaps[0].because[0].why.contains(says), "{:?}", group.gaps);
    }
    std::fs::remove_file(&path).unwrap();
    assert!(shelf.group().gaps[0].because[0].why.contains("SHA256SUMS is not in"));
    std::fs::write(&path, sums).unwrap();
    std::fs::write(shelf.0.path().join("b").join(MANIFEST), "{").unwrap();
    let report = shelf.report(&CoverageOptions::default());
    assert!(!report.covered && report.groups[0].covered && report.unreadable.len() == 1);
    // Somebody removed the manifest: the package does not disappear.
    std::fs::remove_file(shelf.0.path().join("b").join(MANIFEST)).unwrap();
    assert_eq!(shelf.report(&CoverageOptions::default()).unreadable.len(), 1);
}

#[test]
fn a_pruned_package_covers_and_says_that_its_rows_are_gone() {
    let shelf = Shelf::new();
    let expires_at = Some("2026-05-01T00:00:00Z".parse().unwrap());
    let expired = Manifest { expires_at, ..days(1, 2) };
    let digest = shelf.put("a", &expired);
    let tombstone = format!(
        r#"{{"tombstone_version":1,"id":"{}","manifest_sha256":"{digest}","expires_at":"2026-05-01T00:00:00Z","pruned_at":"2026-06-01T00:00:00Z","files":2,"bytes":0}}"#,
        expired.id
    );
    let path = shelf.0.path().join("a/tombstone.json");
    std::fs::write(&path, &tombstone).unwrap();
    let group = shelf.group();
    assert!(group.covered);
    assert_eq!(group.packages[0].notes, ["its rows were deleted at 2026-06-01T00:00:00Z after their retention period"]);
    std::fs::write(&path, tombstone.replace(&expired.id, "job_other")).unwrap();
    assert_eq!(shelf.group().packages[0].state, PackageState::Unverified);
}

#[test]
fn an_interval_that_is_asked_for_is_judged_and_nothing_else() {
    let shelf = Shelf::new();
    shelf.put("a", &days(2, 3));
    shelf.put("b", &days(5, 6));
    let asked = |from: &str, to: &str| {
        let read = |text: &str, end| Some(parse_bound(text, end, &TimeZone::UTC).unwrap());
        let options =
            CoverageOptions { from: read(from, Bound::Start), to: read(to, Bound::End), ..CoverageOptions::default() };
        gaps_of(&shelf.report(&options).groups[0])
    };
    assert_eq!(asked("2026-03-01", "2026-03-07"), ["01-02", "04-05", "07-08"]);
    assert_eq!(asked("2026-03-05", "2026-03-06"), Vec::<String>::new());
    assert_eq!(asked("2026-03-02T00:00:00Z", "2026-03-04T00:00:00Z"), Vec::<String>::new());
}

#[test]
fn dates_are_those_of_the_zone_and_the_last_one_counts_whole() {
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let at = |text, end| parse_bound(text, end, &berlin).unwrap().to_string();
    // The day on which clocks go forward has 23 hours.
    assert_eq!(at("2026-03-29", Bound::Start), "2026-03-28T23:00:00Z");
    assert_eq!(at("2026-03-29", Bound::End), "2026-03-29T22:00:00Z");
    assert_eq!(at("2026-03-29T01:00:00+02:00", Bound::End), "2026-03-28T23:00:00Z");
    for text in ["", "2026-13-01", "yesterday", "2026-03-01T00:00", "2026-03"] {
        let error = parse_bound(text, Bound::Start, &berlin).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("`{text}` is neither a date such as 2026-03-01 nor an instant such as 2026-03-01T00:00:00Z")
        );
    }
}

#[test]
fn nothing_below_data_or_state_is_taken_for_a_package() {
    let shelf = Shelf::new();
    shelf.put("a", &days(1, 1));
    for inside in ["a/_state/x", "a/data/x", "a/rejects/x"] {
        shelf.put(inside, &days(9, 9));
    }
    shelf.put("a/b", &days(2, 2));
    assert_eq!(packages(&shelf.at("")).unwrap(), [shelf.at("a"), shelf.at("a/b")]);
    assert_eq!(packages(&shelf.at("a/b")).unwrap(), [shelf.at("a/b")]);
    let error = packages(&shelf.at("nowhere")).unwrap_err();
    assert!(error.to_string().contains(" does not exist: give a package, or a folder"), "{error}");
    assert_eq!(error.exit(), Exit::Usage);
}

#[test]
fn the_timeline_and_the_lists_show_what_is_wrong() {
    let shelf = Shelf::new();
    shelf.put("a", &days(1, 10));
    shelf.put("b", &days(10, 15));
    shelf.put("c", &days(17, 20));
    let report = shelf.report(&CoverageOptions::default());
    let text = text(&report, &TimeZone::UTC, 32).replace(&shelf.0.path().display().to_string(), "");
    assert_eq!(
        text,
        "\
events (events): NOT COVERED: 1 gap, 1 overlap
  2026-03-01T00:00:00Z to 2026-03-21T00:00:00Z, 3 packages

  1-10      ##########..........
  10-15     .........######.....
  17-20     ................####
  together  #########X#####.####
            # covered  - in part  X more than once  ? unverified  o set aside  . not covered

not covered:
  2026-03-16T00:00:00Z to 2026-03-17T00:00:00Z: no package

covered more than once, so that rows are there more than once:
  2026-03-10T00:00:00Z to 2026-03-11T00:00:00Z: /a, /b

"
    );
}
