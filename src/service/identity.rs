//! The two ids of a job.

use data_encoding::{BASE32_NOPAD, Encoding};
use std::sync::LazyLock;
use uuid::Uuid;

/// What job ids begin with.
const PREFIX: &str = "job_";

/// Lower-case base32 of 130 bits, of which the last two say nothing about the first 128.
static BASE32: LazyLock<Option<Encoding>> = LazyLock::new(|| {
    let mut specification = BASE32_NOPAD.specification();
    specification.symbols.make_ascii_lowercase();
    specification.check_trailing_bits = false;
    specification.encoding().ok()
});

/// The UUID of a job: version 8 (RFC 9562), the first 128 bits of the job's digest but for version and variant. `None` for
/// what is no job id.
pub(super) fn uuid_of(job_id: &str) -> Option<Uuid> {
    let digest = BASE32.as_ref()?.decode(job_id.strip_prefix(PREFIX)?.as_bytes()).ok()?;
    Some(Uuid::new_v8(digest.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_one_uuid() {
        let uuid = uuid_of("job_aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        assert_eq!(uuid.to_string(), "00000000-0000-8000-8000-000000000000");
        let uuid = uuid_of("job_mfrggzdfmztwq2lknnwg23tpoa").unwrap();
        // Python: base64.b32decode("MFRGGZDFMZTWQ2LKNNWG23TPOA======") is b"abcdefghijklmnop".
        assert_eq!(uuid.to_string(), "61626364-6566-8768-a96a-6b6c6d6e6f70");
        assert_eq!(uuid.get_version_num(), 8);
        for no_job in ["", "job_", "job_aaaa", "a", "job_AAAAAAAAAAAAAAAAAAAAAAAAAA", "job_aaaaaaaaaaaaaaaaaaaaaaaaa1"]
        {
            assert_eq!(uuid_of(no_job), None, "{no_job}");
        }
    }
}
