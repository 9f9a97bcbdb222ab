//! The list of unfinished uploads, which `object_store` does not give: S3's `ListMultipartUploads`, which GCS speaks too.
//!
//! Source of the format: Amazon S3 API Reference, `ListMultipartUploads`; Cloud Storage XML API, "List multipart uploads".

use std::time::Duration;

use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use serde::Deserialize;

/// An upload that was begun and neither completed nor aborted.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::store) struct Upload {
    pub(in crate::store) key: String,
    pub(in crate::store) upload_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    upload: Vec<Upload>,
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
}

/// All unfinished uploads below a prefix.
///
/// # Errors
/// What went wrong, in words without the signature.
pub(super) async fn list(signer: &dyn Signer, prefix: &str) -> Result<Vec<Upload>, String> {
    let client =
        reqwest::Client::builder().timeout(Duration::from_secs(30)).build().map_err(|e| e.without_url().to_string())?;
    let mut uploads = Vec::new();
    let mut marker: Vec<(String, String)> = Vec::new();
    loop {
        let query = [("uploads".to_owned(), String::new()), ("prefix".to_owned(), format!("{prefix}/"))];
        let options = SignedUrlOptions::default().with_query(query.into_iter().chain(marker));
        let url = signer
            .signed_url_opts(Method::GET, &Path::default(), Duration::from_secs(60), &options)
            .await
            .map_err(|e| e.to_string())?;
        let answer = client.get(url).send().await.map_err(|e| e.without_url().to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| e.without_url().to_string())?;
        // rclone's word for none.
        if status.as_u16() == 404 && text.contains("NoSuchUpload") {
            return Ok(uploads);
        }
        if !status.is_success() {
            return Err(format!("status {status}"));
        }
        let page: Page = quick_xml::de::from_str(&text).map_err(|e| e.to_string())?;
        uploads.extend(page.upload);
        match (page.is_truncated, page.next_key_marker) {
            (true, Some(key)) => {
                marker = vec![("key-marker".to_owned(), key)];
                marker.extend(page.next_upload_id_marker.map(|id| ("upload-id-marker".to_owned(), id)));
            }
            _ => return Ok(uploads),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let text = r#"<?xml version="1.0"?><ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Bucket>b</Bucket><KeyMarker></KeyMarker><NextKeyMarker>k</NextKeyMarker><IsTruncated>true</IsTruncated>
            <Upload><Key>a/b</Key><UploadId>1</UploadId><Initiator><ID>x</ID></Initiator></Upload>
            <Upload><Key>a/c</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>"#;
        let page: Page = quick_xml::de::from_str(text).unwrap();
        assert!(page.is_truncated && page.next_key_marker.as_deref() == Some("k"));
        assert_eq!(page.upload[1], Upload { key: "a/c".into(), upload_id: "2".into() });
        assert!(quick_xml::de::from_str::<Page>("<R></R>").unwrap().upload.is_empty());
    }
}
