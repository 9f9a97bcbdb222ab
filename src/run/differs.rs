//! A file of a package that was exported again and is not what the manifest says: which, and whose fault it can be.

use super::Failure;
use crate::error::ErrorCode;
use crate::manifest::{FileStatus, Manifest, SourceFileRecord};

/// Why `path`, which `previous` lists, is not among what was exported again.
///
/// The source is blamed only where it is another one: a file whose size and version are the manifest's was read to its end
/// and compared with them.
pub fn failure(path: &str, previous: &Manifest, new: &Manifest) -> Failure {
    let digest = |manifest: &Manifest| {
        let digest = manifest.digests().find(|(name, _)| *name == path).map(|(_, digest)| digest.to_owned());
        digest.unwrap_or_else(|| "none".to_owned())
    };
    let label = previous.files.iter().find(|file| file.path == path).map(|file| &file.partition.label);
    let failed = new.files.iter().find(|file| Some(&file.partition.label) == label && !file.status.has_file());
    let (code, message) = if let Some(failed) = failed.filter(|file| file.status == FileStatus::Failed) {
        let code = failed.error_code.unwrap_or(ErrorCode::PackageDamaged);
        let why = failed.error.as_deref().unwrap_or("its partition failed");
        (code, format!("{path} could not be exported again: {why}"))
    } else if let Some(changed) = changed(previous, new) {
        let message = format!(
            "{path} was exported again and is not what the manifest says: of the source, {changed}; bring the source back \
             as it was, or restore {path} from a copy"
        );
        (ErrorCode::SourceChanged, message)
    } else {
        let version = if previous.tool.version == new.tool.version {
            "the same release wrote both".to_owned()
        } else {
            format!("the manifest is of release {}, this is {}", previous.tool.version, new.tool.version)
        };
        let message = format!(
            "{path} was exported again from source files of the same sizes and versions, and its SHA-256 is {} instead of {} \
             ({version}); the package cannot be repaired: restore {path} from a copy, or export the window again into \
             another `output.uri`",
            digest(new),
            digest(previous),
        );
        (ErrorCode::PackageDamaged, message)
    };
    Failure { code, message }
}

/// The first source file that is not the one that the manifest lists.
fn changed(previous: &Manifest, new: &Manifest) -> Option<String> {
    let read = |manifest: &Manifest| -> Vec<SourceFileRecord> {
        manifest.source.files.iter().filter(|file| file.skipped.is_none()).cloned().collect()
    };
    let (then, now) = (read(previous), read(new));
    let identity = |file: &SourceFileRecord| (file.bytes, file.etag.clone(), file.mtime);
    for file in &then {
        match now.iter().find(|other| other.path == file.path) {
            None => return Some(format!("{} is gone", file.path)),
            Some(other) if identity(other) != identity(file) => return Some(format!("{} has changed", file.path)),
            Some(_) => {}
        }
    }
    let new = now.iter().find(|file| then.iter().all(|other| other.path != file.path))?;
    Some(format!("{} is new", new.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::manifest;

    fn file(path: &str, bytes: u64) -> SourceFileRecord {
        SourceFileRecord {
            path: path.into(),
            bytes,
            mtime: Some(jiff::Timestamp::UNIX_EPOCH),
            etag: None,
            rows: Some(1),
            skipped: None,
            skip_code: None,
            error: None,
        }
    }

    #[test]
    fn the_source_is_blamed_only_where_it_is_another_one() {
        let mut previous = manifest();
        previous.source.files = vec![file("a.csv", 1), file("b.csv", 2)];
        let path = previous.files[1].path.clone();
        let mut new = previous.clone();
        new.files[1].sha256 = Some("f".repeat(64));
        let told = failure(&path, &previous, &new);
        assert_eq!(told.code, ErrorCode::PackageDamaged);
        let text = format!(
            "{path} was exported again from source files of the same sizes and versions, and its SHA-256 is {} instead of {} \
             (the same release wrote both); the package cannot be repaired: restore {path} from a copy",
            "f".repeat(64),
            "0".repeat(64),
        );
        assert!(told.message.starts_with(&text), "{}", told.message);
        assert!(!told.message.contains("source has changed"));

        previous.tool.version = "0.0.9".into();
        assert!(failure(&path, &previous, &new).message.contains("the manifest is of release 0.0.9, this is "));

        for (files, what) in [
            (vec![file("a.csv", 1)], "b.csv is gone"),
            (vec![file("a.csv", 1), file("b.csv", 3)], "b.csv has changed"),
            (vec![file("a.csv", 1), file("b.csv", 2), file("c.csv", 1)], "c.csv is new"),
        ] {
            new.source.files = files;
            let told = failure(&path, &previous, &new);
            assert_eq!(told.code, ErrorCode::SourceChanged);
            assert!(
                told.message.contains(&format!("of the source, {what}; bring the source back")),
                "{}",
                told.message
            );
        }

        new.files[1].status = FileStatus::Failed;
        new.files[1].error_code = Some(ErrorCode::SourceUnreadable);
        new.files[1].error = Some("b.csv: vanished".into());
        let told = failure(&path, &previous, &new);
        let message = format!("{path} could not be exported again: b.csv: vanished");
        assert_eq!((told.code, told.message), (ErrorCode::SourceUnreadable, message));
    }
}
